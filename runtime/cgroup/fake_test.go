package cgroup

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/davit-agent/davit/runtime/cgroup/qos"
)

// fakeV2 lays out a v2 hierarchy of plain files in a temporary directory: what
// the kernel would put into the named cgroups is there, empty. What is written
// where can be seen in it; what the kernel does with it is for the VM lane.
func fakeV2(t *testing.T, cgroups ...string) string {
	t.Helper()
	mount := t.TempDir()
	for _, cg := range append([]string{"/"}, cgroups...) {
		dir := filepath.Join(mount, cg)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, content := range map[string]string{
			"cgroup.controllers": "cpuset cpu io memory hugetlb pids rdma\n", "cgroup.subtree_control": "cpu io\n",
			"cpu.weight": "", "cpu.max": "", "memory.max": "", "pids.max": "", "cpuset.cpus": "", "cpuset.mems": "",
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, size := range []string{"2MB", "16GB"} {
			for _, name := range []string{".max", ".rsvd.max"} {
				if err := os.WriteFile(filepath.Join(dir, "hugetlb."+size+name), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return mount
}

func read(t *testing.T, mount, p string, files ...string) map[string]string {
	t.Helper()
	got := map[string]string{}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(mount, p, f))
		if err != nil {
			t.Fatal(err)
		}
		got[f] = string(b)
	}
	return got
}

func TestFakeV2(t *testing.T) {
	const root = "/unit/pods"
	podPath := qos.PodPath(qos.Cgroupfs, root, v1.PodQOSBurstable, "u1")
	mount := fakeV2(t, "/unit", root, root+"/kubepods", root+"/kubepods/burstable", root+"/kubepods/besteffort", podPath)
	tree, err := New(Config{Root: root, Driver: "auto", MountPoint: mount, PodPids: 1000,
		Node: &qos.Resources{Shares: 2048, Memory: 1 << 32, Pids: 30000, OtherHugepages: qos.Unbounded}})
	if err != nil {
		t.Fatal(err)
	}
	if !tree.V2() {
		t.Fatal("not seen as v2")
	}
	pod := testPod("u1", list("100m", "1Mi"), list("1500m", "1Gi"))
	pod.Spec.Containers[0].Resources.Limits["hugepages-2Mi"] = resource.MustParse("4Mi")
	pod.Spec.Containers[0].Resources.Limits["hugepages-1Gi"] = resource.MustParse("1Gi") // no such file: the node has no such pages
	p, err := tree.EnsurePod(pod)
	if err != nil {
		t.Fatal(err)
	}
	if p != podPath {
		t.Errorf("path %s, want %s", p, podPath)
	}
	want := map[string]string{"cpu.weight": "4", "cpu.max": "150000 100000", "memory.max": "1073741824",
		"pids.max": "1000", "hugetlb.2MB.max": "4194304", "hugetlb.2MB.rsvd.max": "4194304", "hugetlb.16GB.max": "0",
		"cpuset.cpus": "", "cpuset.mems": ""}
	if d := cmp.Diff(want, read(t, mount, p, slices.Collect(maps.Keys(want))...)); d != "" {
		t.Error(d)
	}
	if err := tree.SetQoS(500); err != nil {
		t.Fatal(err)
	}
	for cg, want := range map[string]map[string]string{
		"":            {"cpu.weight": "79", "memory.max": "4294967296", "pids.max": "30000", "hugetlb.2MB.max": "4611686018427387904", "hugetlb.16GB.rsvd.max": "4611686018427387904"},
		"/burstable":  {"cpu.weight": "20", "memory.max": "", "pids.max": "", "hugetlb.2MB.max": "4611686018427387904"},
		"/besteffort": {"cpu.weight": "1", "memory.max": "", "pids.max": "", "hugetlb.16GB.max": "4611686018427387904"},
	} {
		if d := cmp.Diff(want, read(t, mount, root+"/kubepods"+cg, slices.Collect(maps.Keys(want))...)); d != "" {
			t.Errorf("kubepods%s: %s", cg, d)
		}
	}
	// A plain file keeps the last write only; that of "cpu" and "io" was not needed.
	for _, cg := range []string{root, root + "/kubepods", root + "/kubepods/burstable", p} {
		if got := read(t, mount, cg, "cgroup.subtree_control")["cgroup.subtree_control"]; got != "+rdma" {
			t.Errorf("%s: subtree_control %q", cg, got)
		}
	}
	for _, cg := range []string{"/", "/unit"} {
		if got := read(t, mount, cg, "cgroup.subtree_control")["cgroup.subtree_control"]; got != "cpu io\n" {
			t.Errorf("%s is above the root and was written to: %q", cg, got)
		}
	}
}

// A limit of all pods that the kernel refuses keeps nothing else from being set,
// and is tried again.
func TestNodeLimitRefused(t *testing.T) {
	mount := fakeV2(t, "/kubepods", "/kubepods/burstable", "/kubepods/besteffort")
	tree, err := New(Config{MountPoint: mount, Node: &qos.Resources{Shares: 2048, Memory: 1 << 32, Pids: 30000}})
	if err != nil {
		t.Fatal(err)
	}
	limit := filepath.Join(mount, "kubepods/memory.max")
	if err := os.Remove(limit); err != nil {
		t.Fatal(err)
	}
	if err := tree.SetQoS(100); err == nil || !strings.Contains(err.Error(), "setting memory.max of cgroup /kubepods") {
		t.Errorf("refused: %v", err)
	}
	if d := cmp.Diff(map[string]string{"cpu.weight": "79", "pids.max": "30000"}, read(t, mount, "/kubepods", "cpu.weight", "pids.max")); d != "" {
		t.Error(d)
	}
	if got := read(t, mount, "/kubepods/burstable", "cpu.weight")["cpu.weight"]; got != "4" {
		t.Errorf("weight of burstable is %q", got)
	}
	if err := os.WriteFile(limit, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := tree.SetQoS(100); err != nil {
			t.Error(err)
		}
		if got := read(t, mount, "/kubepods", "memory.max")["memory.max"]; got != "4294967296" {
			t.Errorf("memory.max is %q after another try", got)
		}
	}
	// What somebody else sets afterwards stays.
	if err := os.WriteFile(limit, []byte("5"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := tree.SetQoS(100); err != nil {
		t.Error(err)
	}
	if got := read(t, mount, "/kubepods", "memory.max")["memory.max"]; got != "5" {
		t.Errorf("memory.max is %q", got)
	}
}

func TestOOMKillsFiles(t *testing.T) {
	v1dir, v2dir := t.TempDir(), t.TempDir()
	for file, content := range map[string]string{
		v1dir + "/memory/kubepods/pod1/c/memory.oom_control":                                "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
		v1dir + "/memory/old/memory.oom_control":                                            "oom_kill_disable 0\nunder_oom 0\n",
		v2dir + "/cgroup.controllers":                                                       "memory\n",
		v2dir + "/kubepods.slice/kubepods-pod1.slice/davit-c.scope/memory.events":           "low 0\nhigh 0\nmax 9\noom 8\noom_kill 7\noom_group_kill 1\n",
		v2dir + "/kubepods.slice/kubepods-pod1.slice/davit-c.scope/memory.events.unrelated": "oom_kill 5\n",
	} {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := oomKills(v1dir, qos.FromSpecPath("/kubepods/pod1/c")); n != 3 || err != nil {
		t.Errorf("v1: %d, %v", n, err)
	}
	if n, err := oomKills(v2dir, qos.FromSpecPath("kubepods-pod1.slice:davit:c")); n != 7 || err != nil {
		t.Errorf("v2: %d, %v", n, err)
	}
	if _, err := oomKills(v1dir, "/old"); err == nil || !strings.Contains(err.Error(), "no oom_kill") {
		t.Errorf("without the field: %v", err)
	}
}

// The hierarchies of a systemd host of the v1 age: co-mounted controllers with
// links, a named one, and what is no hierarchy at all.
func TestHierarchies(t *testing.T) {
	mount := t.TempDir()
	for _, f := range []string{"cpu,cpuacct/cgroup.procs", "memory/cgroup.procs", "systemd/cgroup.procs",
		"unified/cgroup.procs", "unified/cgroup.controllers", "stray/file"} {
		if err := os.MkdirAll(filepath.Join(mount, filepath.Dir(f)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(mount, f), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range []string{"cpu", "cpuacct"} {
		if err := os.Symlink("cpu,cpuacct", filepath.Join(mount, l)); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := New(Config{MountPoint: mount})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, h := range tree.hierarchies {
		names = append(names, h.name)
	}
	if d := cmp.Diff([]string{"cpu,cpuacct", "memory", "systemd"}, names); d != "" || tree.V2() {
		t.Error(d)
	}
	if filepath.Base(tree.extra) != "unified" {
		t.Errorf("unified: %q", tree.extra)
	}
}
