package podspec

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

const web = `apiVersion: v1
kind: Pod
metadata:
  name: web
spec:
  containers:
  - name: c
    image: example/web:1
`

func texts(problems []Problem) []string {
	out := []string{}
	for _, p := range problems {
		out = append(out, p.String())
	}
	return out
}

// TestDecodeProblems is the list of what people get to read.
func TestDecodeProblems(t *testing.T) {
	pod := "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n"
	for _, tc := range []struct {
		name, text string
		want       []string
	}{
		{"misspelt field", strings.Replace(web, "image:", "imagee:", 1),
			[]string{`f.yaml:8: Pod/default/web: unknown field "spec.containers[0].imagee", did you mean "image"?`}},
		{"wrong case", strings.Replace(web, "image:", "Image:", 1),
			[]string{`f.yaml:8: Pod/default/web: unknown field "spec.containers[0].Image", did you mean "image"?`}},
		{"unknown field", web + "  frobnicate: 1\n",
			[]string{`f.yaml:9: Pod/default/web: unknown field "spec.frobnicate": a Pod has no such field, remove it`}},
		{"duplicate field", web + "    image: other\n",
			[]string{`f.yaml:9: Pod/default/web: duplicate field "spec.containers[0].image": the key stands twice, first in line 8: remove one`}},
		{"several at once", pod + "spec:\n  hostNetwork: maybe\n  containers: 3\n  restartpolicy: Never\n",
			[]string{
				`f.yaml:5: Pod/default/p: spec.hostNetwork: want true or false, got "maybe"`,
				`f.yaml:6: Pod/default/p: spec.containers: want a list, got a number (3); write each item on a line of its own after "- "`,
				`f.yaml:7: Pod/default/p: unknown field "spec.restartpolicy", did you mean "restartPolicy"?`,
			}},
		{"number for string", pod + "spec:\n  containers:\n  - name: c\n    env:\n    - {name: A, value: 80}\n    - {name: B, value: yes}\n",
			[]string{
				`f.yaml:8: Pod/default/p: spec.containers[0].env[0].value: want a string, got a number (80); put it in quotes: "80"`,
				`f.yaml:9: Pod/default/p: spec.containers[0].env[1].value: want a string, got a boolean (yes); put it in quotes: "yes"`,
			}},
		{"string for number", pod + "spec: {terminationGracePeriodSeconds: \"30\"}\n",
			[]string{`f.yaml:4: Pod/default/p: spec.terminationGracePeriodSeconds: want a whole number, got "30"; remove the quotes`}},
		{"fraction for number", pod + "spec: {terminationGracePeriodSeconds: 1.5}\n",
			[]string{`f.yaml:4: Pod/default/p: spec.terminationGracePeriodSeconds: want a whole number, got a number (1.5)`}},
		{"too large", pod + "spec: {containers: [{ports: [{containerPort: 5000000000}]}]}\n",
			[]string{`f.yaml:4: Pod/default/p: spec.containers[0].ports[0].containerPort: 5000000000 is too large`}},
		{"quantity", pod + "spec:\n  containers:\n  - resources:\n      limits:\n        memory: 1 GB\n",
			[]string{`f.yaml:8: Pod/default/p: spec.containers[0].resources.limits[memory]: invalid value "1 GB": quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'`}},
		{"no mapping", pod + "spec: [1]\n", []string{`f.yaml:4: Pod/default/p: spec: want a mapping (key: value), got a list`}},
		{"bad syntax", "apiVersion: v1\nkind: [Pod\n", []string{`f.yaml:2: this is not valid YAML: did not find expected ',' or ']'`}},
		{"bad document between good ones", web + "---\na: b: c\n---\n" + web,
			[]string{`f.yaml:10: this is not valid YAML: mapping values are not allowed in this context`}},
		{"other kind", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: m, namespace: ns}\n",
			[]string{`f.yaml:2: Deployment/ns/m: not supported yet: kind Deployment (supported: Pod, ConfigMap, Secret, Service)`}},
		{"misspelt list", "apiVersion: v1\nkind: ConfigmapList\nitems: []\n", []string{`f.yaml:2: ConfigmapList: unknown kind "ConfigmapList", did you mean "ConfigMapList"?`}},
		{"list of another version", "apiVersion: v2\nkind: PodList\nitems: []\n", []string{`f.yaml:1: PodList: a PodList is of apiVersion "v1", got "v2"`}},
		{"kind of another group", "apiVersion: example.com/v1\nkind: Service\nmetadata: {name: m}\n",
			[]string{`f.yaml:1: Service/default/m: not supported: kind Service of apiVersion "example.com/v1", write "apiVersion: v1"`}},
		{"misspelt kind", "apiVersion: v1\nkind: pod\nmetadata: {name: m}\n",
			[]string{`f.yaml:2: pod/default/m: unknown kind "pod", did you mean "Pod"?`}},
		{"other version", "apiVersion: v2\nkind: Pod\nmetadata: {name: m}\n",
			[]string{`f.yaml:1: Pod/default/m: not supported: kind Pod of apiVersion "v2", write "apiVersion: v1"`}},
		{"no version", "kind: Pod\nmetadata: {name: m}\n",
			[]string{`f.yaml:1: Pod/default/m: apiVersion is missing: write "apiVersion: v1"`}},
		{"no kind", "apiVersion: v1\nmetadata: {name: m}\n",
			[]string{`f.yaml:1: object/default/m: kind is missing: write "apiVersion: v1" and "kind: Pod"`}},
		{"misspelt key kind", "apiVersion: v1\nKind: Pod\nmetadata: {name: m}\n",
			[]string{`f.yaml:2: object/default/m: unknown field "Kind", did you mean "kind"?`}},
		{"no object", "just text\n", []string{`f.yaml:1: want an object with apiVersion, kind and metadata, got a string`}},
		{"list in list", "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: List}\n",
			[]string{`f.yaml:4: List: kind: a list inside of a list is not supported: put its items into a document of their own`}},
		{"list with a bad item and key", "apiVersion: v1\nkind: List\nitem: []\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: m}, spek: {}}\n",
			[]string{
				`f.yaml:3: List: unknown field "item", did you mean "items"?`,
				`f.yaml:5: Pod/default/m: unknown field "spek", did you mean "spec"?`,
			}},
		{"items is no list", "apiVersion: v1\nkind: PodList\nitems: {}\n", []string{`f.yaml:3: PodList: items: want a list`}},
		{"JSON", "{\n \"apiVersion\": \"v1\",\n \"kind\": \"Pod\",\n \"metadata\": {\"name\": \"p\"},\n \"spec\": {\n  \"containres\": []\n }\n}",
			[]string{`f.yaml:6: Pod/default/p: unknown field "spec.containres", did you mean "containers"?`}},
		{"JSON syntax", "{\n\"kind\": \"Pod\",,\n}", []string{`f.yaml:2: this is not valid JSON: invalid character ',' looking for beginning of object key string`}},
		{"JSON cut off", "{\n\"kind\": \"Pod\",\n", []string{`f.yaml:2: this is not valid JSON: it ends in the middle`}},
		{"JSON duplicate", "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\n\"kind\":\"Pod\"}",
			[]string{`f.yaml:2: Pod: duplicate field "kind": the key stands twice, first in line 1: remove one`}},
		{"tag", pod + "spec: {hostname: !secret x}\n", []string{`f.yaml:4: spec.hostname: the tag !secret is not supported: write the value without it`}},
		{"empty document", "--- null\n", []string{`f.yaml:1: want an object with apiVersion, kind and metadata, got nothing`}},
		{"infinite", pod + "spec: {terminationGracePeriodSeconds: .inf}\n", []string{`f.yaml:4: spec.terminationGracePeriodSeconds: ".inf": not a finite number`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			objs, problems := Decode([]byte(tc.text), "f.yaml")
			if diff := cmp.Diff(tc.want, texts(problems)); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			if want := strings.Count(tc.name, "good ones") * 2; len(objs) != want {
				t.Errorf("%d objects, want %d", len(objs), want)
			}
		})
	}
}

func TestDecodeObjects(t *testing.T) {
	item := "- apiVersion: v1\n  kind: Pod\n  metadata: {name: a}\n"
	for _, tc := range []struct {
		name, text string
		want       []string // name@line
	}{
		{"one", web, []string{"web@1"}},
		{"two documents, comments, empty ones", "# c\n---\n# d\n\n" + web + "---\n---\n" + strings.Replace(web, "web", "x", 1) + "...\n", []string{"web@5", "x@15"}},
		{"CRLF", strings.ReplaceAll("---\n"+web+"---\n"+web, "\n", "\r\n"), []string{"web@2", "web@11"}},
		{"List", "apiVersion: v1\nkind: List\nitems:\n" + item + item, []string{"a@4", "a@7"}},
		{"PodList without kinds", "apiVersion: v1\nkind: PodList\nmetadata: {resourceVersion: \"1\"}\nitems:\n- metadata: {name: a}\n", []string{"a@5"}},
		{"two JSON objects", `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}` + "\n" + `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"b"}}`, []string{"a@1", "b@2"}},
		{"flow style", "{apiVersion: v1, kind: Pod, metadata: {name: a}}\n---\n" + web, []string{"a@1", "web@3"}},
		{"byte order mark", "\xef\xbb\xbf" + web, []string{"web@1"}},
		{"directive", "%YAML 1.1\n---\n" + web, []string{"web@3"}},
		{"only comments", "# nothing\n\n---\n# more\n", nil},
		{"nothing", "", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			objs, problems := Decode([]byte(tc.text), "f")
			var got []string
			for _, o := range objs {
				got = append(got, fmt.Sprintf("%s@%d", o.Pod.Name, o.Line))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" || len(problems) > 0 {
				t.Errorf("problems %v, objects (-want +got):\n%s", texts(problems), diff)
			}
		})
	}
}

// TestDecodeLikeKubernetes holds the decoder to the one that Kubernetes' tools use.
func TestDecodeLikeKubernetes(t *testing.T) {
	text := `
apiVersion: v1
kind: Pod
metadata:
  name: &n web
  creationTimestamp: 2024-01-02T03:04:05Z
  labels: {app: *n, date: 2024-01-02, time: "1:30", 12: x, yes: "on"}
spec:
  hostNetwork: yes
  shareProcessNamespace: Off
  terminationGracePeriodSeconds: 0x10
  hostname: ~
  volumes:
  - name: v
    hostPath: {path: /x, type: Directory}
  containers:
  - &c
    name: c
    image: example/web:1
    command: ["sh", '-c', "echo \u00e4 \"$(A)\""]
    args:
    - |
      --- not a document: it is indented
      two
    - >-
      folded
      text
    resources: {limits: {cpu: 1.5, memory: 128Mi}, requests: {cpu: 100m}}
    securityContext: {runAsUser: 0644, capabilities: {add: [NET_ADMIN]}}
  - <<: *c
    name: d
    ports:
    - containerPort: 8e1
`
	var want v1.Pod
	if err := yaml.Unmarshal([]byte(text), &want); err != nil {
		t.Fatal(err)
	}
	objs, problems := Decode([]byte(text), "f")
	if len(problems) > 0 || len(objs) != 1 {
		t.Fatalf("problems %v, %d objects", texts(problems), len(objs))
	}
	if diff := cmp.Diff(&want, objs[0].Pod); diff != "" {
		t.Errorf("(-kubernetes +davit):\n%s", diff)
	}
}

func TestDigest(t *testing.T) {
	base, _ := Decode([]byte(web), "f")
	same := "# comment\n{kind: Pod, apiVersion: \"v1\", spec: {containers: [{image: 'example/web:1', name: c}]}, metadata: {name: web}}"
	if got, p := Decode([]byte(same), "g"); len(p) > 0 || got[0].Digest != base[0].Digest {
		t.Errorf("another layout gives another digest: %v", p)
	}
	if got, p := Decode([]byte(web+"  activeDeadlineSeconds: 60\n"), "f"); len(p) > 0 || got[0].Digest != base[0].Digest || *got[0].Pod.Spec.ActiveDeadlineSeconds != 60 {
		t.Errorf("a deadline makes another pod of it, or is lost: %v %v", got, p)
	}
	debug := web + "  ephemeralContainers:\n  - {name: d, image: tools}\n"
	if got, p := Decode([]byte(debug), "f"); len(p) > 0 || got[0].Digest != base[0].Digest || !strings.Contains(string(got[0].Source()), "tools") {
		t.Errorf("an ephemeral container makes another pod of it, or is lost: %v %v", got, p)
	}
	if got, _ := Decode([]byte(web+"  hostname: h\n"), "f"); got[0].Digest == base[0].Digest {
		t.Error("another content gives the same digest")
	}
}

func TestBounds(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c <= 'i'; c++ {
		bomb += fmt.Sprintf("%c: &%c [%s]\n", c, c, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c,", c-1), 10), ","))
	}
	deep := strings.Repeat("[", 100) + strings.Repeat("]", 100)
	for _, tc := range []struct{ name, text, want string }{
		{"alias bomb", bomb, "f:1: the document has more than 500000 values once its aliases (*name) are expanded: write it without aliases, or split it"},
		{"alias to itself", "a: &a [*a]\n", "f:1: the document is nested more than 64 levels deep"},
		{"alias bomb of long texts", "a: &a " + strings.Repeat("x", 1<<20) + "\nb: [" + strings.Repeat("*a,", 100) + "]\n", "f:1: the document has more than 67108864 bytes once its aliases (*name) are expanded: write it without aliases, or split it"},
		{"depth", "a: " + deep, "f:1: the document is nested more than 64 levels deep"},
		{"depth in JSON", `{"a": ` + deep + `}`, "f:1: the document is nested more than 64 levels deep"},
		{"values in JSON", `{"a": [` + strings.Repeat("1,", 600_000) + `1]}`, "f:1: the document has more than 500000 values: split it; what follows is not read"},
		{"values in YAML", "a: [" + strings.Repeat("a,", 1_600_000) + "a]\n", "f:1: the document may have more than 500000 values: split it"},
		{"values in a text", strings.Repeat("--- ["+strings.Repeat("a,", 400_000)+"a]\n", 4), "f:1: want an object with apiVersion, kind and metadata, got a list"},
		{"size", strings.Repeat("#", 16<<20+1), "f:1: the file has 16777217 bytes, at most 16777216 are read: split it"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			start := time.Now()
			_, problems := Decode([]byte(tc.text), "f")
			got := texts(problems)
			if len(got) == 0 || got[0] != tc.want || len(got) > 1 && !strings.HasSuffix(got[len(got)-1], "what follows is not read: split it") {
				t.Errorf("got %q", got)
			}
			if d := time.Since(start); d > 30*time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
	_, problems := Decode([]byte(strings.Repeat("a: [\n---\n", 200)), "f")
	if len(problems) != maxProblems || problems[maxProblems-1].String() != "f: 151 more problems" {
		t.Errorf("%d problems, the last: %v", len(problems), problems[len(problems)-1])
	}
}

func TestRead(t *testing.T) {
	bad := strings.Replace(web, "web", "bad", 1) + "  volumes:\n  - name: v\n    csi: {driver: d}\n  - name: w\n    hostPath:\n      path: relative\n"
	objs, problems := Read([]byte(web+"---\n"+bad+"---\n"+web), "f")
	if len(objs) != 2 || objs[0].Pod.Spec.RestartPolicy != v1.RestartPolicyAlways {
		t.Errorf("%d objects", len(objs))
	}
	want := []string{
		`f:20: Pod/default/bad: not supported yet: spec.volumes[0].csi: needs a CSI driver: mount it on the node and use a hostPath`,
		`f:23: Pod/default/bad: spec.volumes[1].hostPath.path: Invalid value: "relative": must be an absolute path`,
	}
	if diff := cmp.Diff(want, texts(problems)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
