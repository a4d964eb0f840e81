package cgroups

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
)

func TestPods(t *testing.T) {
	pods, err := Pods(Node{Memory: 1 << 30}, "image")
	if err != nil {
		t.Fatal(err)
	}
	more, err := Pods(Node{Memory: 1 << 30, Hugepages: map[string]int64{"2MB": 32 << 20}}, "image")
	if err != nil || len(more) <= len(pods) {
		t.Errorf("%d pods, with huge pages %d: %v", len(pods), len(more), err)
	}
	vm, err := Pods(Node{V2: true, Memory: 1 << 30, Hugepages: map[string]int64{"2MB": 32 << 20}}, "image")
	if err != nil || len(vm) != len(onV2) {
		t.Errorf("%d pods on v2, %d are named: %v", len(vm), len(onV2), err)
	}
	byName := map[string]*v1.Pod{}
	for _, p := range pods {
		byName[p.Name] = p
	}
	if got := byName["requests-only"].Spec.Containers[0].Resources.Requests.Memory().Value(); got != 1<<26 {
		t.Errorf("a sixteenth of the memory is %d", got)
	}
	for name, want := range map[string][]string{
		"guaranteed-all-kinds": {"side", "a", "b"}, "init-runs": {"first"}, "init-beside-sidecar": {"side", "first"},
	} {
		if d := cmp.Diff(want, steady(byName[name])); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	pod := byName["init-beside-sidecar"]
	running := func(name string) v1.ContainerStatus {
		return v1.ContainerStatus{Name: name, ContainerID: "containerd://" + name, State: v1.ContainerState{Running: &v1.ContainerStateRunning{}}}
	}
	pod.Status.InitContainerStatuses = []v1.ContainerStatus{running("side")}
	if Waiting(pod) == "" {
		t.Error("nobody waits for the second init container")
	}
	pod.Status.InitContainerStatuses = append(pod.Status.InitContainerStatuses, running("first"))
	if why := Waiting(pod); why != "" {
		t.Error(why)
	}
}

func TestNormal(t *testing.T) {
	n := Node{Memory: 1 << 32, PIDs: 32768, MilliCPU: 2000, CPUs: "0-1", Hugepages: map[string]int64{"2MB": 32 << 20}}
	for _, c := range []struct{ cgroup, file, value, want string }{
		{"kubepods", "cpu.shares", "2048", "CPUS"}, {"kubepods", "cpu.shares", "1843", "CPUS-200m"}, {"kubepods", "cpu.weight", "79", "CPUS"},
		{"kubepods/burstable", "cpu.shares", "2048", "2048"},
		{"kubepods", "memory.max", "4294967296", "MEMORY"}, {"kubepods", "memory.max", "4026531840", "MEMORY*120/128"},
		{"kubepods", "memory.max", "4293918720", "MEMORY-1Mi"}, {"x", "memory.max", "4293918720", "4293918720"},
		{"x", "memory.limit_in_bytes", "9223372036854771712", "max"}, {"x", "memory.max", "67108864", "MEMORY*2/128"},
		{"kubepods", "pids.max", "31534", "PIDS-1234"}, {"kubepods", "pids.max", "max", "max"}, {"x", "pids.max", "32768", "32768"},
		{"x", "cpuset.cpus", "0-1", "CPUS"}, {"x", "cpuset.cpus", "0", "0"},
		{"kubepods", "hugetlb.2MB.rsvd.max", "33554432", "33554432"},
	} {
		if got := n.normal(c.cgroup, c.file, c.value); got != c.want {
			t.Errorf("%s of %s: %s becomes %s, want %s", c.file, c.cgroup, c.value, got, c.want)
		}
	}
}

func TestCompare(t *testing.T) {
	kubelet := Values{"kubepods": {"cpuset.cpus": "CPUS", "pids.max": "PIDS"}, "burstable/p": {"cpu.weight": "5", "memory.max": "max"}}
	davit := Values{"kubepods": {"cpuset.cpus": "", "pids.max": "PIDS"}, "burstable/p": {"cpu.weight": "6", "memory.min": "0"}, "guaranteed/q": {"pids.max": "max"}}
	want := []string{
		`cpu.weight of burstable/p: kubelet "5", davit "6"`, `memory.max of burstable/p: kubelet "max", davit "-"`,
		`memory.min of burstable/p: kubelet "-", davit "0"`, `pids.max of guaranteed/q: kubelet "-", davit "max"`,
	}
	if d := cmp.Diff(want, Compare(kubelet, davit)); d != "" {
		t.Error(d)
	}
	davit["kubepods"]["cpuset.cpus"] = "0" // only the value that is on purpose passes
	if got := Compare(kubelet, davit); len(got) != 5 {
		t.Errorf("%q", got)
	}
}

func TestGoldens(t *testing.T) {
	g := Golden{"default": {"kubepods": {"a": "b"}}}
	file := filepath.Join(t.TempDir(), "g.yaml")
	if err := g.Save(file); err != nil {
		t.Fatal(err)
	}
	back, err := Load(file)
	if d := cmp.Diff(g, back); d != "" || err != nil {
		t.Errorf("%v %s", err, d)
	}
	for _, file := range []string{"v1.yaml", "v2.yaml"} {
		g, err := Load(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range Variants {
			if len(g[v.Name]["kubepods"]) == 0 {
				t.Errorf("%s has nothing of the variant %s", file, v.Name)
			}
		}
	}
}
