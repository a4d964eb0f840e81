package podspec

import (
	"bytes"
	"fmt"
	"testing"

	"sigs.k8s.io/yaml"
)

// lineCount counts as YAML 1.1 does, which breaks lines at more than newlines.
func lineCount(data []byte) int {
	lines := 1
	for _, end := range []string{"\n", "\r", "\u0085", "\u2028", "\u2029"} {
		lines += bytes.Count(data, []byte(end))
	}
	return lines
}

// FuzzDecode: any text gives objects and problems that make sense, and what was
// accepted reads back as it is.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		web, web + "---\n" + web, "a: &a [*a]", `{"apiVersion":"v1","kind":"Pod"}`, "<<: {a: b}", "? [a]\n: b", "--- |\n x\n...\n---", "{\"a\":\"\\ud83d\"}", "\r\r0",
		settings, token, service, "apiVersion: v1\nkind: ConfigMapList\nitems: [{metadata: {name: a}, binaryData: {a: aGk=}}]",
		"apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ntype: kubernetes.io/dockerconfigjson\ndata: {.dockerconfigjson: e30=}\n",
		"apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {\"\\0\": \"\\u00ff\", a: ~}\nimmutable: true\n",
		"apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {clusterIP: None, type: ExternalName, externalName: a., ports: [{port: 1, targetPort: a}]}\n",
		web + "    livenessProbe: {httpGet: {port: web, httpHeaders: [{name: a, value: b}]}, periodSeconds: 1}\n    startupProbe: {grpc: {port: 1}}\n    readinessProbe: {exec: {command: [x]}}\n",
		web + "    lifecycle: {preStop: {sleep: {seconds: 3}}, postStart: {tcpSocket: {port: 1}}}\n    restartPolicy: Never\n    restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [1]}}]\n",
		web + "  resources: {limits: {cpu: 1, hugepages-2Mi: 2Mi}}\n  ephemeralContainers: [{name: d, image: i, targetContainerName: c}]\n  readinessGates: [{conditionType: a/b}]\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		objs, problems := Read(data, "f")
		lines := lineCount(data)
		if len(problems) > maxProblems {
			t.Errorf("%d problems", len(problems))
		}
		for _, p := range problems {
			if p.Message == "" || p.Line < 0 || p.Line > lines+1 {
				t.Errorf("problem %+v of a text of %d lines", p, lines)
			}
		}
		for _, o := range objs {
			if o.Line < 1 || o.Line > lines || o.Meta().Name == "" || len(o.Digest) != 64 {
				t.Errorf("object %+v", o)
			}
			out, err := yaml.Marshal(o.value())
			if err != nil {
				t.Fatal(err)
			}
			if again, problems := Read(out, "f"); len(again) != 1 || again[0].Kind() != o.Kind() {
				t.Errorf("%s\nis not taken again: %v", out, texts(problems))
			}
			// Its source is the same object.
			source := fmt.Appendf(nil, `{"apiVersion":"v1","kind":"%sList","items":[%s]}`, o.Kind(), o.Source())
			if again, problems := Decode(source, "f"); len(again) != 1 || again[0].Digest != o.Digest || !bytes.Equal(again[0].Source(), o.Source()) {
				t.Errorf("%s\nis another object: %v", o.Source(), texts(problems))
			}
		}
	})
}

// value returns what the object holds.
func (o Object) value() any {
	switch {
	case o.ConfigMap != nil:
		return o.ConfigMap
	case o.Secret != nil:
		return o.Secret
	case o.Service != nil:
		return o.Service
	}
	return o.Pod
}

// FuzzSecret: whatever is wrong with a Secret, nothing that was written as one of
// its values is told.
func FuzzSecret(f *testing.F) {
	const mark = "hunter2"
	for _, s := range []string{"%", "'%'", "*%", "!%", "!% x", "|\n  %", "{%: 1}", "[%]", "%: %", "\"%\\q\"", "&% x", "0x%", "%\n---\n%", "'%", "{a: %", "@%", "`%", "- %", "? %", "%TAG ! %", "1%", ".inf %", "\t%"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, value string, encoded bool) {
		filled := string(bytes.ReplaceAll([]byte(value), []byte("%"), []byte(mark)))
		field := "stringData"
		if encoded {
			field = "data"
		}
		if keyed(value) { // keys are names
			return
		}
		for _, text := range []string{
			"apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n" + field + ":\n  key: " + filled + "\n",
			"apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n" + field + ": " + filled + "\n",
			`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"},"` + field + `":{"key":` + filled + "}}",
			"apiVersion: v1\nkind: SecretList\nitems:\n- metadata: {name: s}\n  immutable: " + filled + "\n",
		} {
			_, problems := Read([]byte(text), "f")
			for _, p := range problems {
				if bytes.Contains([]byte(p.String()), []byte(mark)) {
					t.Errorf("%s\n%v", text, p)
				}
			}
		}
	})
}

// keyed tells whether a value may make a key of what is in it.
func keyed(value string) bool {
	return bytes.ContainsAny([]byte(value), ":?<,{\n\r\u0085\u2028\u2029\"")
}
