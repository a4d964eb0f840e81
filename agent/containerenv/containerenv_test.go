package containerenv

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/oci"
)

// store is objects by namespace/name.
type store struct {
	configMaps map[string]*v1.ConfigMap
	secrets    map[string]*v1.Secret
}

func (s store) ConfigMap(namespace, name string) (*v1.ConfigMap, bool) {
	cm, ok := s.configMaps[namespace+"/"+name]
	return cm, ok
}

func (s store) Secret(namespace, name string) (*v1.Secret, bool) {
	secret, ok := s.secrets[namespace+"/"+name]
	return secret, ok
}

var objects = store{
	configMaps: map[string]*v1.ConfigMap{
		"prod/conf":   {Data: map[string]string{"b": "2", "a": "1", "dotted.key-x": "$(a)"}, BinaryData: map[string][]byte{"bin": {1}}},
		"prod/empty":  {},
		"prod/odd":    {Data: map[string]string{"a=b": "x", "": "y", "ä": "z", "fine": "ok"}},
		"prod/zero":   {Data: map[string]string{"k": "a\x00topsecret"}},
		"other/conf2": {Data: map[string]string{"a": "1"}},
	},
	secrets: map[string]*v1.Secret{
		"prod/cred": {Data: map[string][]byte{"password": []byte("hunter2"), "a": []byte("from secret")}},
		"prod/zero": {Data: map[string][]byte{"k": []byte("topsecret\x00")}},
	},
}

// input reads the env fields of the container c.
func input(t *testing.T, text string) Input {
	t.Helper()
	c := v1.Container{Name: "c", Resources: v1.ResourceRequirements{Limits: v1.ResourceList{"cpu": resource.MustParse("1500m")}}}
	if err := yaml.Unmarshal([]byte(text), &c); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "prod", Labels: map[string]string{"app": "x"}}}
	pod.Spec.Containers = []v1.Container{{Name: "c0"}, c}
	pod.Spec.NodeName = "n1"
	pod.Status.PodIP = "10.85.0.2"
	return Input{Pod: pod, Container: &pod.Spec.Containers[1], Objects: objects,
		Allocatable: v1.ResourceList{"memory": resource.MustParse("4Gi")}}
}

func TestResolve(t *testing.T) {
	for _, c := range []struct {
		text    string
		want    oci.Env
		skipped []Skipped
	}{
		{"{}", oci.Env{}, nil},
		{"env: [{name: A, value: x}]", oci.Env{}, nil},
		{"envFrom: [{configMapRef: {name: conf}}]",
			oci.Env{From: []oci.Var{{Name: "a", Value: "1"}, {Name: "b", Value: "2"}, {Name: "dotted.key-x", Value: "$(a)"}}}, nil},
		{"envFrom: [{prefix: P_, secretRef: {name: cred}}, {configMapRef: {name: empty}}]",
			oci.Env{From: []oci.Var{{Name: "P_a", Value: "from secret"}, {Name: "P_password", Value: "hunter2"}}}, nil},
		{"envFrom: [{configMapRef: {name: none, optional: true}}, {secretRef: {name: none, optional: true}}]", oci.Env{}, nil},
		{"envFrom: [{configMapRef: {name: odd}}]", oci.Env{From: []oci.Var{{Name: "fine", Value: "ok"}}},
			[]Skipped{{"ConfigMap prod/odd", []string{"", "a=b", "ä"}}}},
		{"envFrom: [{prefix: P, configMapRef: {name: odd}}]", oci.Env{From: []oci.Var{{Name: "P", Value: "y"}, {Name: "Pfine", Value: "ok"}}},
			[]Skipped{{"ConfigMap prod/odd", []string{"Pa=b", "Pä"}}}},
		{`env:
- {name: A, value: x}
- {name: B, valueFrom: {configMapKeyRef: {name: conf, key: b}}}
- {name: C, valueFrom: {configMapKeyRef: {name: conf, key: none, optional: true}}}
- {name: D, valueFrom: {configMapKeyRef: {name: none, key: b, optional: true}}}
- {name: E, valueFrom: {secretKeyRef: {name: cred, key: password}}}
- {name: F, valueFrom: {secretKeyRef: {name: none, key: x, optional: true}}}
- {name: G, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
- {name: H, valueFrom: {fieldRef: {apiVersion: v1, fieldPath: "metadata.labels['app']"}}}
- {name: I, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}
- {name: J, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Gi}}}
- {name: K, valueFrom: {resourceFieldRef: {containerName: c0, resource: limits.cpu}}}
- {name: L, valueFrom: {}}`,
			oci.Env{Values: map[int]string{1: "2", 4: "hunter2", 6: "10.85.0.2", 7: "x", 8: "2", 9: "4", 10: "0", 11: ""}}, nil},
	} {
		got, skipped, err := Resolve(input(t, c.text))
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.text, d)
		}
		if d := cmp.Diff(c.skipped, skipped); d != "" {
			t.Errorf("%s, skipped (-want +got):\n%s", c.text, d)
		}
	}
	if got := (Skipped{"ConfigMap prod/odd", []string{"a", "b"}}).String(); got !=
		"Keys [a, b] from the EnvFrom ConfigMap prod/odd were skipped since they are considered invalid environment variable names." {
		t.Error(got)
	}
}

func TestResolveErrors(t *testing.T) {
	for text, want := range map[string]string{
		"envFrom: [{configMapRef: {name: none}}]":                                                   `configmap "none" not found`,
		"envFrom: [{configMapRef: {name: conf2}}]":                                                  `configmap "conf2" not found`, // of another namespace
		"envFrom: [{secretRef: {name: none, optional: false}}]":                                     `secret "none" not found`,
		"env: [{name: A, valueFrom: {configMapKeyRef: {name: none, key: k}}}]":                      `configmap "none" not found`,
		"env: [{name: A, valueFrom: {configMapKeyRef: {name: conf, key: k}}}]":                      `couldn't find key k in ConfigMap prod/conf`,
		"env: [{name: A, valueFrom: {configMapKeyRef: {name: conf, key: bin}}}]":                    `couldn't find key bin in ConfigMap prod/conf`,
		"env: [{name: A, valueFrom: {secretKeyRef: {name: none, key: k}}}]":                         `secret "none" not found`,
		"env: [{name: A, valueFrom: {secretKeyRef: {name: cred, key: k}}}]":                         `couldn't find key k in Secret prod/cred`,
		"env: [{name: A, valueFrom: {fieldRef: {fieldPath: spec.x}}}]":                              `field label not supported: spec.x`,
		"env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.pods}}}]":                  `unsupported container resource : limits.pods`,
		"env: [{name: A, valueFrom: {resourceFieldRef: {containerName: q, resource: limits.cpu}}}]": `container q not found`,
		"env: [{name: A, valueFrom: {fileKeyRef: {volumeName: v, path: p, key: k}}}]":               `environment variable "A": fileKeyRef is not supported yet`,
		"envFrom: [{configMapRef: {name: zero}}]": `environment variable "k" cannot have the value of key "k" in ConfigMap prod/zero: ` +
			`it contains a zero byte; mount it as a volume instead`,
		"env: [{name: A, valueFrom: {secretKeyRef: {name: zero, key: k}}}]": `environment variable "A" cannot have the value of key "k" in Secret prod/zero: ` +
			`it contains a zero byte; mount it as a volume instead`,
	} {
		env, _, err := Resolve(input(t, text))
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", text, err, want)
			continue
		}
		var e *oci.Error
		if !errors.As(err, &e) || oci.Reason(err) != "CreateContainerConfigError" {
			t.Errorf("%s: the reason of %#v is %s", text, err, oci.Reason(err))
		}
		if len(env.From)+len(env.Values) > 0 {
			t.Errorf("%s: an environment with an error: %v", text, env)
		}
	}
}

// What a container sees in the end: precedence and $(VAR) over all sources.
func TestWhole(t *testing.T) {
	in := input(t, `
envFrom: [{configMapRef: {name: conf}}, {secretRef: {name: cred}}]
env:
- {name: USER, value: u}
- {name: URL, value: "http://$(USER):$(password)@$(HOST)/$(a)/$(LATER)/$$(USER)/$(dotted.key-x)"}
- {name: HOST, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
- {name: URL2, value: "$(HOST) $(KUBERNETES_SERVICE_HOST)"}
- {name: LATER, value: z}
- {name: b, valueFrom: {configMapKeyRef: {name: conf, key: none, optional: true}}}
- {name: a, value: "$(a)!"}
`)
	in.Services = []oci.Var{{Name: "KUBERNETES_SERVICE_HOST", Value: "10.96.0.1"}, {Name: "USER", Value: "service"}}
	env, _, err := Resolve(in)
	if err != nil {
		t.Fatal(err)
	}
	got, err := oci.Environ(oci.Input{Pod: in.Pod, Container: in.Container, Env: env, Sandbox: &runtime.Sandbox{NetNS: "n", UTSNS: "u", IPCNS: "i", ShmPath: "s"}})
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	for _, v := range got {
		values[v.Name] = v.Value
	}
	want := map[string]string{
		"a": "from secret!", "b": "2", "dotted.key-x": "$(a)", "password": "hunter2",
		"USER": "u", "HOST": "n1", "LATER": "z", "KUBERNETES_SERVICE_HOST": "10.96.0.1",
		"URL":  "http://u:hunter2@$(HOST)/from secret/$(LATER)/$(USER)/$(a)",
		"URL2": "n1 10.96.0.1",
	}
	if d := cmp.Diff(want, values); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestSubPath(t *testing.T) {
	env := []oci.Var{{Name: "POD", Value: "web"}, {Name: "EMPTY", Value: ""}, {Name: "UP", Value: "a/../../topsecret"},
		{Name: "ROOT", Value: "/topsecret"}, {Name: "POD", Value: "web-1"}}
	for _, c := range []struct{ sub, expr, want, err string }{
		{"", "", "", ""},
		{"a/b", "", "a/b", ""},
		{"$(POD)", "", "$(POD)", ""}, // not an expression
		{"", "logs/$(POD)", "logs/web-1", ""},
		{"", "$$(POD)", "$(POD)", ""},
		{"", "a..b/..c", "a..b/..c", ""},
		{"", "$(NONE)/$(EMPTY)/$(NONE)", "", "missing value for EMPTY, NONE"},
		{"/a", "", "", "error SubPath `/a` must not be an absolute path"},
		{"a/../b", "", "", "unable to provision SubPath `a/../b`: must not contain '..'"},
		{"", "$(ROOT)", "", "error SubPath `$(ROOT)` must not be an absolute path"},
		{"", "x/$(UP)", "", "unable to provision SubPath `x/$(UP)`: must not contain '..'"},
		{"", "a\x00", "", "unable to provision SubPath `a\x00`: must not contain a zero byte"},
	} {
		got, err := SubPath(v1.VolumeMount{SubPath: c.sub, SubPathExpr: c.expr}, env)
		text := ""
		if err != nil {
			text = err.Error()
			if oci.Reason(err) != "CreateContainerConfigError" || strings.Contains(text, "topsecret") {
				t.Errorf("%+v: %v", c, err)
			}
		}
		if got != c.want || text != c.err {
			t.Errorf("%+v: %q, %q", c, got, text)
		}
	}
}

func FuzzSubPath(f *testing.F) {
	for _, s := range []string{"$(A)/$(B)", "$$(A)", "$(A", "..", "$(B)$(B)", "/x", "a/./b//c"} {
		f.Add(s, "x", ".")
	}
	f.Fuzz(func(t *testing.T, expr, a, b string) {
		got, err := SubPath(v1.VolumeMount{SubPathExpr: expr}, []oci.Var{{Name: "A", Value: a}, {Name: "B", Value: b}})
		if err != nil {
			return
		}
		if strings.HasPrefix(got, "/") || strings.Contains("/"+got+"/", "/../") || strings.ContainsRune(got, 0) {
			t.Errorf("%q with %q and %q is %q", expr, a, b, got)
		}
	})
}
