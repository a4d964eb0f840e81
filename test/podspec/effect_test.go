package podspec

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/podspec"
	"github.com/davit-agent/davit/agent/podspec/support"
)

// elsewhere are the fields whose effect does not follow from values alone, with
// the test that shows it.
var elsewhere = map[string]string{
	"kind":       "agent/podspec: TestDecodeProblems",
	"apiVersion": "agent/podspec: TestDecodeProblems",

	"spec.containers[].imagePullPolicy":              "agent/images: TestPolicies",
	"spec.imagePullSecrets[].name":                   "agent/images: TestCredentials",
	"spec.containers[].terminationMessagePolicy":     "agent/pods: TestMessageFromLog",
	"spec.securityContext.fsGroupChangePolicy":       "agent/volumes: TestFSGroup",
	"spec.securityContext.sysctls[].value":           "runtime/sandbox: TestEnsure",
	"spec.volumes[].emptyDir.medium":                 "agent/volumes: TestHugePages",
	"spec.containers[].stdin":                        "agent/pods hands it on; the shim holds the other end of the FIFO",
	"spec.ephemeralContainers[].targetContainerName": "agent/pods makes the container in the PID namespace of the other",

	"spec.containers[].ports[].protocol":                                         "tells what Services may route to",
	"spec.containers[].ports[].hostPort":                                         "with hostNetwork it equals containerPort, also when it is left out",
	"spec.containers[].securityContext.procMount":                                "Default is what is there without it, and Unmasked is refused",
	"spec.hostUsers":                                                             "true is what is there without it, and false is refused",
	"spec.containers[].livenessProbe.successThreshold":                           "1 is its only value",
	"spec.containers[].startupProbe.successThreshold":                            "1 is its only value",
	"spec.containers[].env[].valueFrom.fieldRef.apiVersion":                      "v1 is its only value",
	"spec.volumes[].downwardAPI.items[].fieldRef.apiVersion":                     "v1 is its only value",
	"spec.volumes[].projected.sources[].downwardAPI.items[].fieldRef.apiVersion": "v1 is its only value",

	"spec.containers[].lifecycle.preStop.tcpSocket.port": "a tcpSocket hook fails, as on kubelet, wherever it is to go",
	"spec.containers[].lifecycle.preStop.tcpSocket.host": "a tcpSocket hook fails, as on kubelet, wherever it is to go",
}

// manifests reads testdata: pods, and what they refer to.
func manifests(t *testing.T) ([]*v1.Pod, *objects) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("there are no manifests", err)
	}
	var pods []*v1.Pod
	o := &objects{configMaps: map[string]*v1.ConfigMap{}, secrets: map[string]*v1.Secret{}}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		objs, problems := podspec.Decode(text, file)
		for _, p := range problems {
			t.Error(p)
		}
		for _, obj := range objs {
			switch {
			case obj.ConfigMap != nil:
				o.configMaps[obj.ConfigMap.Namespace+"/"+obj.ConfigMap.Name] = obj.ConfigMap
			case obj.Secret != nil:
				podspec.DefaultSecret(obj.Secret)
				o.secrets[obj.Secret.Namespace+"/"+obj.Secret.Name] = obj.Secret
			case obj.Pod != nil:
				if _, refused := ready(obj.Pod); refused != "" {
					t.Errorf("%s: %s cannot be run: %s", file, obj.Pod.Name, refused)
					continue
				}
				pods = append(pods, obj.Pod)
			}
		}
	}
	if t.Failed() {
		t.FailNow()
	}
	return pods, o
}

// ready returns the pod with its defaults, or why it is refused.
func ready(pod *v1.Pod) (*v1.Pod, string) {
	p := pod.DeepCopy()
	problems := podspec.Unsupported(p)
	podspec.Default(p)
	var texts []string
	for _, problem := range append(problems, podspec.Validate(p)...) {
		texts = append(texts, problem.String())
	}
	return p, strings.Join(texts, "\n")
}

// seen remembers what observers saw of the manifests as they are.
type seen map[*v1.Pod]map[string]string

func (s seen) of(t *testing.T, pod *v1.Pod, o observer, objs *objects) string {
	if s[pod] == nil {
		s[pod] = map[string]string{}
	}
	text, ok := s[pod][o.name]
	if !ok {
		whole, _ := ready(pod)
		text = o.see(t, whole, objs)
		if again := o.see(t, whole, objs); again != text {
			t.Fatalf("%s sees %s in two ways: %s", o.name, pod.Name, gocmp.Diff(text, again))
		}
		s[pod][o.name] = text
	}
	return text
}

// notice returns who notices that a pod was changed; "" is nobody.
func (s seen) notice(t *testing.T, pod, changed *v1.Pod, objs *objects) string {
	for _, o := range observers {
		if o.see(t, changed, objs) != s.of(t, pod, o, objs) {
			return o.name
		}
	}
	return ""
}

// TestEveryFieldHasEffect: each field that is supported stands in a manifest
// somewhere, and it makes a difference when it is blanked; or, where there has to
// be a value, when it is another, or else when the pod is refused without it.
func TestEveryFieldHasEffect(t *testing.T) {
	pods, objs := manifests(t)
	before := seen{}
	for _, f := range Fields() {
		if f.Row.Support != support.Supported {
			continue
		}
		t.Run(f.Path, func(t *testing.T) {
			found, who := 0, ""
			for _, pod := range pods {
				for i := range occurrences(pod, f.Path) {
					found++
					if who == "" || who == validation {
						who = cmp.Or(before.effect(t, pod, f.Path, i, objs), who)
					}
				}
			}
			t.Logf("noticed by %s", who)
			reason, excused := elsewhere[f.Path]
			switch {
			case found == 0:
				t.Errorf("no manifest in testdata sets %s", f.Path)
			case who == "" && !excused:
				t.Errorf("nobody notices when %s is blanked (in %d places)", f.Path, found)
			case who == validation && f.Path != "spec.os.name": // has one value only, and is needed
				t.Errorf("%s is checked, and nobody looks at it then", f.Path)
			case who != "" && excused:
				t.Errorf("%s is noticed by %s: take it from the list of those shown elsewhere (%s)", f.Path, who, reason)
			}
		})
	}
}

const validation = "validation"

// effect returns who notices that the i-th occurrence of a field is not what it
// was.
func (s seen) effect(t *testing.T, pod *v1.Pod, path string, i int, objs *objects) string {
	blank := pod.DeepCopy()
	occurrences(blank, path)[i].SetZero()
	whole, refused := ready(blank)
	if refused == "" {
		return s.notice(t, pod, whole, objs)
	}
	other := pod.DeepCopy()
	if another(occurrences(other, path)[i], path) {
		if whole, refused := ready(other); refused == "" {
			return s.notice(t, pod, whole, objs)
		}
	}
	return validation
}

// TestIgnoredFieldsHaveNone: what is ignored by design makes no difference.
func TestIgnoredFieldsHaveNone(t *testing.T) {
	pods, objs := manifests(t)
	before := seen{}
	for _, f := range Fields() {
		if f.Row.Support != support.Ignored {
			continue
		}
		found := 0
		for _, pod := range pods {
			for i := range occurrences(pod, f.Path) {
				found++
				if who := before.effect(t, pod, f.Path, i, objs); who != "" {
					t.Errorf("%s is ignored by design and noticed by %s", f.Path, who)
				}
			}
		}
		if found == 0 {
			t.Errorf("no manifest in testdata sets %s", f.Path)
		}
	}
}

// TestElsewhere: what is shown elsewhere is a supported field, and the test that
// is named exists.
func TestElsewhere(t *testing.T) {
	for path, reason := range elsewhere {
		if row := support.RowOf(path); row == nil || row.Support != support.Supported {
			t.Errorf("%s is not a field that is supported", path)
		}
		dir, name, ok := strings.Cut(reason, ": ")
		if !ok || !strings.HasPrefix(name, "Test") {
			continue
		}
		files, err := filepath.Glob("../../" + dir + "/*_test.go")
		if err != nil {
			t.Fatal(err)
		}
		there := func(file string) bool {
			text, err := os.ReadFile(file)
			return err == nil && strings.Contains(string(text), "func "+name+"(")
		}
		if !slices.ContainsFunc(files, there) {
			t.Errorf("%s is to be shown by %s, which does not exist", path, reason)
		}
	}
}
