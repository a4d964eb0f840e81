package source

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/davit-agent/davit/agent/podspec"
)

func configOf(name, value string, more ...string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + "}\ndata: {a: \"" + value + "\"}\n" + strings.Join(more, "")
}

func serviceOf(name string) string {
	return "apiVersion: v1\nkind: Service\nmetadata: {name: " + name + ", namespace: ns}\nspec: {selector: {a: b}, ports: [{port: 80}]}\n"
}

// value is what the ConfigMap settings says, "" if there is none.
func (r *rig) value() string {
	c, ok := r.set.ConfigMap("default", "settings")
	if !ok {
		return ""
	}
	return c.Data["a"]
}

func (r *rig) untilValue(want string) {
	r.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); r.value() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("the ConfigMap has %q, want %q; problems: %s", r.value(), want, r.problems())
		}
	}
}

func TestObjects(t *testing.T) {
	r := newRig(t, map[string]string{"a.yaml": manifestOf("a") + "---\n" + configOf("settings", "1") + "---\n" + serviceOf("z") + "---\n" + serviceOf("b")})
	if err := os.WriteFile(r.path("s.yaml"), []byte(strings.Replace(password, "{name: pw}", "{name: pw, namespace: ns}", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	r.run()
	r.untilValue("1")
	r.until([]string{"a-n1"})
	pod := r.set.List()[0]
	if s, ok := r.set.Secret("ns", "pw"); !ok || string(s.Data["pw"]) != "hunter2" || len(s.StringData) > 0 || s.Type != v1.SecretTypeOpaque {
		t.Errorf("%+v", s)
	}
	if _, ok := r.set.Secret("default", "pw"); ok {
		t.Error("a Secret of another namespace is found")
	}
	var services []string
	for _, s := range r.set.Services() {
		services = append(services, s.Namespace+"/"+s.Name+":"+s.Spec.Ports[0].TargetPort.String())
	}
	if diff := cmp.Diff([]string{"ns/b:80", "ns/z:80"}, services); diff != "" {
		t.Errorf("Services (-want +got):\n%s", diff)
	}
	if o, ok := r.set.Object(podspec.KindConfigMap, "default", "settings"); !ok || o.Origin != r.path("a.yaml") || o.Line != 7 || o.ConfigMap.Namespace != "default" {
		t.Errorf("%+v", o)
	}
	// What stands beside a pod is not the pod's.
	generation := r.set.Generation()
	r.write("a.yaml", manifestOf("a")+"---\n"+configOf("settings", "2"))
	r.untilValue("2")
	if got := r.set.List()[0]; got.Pod.UID != pod.Pod.UID || r.set.Generation() != generation+1 || len(r.set.Services()) != 0 {
		t.Errorf("generation %d, was %d; %v", r.set.Generation(), generation, got.Pod.ObjectMeta)
	}
	// A broken file hides nothing, and what it last said holds.
	r.write("a.yaml", manifestOf("a")+"---\n"+configOf("settings", "3", "dat: {}\n"))
	r.until([]string{"a-n1"}, "D/a.yaml:11: ConfigMap/default/settings: unknown field \"dat\", did you mean \"data\"?",
		"D/a.yaml: 1 objects that it defined before it was broken are kept as they were")
	if r.value() != "2" || r.set.Settled() {
		t.Errorf("value %q, settled %v", r.value(), r.set.Settled())
	}
	if err := os.Remove(r.path("a.yaml")); err != nil {
		t.Fatal(err)
	}
	r.until([]string{})
	if _, ok := r.set.Secret("ns", "pw"); !ok || r.value() != "" || !r.set.Settled() {
		t.Error("what is gone is there, or what is there is gone")
	}
}

func TestObjectNames(t *testing.T) {
	r := newRig(t, map[string]string{"b.yaml": configOf("settings", "1")})
	r.run()
	r.untilValue("1")
	r.write("a.yaml", configOf("settings", "2"))
	r.until([]string{}, "D/a.yaml:1: ConfigMap/default/settings: metadata.name: the name of ConfigMap default/settings is taken by D/b.yaml:1, which was there first: change or remove one of them")
	// Another kind and another namespace are other names.
	r.write("a.yaml", serviceOf("settings")+"---\n"+configOf("settings, namespace: ns", "3"))
	r.until([]string{})
	if _, ok := r.set.ConfigMap("ns", "settings"); !ok || r.value() != "1" {
		t.Error("names of other namespaces clash")
	}
}

func TestImmutable(t *testing.T) {
	r := newRig(t, map[string]string{"a.yaml": configOf("settings", "1", "immutable: true\n")})
	r.run()
	r.untilValue("1")
	refused := "%s: Forbidden: field is immutable when `immutable` is set: what it held is kept; give the object another name, or remove it before it is made anew"
	at := "D/a.yaml:%d: ConfigMap/default/settings: "
	r.write("a.yaml", configOf("settings", "2"))
	r.until([]string{}, fmt.Sprintf(strings.Replace(at+refused, "%s: ", "", 1), 1), fmt.Sprintf(at+refused, 4, "data"))
	if r.value() != "1" {
		t.Errorf("value %s", r.value())
	}
	r.write("a.yaml", configOf("settings", "1", "immutable: true\nbinaryData: {b: aGk=}\n"))
	r.until([]string{}, fmt.Sprintf(at+refused, 6, "binaryData"))
	r.write("a.yaml", strings.Replace(configOf("settings", "1", "immutable: true\n"), "{name: settings}", "{name: settings, labels: {a: b}}", 1))
	r.until([]string{})
	if c, _ := r.set.ConfigMap("default", "settings"); c.Labels["a"] != "b" {
		t.Error("the labels of an immutable ConfigMap cannot be changed")
	}
	if err := os.Remove(r.path("a.yaml")); err != nil {
		t.Fatal(err)
	}
	r.untilValue("")
	r.write("a.yaml", configOf("settings", "2"))
	r.untilValue("2")
}

// TestReadableSecrets: who can read a file with a Secret is told, and the Secret
// taken all the same.
func TestReadableSecrets(t *testing.T) {
	r := newRig(t, map[string]string{"s.yaml": settings + "---\n" + password})
	r.run()
	r.until([]string{}, "D/s.yaml:6: Secret/default/pw: warning: the file holds a Secret and every user of this machine can read it (mode 0644): chmod 600 D/s.yaml")
	if _, ok := r.set.Secret("default", "pw"); !ok || !r.set.Settled() {
		t.Error("the Secret is not taken")
	}
	if err := os.Chmod(r.path("s.yaml"), 0o640); err != nil {
		t.Fatal(err)
	}
	r.until([]string{})
}

// TestObjectWakes: a change of a ConfigMap or Secret wakes the pods that name it.
func TestObjectWakes(t *testing.T) {
	pod := func(uid string, change func(*v1.PodSpec)) *Pod {
		p := testPod(uid, uid, "/f")
		p.Pod.Spec.Containers = []v1.Container{{Name: "c"}}
		change(&p.Pod.Spec)
		return p
	}
	config, secret := v1.LocalObjectReference{Name: "x"}, v1.LocalObjectReference{Name: "x"}
	volume := func(source v1.VolumeSource) func(*v1.PodSpec) {
		return func(s *v1.PodSpec) { s.Volumes = []v1.Volume{{Name: "v", VolumeSource: source}} }
	}
	env := func(e v1.EnvVarSource) func(*v1.PodSpec) {
		return func(s *v1.PodSpec) { s.Containers[0].Env = []v1.EnvVar{{Name: "A"}, {Name: "B", ValueFrom: &e}} }
	}
	from := func(e v1.EnvFromSource) func(*v1.PodSpec) {
		return func(s *v1.PodSpec) { s.InitContainers = []v1.Container{{EnvFrom: []v1.EnvFromSource{e}}} }
	}
	projected := func(p v1.VolumeProjection) func(*v1.PodSpec) {
		return volume(v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{Sources: []v1.VolumeProjection{{}, p}}})
	}
	pods := []*Pod{
		pod("c-volume", volume(v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: config}})),
		pod("s-volume", volume(v1.VolumeSource{Secret: &v1.SecretVolumeSource{SecretName: "x"}})),
		pod("c-projected", projected(v1.VolumeProjection{ConfigMap: &v1.ConfigMapProjection{LocalObjectReference: config}})),
		pod("s-projected", projected(v1.VolumeProjection{Secret: &v1.SecretProjection{LocalObjectReference: secret}})),
		pod("c-env", env(v1.EnvVarSource{ConfigMapKeyRef: &v1.ConfigMapKeySelector{LocalObjectReference: config}})),
		pod("s-env", env(v1.EnvVarSource{SecretKeyRef: &v1.SecretKeySelector{LocalObjectReference: secret}})),
		pod("c-from", from(v1.EnvFromSource{ConfigMapRef: &v1.ConfigMapEnvSource{LocalObjectReference: config}})),
		pod("s-from", from(v1.EnvFromSource{SecretRef: &v1.SecretEnvSource{LocalObjectReference: secret}})),
		pod("c-debug", func(s *v1.PodSpec) {
			s.EphemeralContainers = []v1.EphemeralContainer{{EphemeralContainerCommon: v1.EphemeralContainerCommon{
				EnvFrom: []v1.EnvFromSource{{ConfigMapRef: &v1.ConfigMapEnvSource{LocalObjectReference: config}}}}}}
		}),
		pod("s-pull", func(s *v1.PodSpec) { s.ImagePullSecrets = []v1.LocalObjectReference{secret} }),
		pod("none", volume(v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: v1.LocalObjectReference{Name: "y"}}})),
	}
	s := NewSet("dir")
	deliver := func(broken bool, objects ...*Object) {
		snap := snapshot(true, pods...)
		snap.Objects = map[string]*Object{}
		for _, o := range objects {
			snap.Objects[o.id()] = o
		}
		if broken {
			snap.Broken = []string{"/b"}
		}
		s.Deliver("dir", snap)
	}
	object := func(kind, namespace, value string) *Object {
		meta := metav1.ObjectMeta{Name: "x", Namespace: namespace}
		switch kind {
		case podspec.KindConfigMap:
			return &Object{ConfigMap: &v1.ConfigMap{ObjectMeta: meta, Data: map[string]string{"a": value}}}
		case podspec.KindSecret:
			return &Object{Secret: &v1.Secret{ObjectMeta: meta, Data: map[string][]byte{"a": []byte(value)}}}
		}
		return &Object{Service: &v1.Service{ObjectMeta: meta}}
	}
	deliver(false)
	drain(s)
	c1, c2, s1 := object(podspec.KindConfigMap, "default", "1"), object(podspec.KindConfigMap, "default", "2"), object(podspec.KindSecret, "default", "1")
	configs, secrets := []string{"c-debug", "c-env", "c-from", "c-projected", "c-volume"}, []string{"s-env", "s-from", "s-projected", "s-pull", "s-volume"}
	for i, step := range []struct {
		broken  bool
		objects []*Object
		want    []string
	}{
		{false, []*Object{c1}, configs},
		{false, []*Object{object(podspec.KindConfigMap, "default", "1")}, []string{}},
		{false, []*Object{c2, s1}, slices.Concat(configs, secrets)},
		{false, []*Object{c2, s1, object(podspec.KindConfigMap, "other", "1"), object(podspec.KindService, "default", "")}, []string{}},
		{false, []*Object{c2}, secrets},
		{true, []*Object{c2}, []string{""}},
		{true, []*Object{c1}, slices.Concat([]string{""}, configs)},
		{false, nil, slices.Concat([]string{""}, configs)},
	} {
		before := s.Generation()
		deliver(step.broken, step.objects...)
		if diff := cmp.Diff(step.want, drain(s)); diff != "" {
			t.Errorf("step %d: wakes (-want +got):\n%s", i, diff)
		}
		// In step 5 what is not there begins to mean nothing.
		if same := i == 1; same != (s.Generation() == before) {
			t.Errorf("step %d: generation %d, was %d", i, s.Generation(), before)
		}
	}
}

// TestTwoSources: of two sources that want one name the one that had it first
// keeps it, also over a restart.
func TestTwoSources(t *testing.T) {
	config := func(value, origin string) *Object {
		return &Object{ConfigMap: &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "x"}, Data: map[string]string{"a": value}}, Origin: origin, Line: 3}
	}
	with := func(s Snapshot, o *Object) Snapshot {
		s.Objects = map[string]*Object{o.id(): o}
		return s
	}
	check := func(step string, s *Set, pods []string, value string, problems ...string) {
		t.Helper()
		var got []string
		for _, p := range s.Problems() {
			got = append(got, p.String())
		}
		c, ok := s.ConfigMap("default", "x")
		if value == "" && ok || value != "" && (!ok || c.Data["a"] != value) {
			t.Errorf("%s: ConfigMap %v", step, c)
		}
		if diff := cmp.Diff(pods, list(s)); diff != "" {
			t.Errorf("%s: pods (-want +got):\n%s", step, diff)
		}
		if diff := cmp.Diff(problems, got); diff != "" {
			t.Errorf("%s: problems (-want +got):\n%s", step, diff)
		}
	}
	const url = "http://h/pods"
	dirPod, urlPod := testPod("ud", "a", "/m/a.yaml"), testPod("uu", "a", url)
	second := " is taken by http://h/pods:%d, which was there first: change or remove one of them"
	lost := []string{
		"/m/a.yaml:1: Pod/default/a: metadata.name: the name of pod default/a" + fmt.Sprintf(second, 1),
		"/m/a.yaml:3: ConfigMap/default/x: metadata.name: the name of ConfigMap default/x" + fmt.Sprintf(second, 3),
	}

	s := NewSet("dir", "url")
	s.Deliver("dir", snapshot(true))
	s.Deliver("url", with(snapshot(true, urlPod), config("url", url)))
	check("the first", s, []string{"uu"}, "url")
	s.Deliver("dir", with(snapshot(true, dirPod), config("dir", "/m/a.yaml")))
	check("the second", s, []string{"uu"}, "url", lost...)
	s.Deliver("url", snapshot(false))
	check("the first is away", s, []string{"uu"}, "url", lost...)
	s.Deliver("url", snapshot(true))
	check("the first gave it up", s, []string{"ud"}, "dir")
	s.Deliver("url", with(snapshot(true, urlPod), config("url", url)))
	if got, _ := s.Get("ud"); got != dirPod {
		t.Error("who comes back is not the second")
	}

	// After a restart: the pod of the URL runs, and the directory is read first.
	s = NewSet("dir", "url")
	s.Hold("url", "default", "a", url)
	s.Deliver("dir", snapshot(true, dirPod))
	held := "/m/a.yaml:1: Pod/default/a: metadata.name: the name is that of a pod from http://h/pods, which cannot be read now: repair or remove that one, or choose another name"
	check("restart", s, []string{}, "", held)
	if !s.Keep("uu", "default", "a", url) || s.Keep("ux", "default", "x", "/m/a.yaml") {
		t.Error("kept is not what may be wanted, or is what is not")
	}
	s.Deliver("url", snapshot(false))
	check("the URL cannot be read", s, []string{}, "", held)
	broken := snapshot(true)
	broken.Broken = []string{url}
	s.Deliver("url", broken)
	check("the URL is broken", s, []string{}, "", held)
	if !s.Keep("uu", "default", "a", url) {
		t.Error("the pod of a broken set is not kept")
	}
	s.Deliver("url", snapshot(true, urlPod))
	check("the URL has it", s, []string{"uu"}, "", lost[0])

	s = NewSet("dir", "url")
	s.Hold("url", "default", "a", url)
	s.Hold("former", "default", "b", "ftp://h")
	s.Deliver("dir", snapshot(true, dirPod, testPod("ub", "b", "/m/b.yaml")))
	s.Deliver("url", snapshot(true))
	check("the URL has it no more", s, []string{"ud", "ub"}, "")

	// Until all have spoken it is chance who is first; then the order counts.
	s = NewSet("dir", "url")
	s.Deliver("url", snapshot(true, urlPod))
	check("only one spoke", s, []string{"uu"}, "")
	s.Deliver("dir", snapshot(true, dirPod))
	check("both spoke", s, []string{"ud"}, "", "http://h/pods:1: Pod/default/a: metadata.name: the name of pod default/a is taken by /m/a.yaml:1, which was there first: change or remove one of them")
}

// TestLargeConfigMap: as much as the API takes goes through at once.
func TestLargeConfigMap(t *testing.T) {
	var many strings.Builder
	many.WriteString("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: many}\ndata:\n")
	for i := range 10_000 {
		fmt.Fprintf(&many, "  key-%05d: \"%d\"\n", i, i)
	}
	r := newRig(t, map[string]string{"many.yaml": many.String(), "settings.yaml": configOf("settings", strings.Repeat("x", 1<<20))})
	r.run()
	r.untilValue(strings.Repeat("x", 1<<20))
	if c, ok := r.set.ConfigMap("default", "many"); !ok || len(c.Data) != 10_000 || c.Data["key-09999"] != "9999" {
		t.Errorf("%v, problems %s", ok, r.problems())
	}
	r.write("settings.yaml", configOf("settings", strings.Repeat("x", 1<<20+1)))
	r.until([]string{}, "D/settings.yaml:4: ConfigMap/default/settings: data: Forbidden: the values have 1048577 bytes together, at most 1048576 are allowed: spread them over several objects",
		"D/settings.yaml: 1 objects that it defined before it was broken are kept as they were")
	if len(r.value()) != 1<<20 {
		t.Error("what it last held is gone")
	}
}

// TestManyUpdates: a file that is replaced without a pause is read all the same.
func TestManyUpdates(t *testing.T) {
	r := newRig(t, map[string]string{"a.yaml": configOf("settings", "0")})
	r.run()
	r.untilValue("0")
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 1; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				r.write("a.yaml", configOf("settings", fmt.Sprint(i)))
			}
		}
	}()
	defer func() { close(stop); <-done }()
	seen := map[string]bool{}
	for deadline := time.Now().Add(30 * time.Second); len(seen) < 10; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("while it was replaced without a pause only %d versions were seen", len(seen))
		}
		seen[r.value()] = true
	}
}
