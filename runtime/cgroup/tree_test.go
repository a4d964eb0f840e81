package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"

	"github.com/davit-agent/davit/runtime/cgroup/qos"
)

// eat makes the test binary a process that waits for a line and then takes more
// memory than its cgroup allows.
const eat = "DAVIT_TEST_EAT"

func TestMain(m *testing.M) {
	if os.Getenv(eat) != "" {
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		var hold [][]byte
		for range 256 {
			b := make([]byte, 1<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			hold = append(hold, b)
		}
		fmt.Println(len(hold), "MiB were not too much")
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func testPod(uid string, requests, limits v1.ResourceList) *v1.Pod {
	p := &v1.Pod{Spec: v1.PodSpec{Containers: []v1.Container{{Name: "c"}}}}
	p.UID = types.UID(uid)
	p.Spec.Containers[0].Resources = v1.ResourceRequirements{Requests: requests, Limits: limits}
	return p
}

func list(cpu, memory string) v1.ResourceList {
	l := v1.ResourceList{}
	if cpu != "" {
		l[v1.ResourceCPU] = resource.MustParse(cpu)
	}
	if memory != "" {
		l[v1.ResourceMemory] = resource.MustParse(memory)
	}
	return l
}

// realTree is a tree on this machine's cgroups under a root of its own, which
// must be v1; the VM lane has v2.
func realTree(t *testing.T) *Tree {
	t.Helper()
	tree, err := New(Config{Root: fmt.Sprintf("/davit-test-cgroup-%d-%s", os.Getpid(), t.Name())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tree.Cleanup(); err != nil {
			t.Error(err)
		}
		for _, dir := range tree.dirs() {
			if exists(filepath.Join(dir, tree.root)) {
				t.Errorf("%s is left in %s", tree.root, dir)
			}
		}
	})
	return tree
}

// value reads a control file of the hierarchy that has it.
func (t *Tree) value(tb testing.TB, p, file string) string {
	tb.Helper()
	for _, h := range t.hierarchies {
		if b, err := os.ReadFile(filepath.Join(h.dir, p, file)); err == nil {
			return strings.TrimSpace(string(b))
		}
	}
	tb.Fatalf("no %s in %s", file, p)
	return ""
}

func TestRealValues(t *testing.T) {
	tree := realTree(t)
	tree.podPids, tree.node = 99, &qos.Resources{Shares: 2048, Memory: 1 << 30, Pids: 5000}
	pods := []*v1.Pod{
		testPod("guaranteed", nil, list("500m", "64Mi")),
		testPod("burstable", list("250m", ""), nil),
		testPod("besteffort", nil, nil),
	}
	want := []map[string]string{
		{"cpu.shares": "512", "cpu.cfs_quota_us": "50000", "cpu.cfs_period_us": "100000", "memory.limit_in_bytes": "67108864"},
		{"cpu.shares": "256", "cpu.cfs_quota_us": "-1"},
		{"cpu.shares": "2", "cpu.cfs_quota_us": "-1"},
	}
	if tree.V2() {
		want = []map[string]string{
			{"cpu.weight": "20", "cpu.max": "50000 100000", "memory.max": "67108864"},
			{"cpu.weight": "10", "cpu.max": "max 100000", "memory.max": "max"},
			{"cpu.weight": "1", "cpu.max": "max 100000", "memory.max": "max"},
		}
	}
	for range 2 { // idempotent
		for i, pod := range pods {
			p, err := tree.EnsurePod(pod)
			if err != nil {
				t.Fatal(err)
			}
			if p != tree.PodPath(pod) {
				t.Errorf("path %s, want %s", p, tree.PodPath(pod))
			}
			want[i]["pids.max"] = "99"
			for file, v := range want[i] {
				if got := tree.value(t, p, file); got != v {
					t.Errorf("%s: %s is %q, want %q", pod.UID, file, got, v)
				}
			}
			for _, h := range tree.hierarchies {
				if !exists(filepath.Join(h.dir, p)) {
					t.Errorf("%s is not in %s", p, h.dir)
				}
			}
			if !tree.V2() {
				for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
					if got, all := tree.value(t, p, file), tree.value(t, "/", file); got != all {
						t.Errorf("%s: %s is %q, want all of %q", pod.UID, file, got, all)
					}
				}
			}
		}
	}
	if err := tree.SetQoS(1500); err != nil {
		t.Fatal(err)
	}
	shares := "cpu.shares"
	expect := []string{"2048", "1536", "2"}
	if tree.V2() {
		shares, expect = "cpu.weight", []string{"79", "59", "1"}
	}
	for i, class := range []v1.PodQOSClass{"", v1.PodQOSBurstable, v1.PodQOSBestEffort} {
		if got := tree.value(t, qos.KubepodsPath(qos.Cgroupfs, tree.root, class), shares); got != expect[i] {
			t.Errorf("%s of %q: %s, want %s", shares, class, got, expect[i])
		}
	}
	limit := "memory.limit_in_bytes"
	if tree.V2() {
		limit = "memory.max"
	}
	for file, want := range map[string]string{limit: "1073741824", "pids.max": "5000"} {
		if got := tree.value(t, qos.KubepodsPath(qos.Cgroupfs, tree.root, ""), file); got != want {
			t.Errorf("%s of kubepods: %s, want %s", file, got, want)
		}
	}
	uids, err := tree.Pods()
	if err != nil || !slices.Equal(uids, []string{"besteffort", "burstable", "guaranteed"}) {
		t.Errorf("pods %v, %v", uids, err)
	}
}

func TestRealRemove(t *testing.T) {
	tree := realTree(t)
	checkRemove(t, tree, func(pod *v1.Pod) (string, error) { return tree.EnsurePod(pod) })
}

// makeLeaf makes the cgroup of a container as an OCI runtime does: controllers
// are not passed on by it, so that it may hold processes.
func (t *Tree) makeLeaf(p string) error {
	for _, h := range t.hierarchies {
		dir := h.dir
		for part := range strings.SplitSeq(strings.Trim(p, "/"), "/") {
			dir = filepath.Join(dir, part)
			if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
			if err := inheritCPUSet(dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkRemove makes a pod's cgroup with a container's and a deeper one in it,
// finds that a process keeps it from being removed, and removes it.
func checkRemove(t *testing.T, tree *Tree, ensure func(*v1.Pod) (string, error)) {
	t.Helper()
	pod := testPod("removed", list("1", ""), nil)
	p, err := ensure(pod)
	if err != nil {
		t.Fatal(err)
	}
	deep := filepath.Join(tree.ContainerPath(p, "c1"), "nested")
	if err := tree.makeLeaf(deep); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := false
	end := func() {
		if !done {
			done = true
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	t.Cleanup(end)
	for _, h := range tree.hierarchies {
		if err := write(filepath.Join(h.dir, deep), "cgroup.procs", strconv.Itoa(cmd.Process.Pid)); err != nil {
			t.Fatal(err)
		}
	}
	for what, err := range map[string]error{"RemovePod": tree.RemovePod("removed"), "Cleanup": tree.Cleanup()} {
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%d (sleep)", cmd.Process.Pid)) {
			t.Errorf("%s with a process in it: %v", what, err)
		}
	}
	if uids, err := tree.Pods(); err != nil || !slices.Equal(uids, []string{"removed"}) {
		t.Errorf("pods %v, %v", uids, err)
	}
	end()
	for range 2 {
		if err := tree.RemovePod("removed"); err != nil {
			t.Errorf("RemovePod: %v", err)
		}
	}
	for _, dir := range tree.dirs() {
		if exists(filepath.Join(dir, p)) {
			t.Errorf("%s is left in %s", p, dir)
		}
	}
	if uids, err := tree.Pods(); err != nil || len(uids) > 0 {
		t.Errorf("pods %v, %v", uids, err)
	}
	if err := tree.RemovePod("never-was"); err != nil {
		t.Errorf("RemovePod of nothing: %v", err)
	}
}

func TestRealOOMKills(t *testing.T) {
	tree := realTree(t)
	p, err := tree.EnsurePod(testPod("oom", nil, list("1", "32Mi")))
	if err != nil {
		t.Fatal(err)
	}
	container := tree.ContainerPath(p, "c1")
	if err := tree.makeLeaf(container); err != nil {
		t.Fatal(err)
	}
	if n, err := OOMKills(container); err != nil || n != 0 {
		t.Fatalf("before: %d, %v", n, err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), eat+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	for _, h := range tree.hierarchies {
		if err := write(filepath.Join(h.dir, container), "cgroup.procs", strconv.Itoa(cmd.Process.Pid)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := in.Write([]byte("go\n")); err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || ws.Signal() != syscall.SIGKILL {
		t.Fatalf("the process ended with %v, not by the OOM killer", err)
	}
	if n, err := OOMKills(container); err != nil || n != 1 {
		t.Errorf("after: %d, %v, want 1", n, err)
	}
	if _, err := OOMKills(container + "-not"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of a cgroup that is not there: %v", err)
	}
}

// On a hybrid host the unified mount is a real cgroup2, without the controllers
// that values need: making, listing and removing are tested there on a subtree
// of its own. On a v2 host the tests above do that.
func TestRealUnified(t *testing.T) {
	host, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if host.V2() {
		return
	}
	if host.extra == "" {
		t.Fatal("this host has no cgroup2 at all: mount one at /sys/fs/cgroup/unified")
	}
	mount := filepath.Join(host.extra, fmt.Sprintf("davit-test-cgroup-%d", os.Getpid()))
	if err := os.Mkdir(mount, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := removeTree(mount); err != nil {
			t.Error(err)
		}
	})
	tree, err := New(Config{MountPoint: mount, Root: "/node"})
	if err != nil {
		t.Fatal(err)
	}
	if !tree.V2() {
		t.Fatal("not seen as v2")
	}
	if _, err := tree.EnsurePod(testPod("x", nil, nil)); err == nil || !strings.Contains(err.Error(), "Delegate=yes") {
		t.Errorf("without controllers: %v", err)
	}
	if err := tree.RemovePod("x"); err != nil {
		t.Error(err)
	}
	checkRemove(t, tree, func(pod *v1.Pod) (string, error) {
		p := tree.PodPath(pod)
		return p, tree.ensure(p)
	})
	if err := tree.Cleanup(); err != nil {
		t.Error(err)
	}
	if entries, _ := filepath.Glob(mount + "/*/"); len(entries) > 0 {
		t.Errorf("left: %v", entries)
	}
}

// A root that holds a process of its own: v1 does not mind; v2 can pass no
// controller on from it, and must not be left half way (threaded).
func TestRealBusyRoot(t *testing.T) {
	tree := realTree(t)
	if err := tree.makeLeaf(tree.root); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for _, h := range tree.hierarchies {
		if err := write(filepath.Join(h.dir, tree.root), "cgroup.procs", strconv.Itoa(cmd.Process.Pid)); err != nil {
			t.Fatal(err)
		}
	}
	_, err := tree.EnsurePod(testPod("x", list("1", ""), nil))
	if !tree.V2() {
		if err != nil {
			t.Error(err)
		}
		return
	}
	if err == nil || !strings.Contains(err.Error(), "set cgroup.root") {
		t.Errorf("error %v", err)
	}
	for file, want := range map[string]string{"cgroup.subtree_control": "", "cgroup.type": "domain"} {
		if got := tree.value(t, tree.root, file); got != want {
			t.Errorf("%s is %q, want %q", file, got, want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	if _, err := New(Config{Driver: "systemd"}); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "cgroup.driver") {
		t.Errorf("systemd: %v", err)
	}
	if _, err := New(Config{Driver: "docker"}); err == nil {
		t.Error("an unknown driver passes")
	}
	if _, err := New(Config{MountPoint: t.TempDir()}); err == nil {
		t.Error("a directory without cgroups passes")
	}
	tree := realTree(t)
	for _, uid := range []string{"", "..", "a/b"} {
		if _, err := tree.EnsurePod(testPod(uid, nil, nil)); err == nil {
			t.Errorf("EnsurePod of UID %q passes", uid)
		}
		if err := tree.RemovePod(uid); err == nil {
			t.Errorf("RemovePod of UID %q passes", uid)
		}
	}
}
