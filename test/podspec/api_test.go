package podspec

import (
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/davit-agent/davit/agent/podspec"
)

// answers is where what a real API server said is stored.
const answers = "testdata/api/answers.json"

// apiCase is a pod for an API server: with one container and what is written
// beside it.
type apiCase struct {
	Name      string       `json:"name"`
	Spec      v1.PodSpec   `json:"spec"`
	Container v1.Container `json:"container"`
	whole     *v1.Pod
}

// answer is what an API server says of a pod.
type answer struct {
	Refused []string    `json:"refused,omitempty"` // fields, sorted
	Spec    *v1.PodSpec `json:"spec,omitempty"`    // as stored
}

func apiCases(t *testing.T) []apiCase {
	t.Helper()
	text, err := os.ReadFile("testdata/api/cases.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var out []apiCase
	if err := yaml.UnmarshalStrict(text, &out); err != nil {
		t.Fatal(err)
	}
	pods, _ := manifests(t)
	for _, p := range pods {
		if !slices.Contains(notForAPI, p.Name) {
			out = append(out, apiCase{Name: "manifest " + p.Name, Spec: p.Spec, whole: p})
		}
	}
	return out
}

// notForAPI are manifests that an API server does not take as they are: ephemeral
// containers come later there, stop signals are an alpha feature, and a priority
// has to exist.
var notForAPI = []string{"debugged", "execs", "ignored"}

func (c *apiCase) pod() *v1.Pod {
	if c.whole != nil {
		p := c.whole.DeepCopy()
		p.Namespace = ""
		return p
	}
	p := &v1.Pod{Spec: *c.Spec.DeepCopy()}
	p.Name = "p"
	main := *c.Container.DeepCopy()
	main.Name, main.Image = "c", "example.com/app:2"
	p.Spec.Containers = append(p.Spec.Containers, main)
	return p
}

// differs are the cases in which davit names other fields, with the reason.
var differs = map[string]string{
	"bad header":                     "the header is named",
	"pod limits too small":           "the container is named",
	"pod limits below a container's": "the container is named",
	"pod requests over limits":       "the resource is named",
	"pod huge pages requested":       "the resource is named",
	"half a huge page":               "once is enough: the request came from the limit",
	"two sources":                    "none of the two is the right one",
}

// fieldOf names a field as davit does where Kubernetes does it in another way.
func fieldOf(field string) string {
	// The internal form has some of a pod's fields in its security context.
	if field == "spec.securityContext.shareProcessNamespace" {
		return "spec.shareProcessNamespace"
	}
	return field
}

// TestAsAPIServer: what is filled in and what is refused is what a real API
// server (1.36.3) fills in and refuses, field by field. Record it anew with
//
//	make goldens PKG=./test/podspec
func TestAsAPIServer(t *testing.T) {
	text, err := os.ReadFile(answers)
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]answer
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	cases := apiCases(t)
	if len(want) != len(cases) {
		t.Errorf("%d answers to %d cases: record them anew", len(want), len(cases))
	}
	for _, c := range cases {
		w, ok := want[c.Name]
		if !ok {
			t.Errorf("%s: no answer is recorded", c.Name)
			continue
		}
		pod := c.pod()
		podspec.Default(pod)
		var got answer
		for _, p := range podspec.Validate(pod) {
			got.Refused = append(got.Refused, p.Field)
		}
		slices.Sort(got.Refused)
		got.Refused = slices.Compact(got.Refused)
		if len(got.Refused) == 0 {
			got.Spec = &pod.Spec
		}
		for i, f := range w.Refused {
			w.Refused[i] = fieldOf(f)
		}
		diff := cmp.Diff(w, got, cmp.Comparer(func(a, b v1.ResourceList) bool { return sameResources(a, b) }))
		_, known := differs[c.Name]
		if known != (diff != "") || (len(w.Refused) == 0) != (len(got.Refused) == 0) {
			t.Errorf("%s (-API server +davit, known as another: %v):\n%s", c.Name, known, diff)
		}
	}
}

func sameResources(a, b v1.ResourceList) bool {
	if len(a) != len(b) {
		return false
	}
	for name, q := range a {
		if other, ok := b[name]; !ok || q.Cmp(other) != 0 {
			return false
		}
	}
	return true
}

// A case is a case: names are unique, and each sets something of its own.
func TestAPICases(t *testing.T) {
	var seen []apiCase
	for _, c := range apiCases(t) {
		for _, other := range seen {
			if other.Name == c.Name || reflect.DeepEqual(other.Spec, c.Spec) && reflect.DeepEqual(other.Container, c.Container) {
				t.Errorf("%s is %s once more", c.Name, other.Name)
			}
		}
		if strings.TrimSpace(c.Name) == "" {
			t.Error("a case has no name")
		}
		seen = append(seen, c)
	}
}
