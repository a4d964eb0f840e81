package e2e

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/davit-agent/davit/test/node"
)

// The containers of a pod share what a pause container used to hold for them,
// and nothing but their own processes and one shim is there.
func TestContainersShareTheirPod(t *testing.T) {
	n := start(t, "")
	n.Apply("pair.yaml", `apiVersion: v1
kind: Pod
metadata: {name: pair}
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{name: both, emptyDir: {}}, {name: memory, emptyDir: {medium: Memory}}]
  containers:
  - name: server
    image: "`+node.Image+`"
    command: [/bin/podtool, serve, "127.0.0.1:8080", "hello from the server"]
    volumeMounts: [{name: both, mountPath: /both}, {name: memory, mountPath: /memory}]
  - name: client
    image: "`+node.Image+`"
    command: [/bin/podtool, sleep]
    volumeMounts: [{name: both, mountPath: /other/both, readOnly: true}, {name: memory, mountPath: /memory}]
`)
	pod := n.WaitPod("pair", patience, node.Ready)
	in := func(container string, args ...string) string {
		t.Helper()
		return strings.TrimSpace(execIn(t, n, "pair", container, append([]string{"/bin/podtool"}, args...)...))
	}
	same := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
	same("localhost", in("client", "get", "http://127.0.0.1:8080/", "20"), "hello from the server")
	in("server", "write", "/both/file", "through the volume")
	same("volume", in("client", "read", "/other/both/file"), "through the volume")
	in("server", "write", "/memory/file", "through memory")
	same("memory volume", in("client", "read", "/memory/file"), "through memory")
	in("server", "shm", "put", "davit", "posix")
	same("POSIX shm", in("client", "shm", "get", "davit"), "posix")
	in("server", "sysv", "put", "4711", "system five")
	same("SysV shm", in("client", "sysv", "get", "4711"), "system five")
	in("server", "mqueue", "put", "davit", "queued")
	same("mqueue", in("client", "mqueue", "get", "davit"), "queued")
	for _, c := range []string{"server", "client"} {
		same("hostname of "+c, strings.TrimSpace(execIn(t, n, "pair", c, "/bin/hostname")), "pair-"+node.Name)
		if hosts := execIn(t, n, "pair", c, "/bin/cat", "/etc/hosts"); !strings.Contains(hosts, pod.Status.PodIP+"\tpair-"+node.Name) {
			t.Errorf("/etc/hosts of %s does not name the pod:\n%s", c, hosts)
		}
	}
	if _, _, code := n.CLI("exec", "pair", "-c", "client", "--", "/bin/podtool", "write", "/other/both/x", "y"); code == 0 {
		t.Error("a read-only mount was written")
	}

	// Two processes, one shim, below this pod's cgroup and namespaces.
	procs, shims := podProcesses(t, string(pod.UID)), 0
	if len(procs) != 2 {
		t.Errorf("processes of the pod: %v, want 2", procs)
	}
	shimPids := map[int]bool{}
	for _, pid := range procs {
		shimPids[parent(t, pid)] = true
	}
	shims = len(shimPids)
	if shims != 1 {
		t.Errorf("%d shims, want 1: %v", shims, shimPids)
	}

	n.Withdraw("pair.yaml")
	n.WaitPod("pair", patience, node.Gone)
	noLeaks(t, n)
}

// podProcesses returns the processes in the cgroup of a pod.
func podProcesses(t *testing.T, uid string) []int {
	t.Helper()
	var pids []int
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		pid, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		if data, err := os.ReadFile(filepath.Join("/proc", d.Name(), "cgroup")); err == nil && strings.Contains(string(data), uid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func parent(t *testing.T, pid int) int {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "PPid:"); ok {
			ppid, _ := strconv.Atoi(strings.TrimSpace(rest))
			return ppid
		}
	}
	return 0
}

// With shareProcessNamespace the helper's init is PID 1 and the containers see
// each other.
func TestSharedProcessNamespace(t *testing.T) {
	n := start(t, "")
	n.Apply("shared.yaml", `apiVersion: v1
kind: Pod
metadata: {name: shared}
spec:
  shareProcessNamespace: true
  terminationGracePeriodSeconds: 1
  containers:
  - {name: a, image: "`+node.Image+`", command: [/bin/podtool, sleep]}
  - {name: b, image: "`+node.Image+`", command: [/bin/podtool, ignore-term]}
`)
	n.WaitPod("shared", patience, node.Ready)
	out := execIn(t, n, "shared", "a", "/bin/ps", "-o", "pid,args")
	for _, want := range []string{"init", "podtool sleep", "podtool ignore-term"} {
		if !strings.Contains(out, want) {
			t.Errorf("a does not see %q:\n%s", want, out)
		}
	}
	before := ids(n.Pod("shared"))
	n.Kill()
	n.Start()
	n.Await()
	n.WaitPod("shared", patience, node.Ready)
	if after := ids(n.Pod("shared")); after != before {
		t.Errorf("the agent's death was noticed:\n%s\n%s", before, after)
	}
	n.Withdraw("shared.yaml")
	n.WaitPod("shared", patience, node.Gone)
	noLeaks(t, n)
}

func TestHostNetwork(t *testing.T) {
	n := start(t, "")
	n.Apply("host.yaml", `apiVersion: v1
kind: Pod
metadata: {name: host}
spec:
  hostNetwork: true
  terminationGracePeriodSeconds: 1
  containers:
  - {name: a, image: "`+node.Image+`", command: [/bin/podtool, serve, "127.0.0.1:8099", here]}
`)
	pod := n.WaitPod("host", patience, node.Ready)
	if pod.Status.PodIP != n.Bed.Addr4.String() || pod.Status.HostIP != n.Bed.Addr4.String() {
		t.Errorf("podIP %s, hostIP %s, want the node's %s", pod.Status.PodIP, pod.Status.HostIP, n.Bed.Addr4)
	}
	if got := n.Bed.Run(podtoolOnHost(t), "get", "http://127.0.0.1:8099/", "20"); strings.TrimSpace(got) != "here" {
		t.Errorf("from the node: %q", got)
	}
	n.Withdraw("host.yaml")
	n.WaitPod("host", patience, node.Gone)
	noLeaks(t, n)
}
