package e2e

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/test/node"
	"github.com/davit-agent/davit/test/testbed"
)

// What a container without privileges tries against the node and other pods
// fails, as root and as another user; in a privileged pod, which is made for the
// test alone, the same works.
func TestAttacks(t *testing.T) {
	n := secured(t)
	n.Apply("treasure.yaml", object("Secret", "treasure", "key", "gold"))
	n.Apply("victim.yaml", sleepers("victim", "volumes: [{name: s, secret: {secretName: treasure}}]", "main volumeMounts: [{name: s, mountPath: /secret}]"))
	n.Apply("attacker.yaml", sleepers("attacker", "volumes: [{name: v, emptyDir: {}}]",
		"root volumeMounts: [{name: v, mountPath: /v}]", "user volumeMounts: [{name: v, mountPath: /v}], securityContext: {runAsUser: 1000}"))
	n.Apply("trusted.yaml", sleepers("trusted", "hostPID: true", "main securityContext: {privileged: true}"))
	for _, pod := range []string{"victim", "attacker", "trusted"} {
		n.WaitPod(pod, patience, node.Ready)
	}
	for _, c := range []struct {
		name string
		run  func(*testing.T, *node.Node)
	}{
		{"kernel files", attackKernelFiles}, {"devices", attackDevices}, {"mounts", attackMounts}, {"calls", attackCalls},
		{"namespaces", attackNamespaces}, {"files", attackFiles}, {"sockets", attackSockets}, {"descriptors", attackDescriptors},
		{"working directory", attackWorkingDir}, {"helper", attackHelper}, {"runtime", attackRuntime},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, n) })
	}
	noLeaks(t, n)
}

// try has a container attack, and returns what came of it by name.
func try(t *testing.T, n *node.Node, who string, args ...string) map[string]string {
	t.Helper()
	pod, container, _ := strings.Cut(who, "/")
	got := statusLines(execIn(t, n, pod, container, append([]string{"/bin/attack"}, args...)...))
	if len(got) == 0 {
		t.Fatalf("%s: attack %v told nothing", who, args)
	}
	return got
}

var attackers = []string{"attacker/root", "attacker/user"}

const trusted = "trusted/main"

// failed says of a result whether the attack failed.
func failed(result string) bool { return result != "ok" }

// there are those of the files that this kernel has.
func there(files ...string) []string {
	return slices.DeleteFunc(files, func(f string) bool {
		_, err := os.Lstat(f)
		return err != nil
	})
}

func attackKernelFiles(t *testing.T, n *node.Node) {
	write := there("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/domainname", "/proc/sys/vm/overcommit_memory", "/proc/sys/kernel/modprobe",
		"/proc/sys/net/ipv4/ip_forward", "/proc/sysrq-trigger", "/proc/irq/default_smp_affinity", "/sys/kernel/mm/transparent_hugepage/enabled",
		"/sys/kernel/uevent_helper", "/sys/class/net/lo/mtu", "/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/pids/pids.max")
	write = append(write, "/sys/fs/cgroup/cgroup.procs")
	read := there("/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug", "/proc/interrupts", "/sys/firmware", "/proc/scsi")
	for kind, files := range map[string][]string{"write": write, "read": read} {
		worked := 0
		may := try(t, n, trusted, append([]string{kind}, files...)...)
		for _, f := range files {
			if !failed(may[f]) {
				worked++
			}
		}
		if worked < min(len(files), 4) {
			t.Errorf("%s: in the privileged pod only %d of %d worked, so this tests nothing: %v", kind, worked, len(files), may)
		}
		for _, who := range attackers {
			for f, result := range try(t, n, who, append([]string{kind}, files...)...) {
				if !failed(result) {
					t.Errorf("%s: %s %s: %s", who, kind, f, result)
				}
			}
		}
	}
}

func attackDevices(t *testing.T, n *node.Node) {
	nodes := [][]string{{"c", "1", "11"}} // kmsg
	var st unix.Stat_t
	if unix.Stat("/dev/loop0", &st) == nil {
		nodes = append(nodes, []string{"b", "7", "0"})
	}
	for _, d := range nodes {
		if got := try(t, n, trusted, append([]string{"node"}, d...)...); failed(got["open"]) {
			t.Errorf("the privileged pod cannot open device %v, so this tests nothing: %v", d, got)
		}
		// To make the node is among the default capabilities; to open it is not.
		if got := try(t, n, "attacker/root", append([]string{"node"}, d...)...); failed(got["mknod"]) || got["open"] != "EPERM" {
			t.Errorf("root with device %v: %v", d, got)
		}
		if got := try(t, n, "attacker/user", append([]string{"node"}, d...)...); got["mknod"] != "EPERM" {
			t.Errorf("a user with device %v: %v", d, got)
		}
	}
}

func attackMounts(t *testing.T, n *node.Node) {
	if got := try(t, n, trusted, "mount"); failed(got["tmpfs"]) || failed(got["bind"]) || failed(got["remount"]) {
		t.Errorf("the privileged pod cannot mount, so this tests nothing: %v", got)
	}
	for _, who := range attackers {
		for name, result := range try(t, n, who, "mount") {
			if result != "EPERM" {
				t.Errorf("%s: mounting %s: %s", who, name, result)
			}
		}
	}
	if got := try(t, n, trusted, "handle", "/etc/hosts")["/etc/hosts"]; got == "EPERM" {
		t.Error("the privileged pod may not open by handle, so this tests nothing")
	}
	for _, who := range attackers {
		for file, result := range try(t, n, who, "handle", "/etc/hosts", "/v", "/") {
			if result != "EPERM" {
				t.Errorf("%s: opening the root around %s: %s", who, file, result)
			}
		}
	}
}

func attackCalls(t *testing.T, n *node.Node) {
	may := try(t, n, trusted, "calls")
	allowed := 0
	for name, result := range may {
		if result != "EPERM" {
			allowed++
		} else {
			t.Logf("%s is not allowed on this node at all", name)
		}
	}
	if len(may) < 15 || allowed < 12 {
		t.Errorf("the privileged pod may call only %d of %d, so this tests nothing: %v", allowed, len(may), may)
	}
	for _, who := range attackers {
		for name, result := range try(t, n, who, "calls") {
			if result != "EPERM" {
				t.Errorf("%s may call %s: %s", who, name, result)
			}
		}
	}
	// A setuid program of the image makes root of a user, with no more than root has here.
	got := statusLines(execIn(t, n, "attacker", "user", "/bin/suid", "ids"))
	if got["euid"] != "0" || got["CapEff"] != defaultCaps {
		t.Errorf("a setuid program has %v, want euid 0 and capabilities %s", got, defaultCaps)
	}
}

func attackNamespaces(t *testing.T, n *node.Node) {
	victim := containerPid(t, n, "victim", "main")
	var links, pinned []string
	for _, kind := range []string{"net", "ipc", "uts", "mnt", "pid"} {
		links = append(links, fmt.Sprintf("/proc/%d/ns/%s", victim, kind))
	}
	for _, kind := range []string{"net", "ipc", "uts"} {
		pinned = append(pinned, filepath.Join(n.RunDir, "ns", string(n.Pod("victim").UID), kind))
	}
	// A process with threads cannot enter mount namespaces; that is not a refusal.
	for link, result := range try(t, n, trusted, append([]string{"setns"}, links...)...) {
		if failed(result) && result != "EINVAL" {
			t.Errorf("the privileged pod cannot enter %s, so this tests nothing: %s", link, result)
		}
	}
	for _, link := range pinned {
		if _, err := os.Stat(link); err != nil {
			t.Errorf("the victim's namespaces are not where they are looked for: %v", err)
		}
	}
	for _, who := range attackers {
		for link, result := range try(t, n, who, append([]string{"setns"}, slices.Concat(links, pinned)...)...) {
			if result != "ENOENT" {
				t.Errorf("%s: entering %s: %s", who, link, result)
			}
		}
		pod, container, _ := strings.Cut(who, "/")
		if out := execIn(t, n, pod, container, "/bin/ps", "-o", "args"); strings.Contains(out, "davit") || strings.Contains(out, "containerd") ||
			strings.Count(out, "podtool sleep") != 1 {
			t.Errorf("%s sees processes of others:\n%s", who, out)
		}
	}
}

func attackFiles(t *testing.T, n *node.Node) {
	uid := string(n.Pod("victim").UID)
	marker := n.Bed.Path("marker")
	if err := os.WriteFile(marker, []byte("of the host"), 0o666); err != nil {
		t.Fatal(err)
	}
	files := []string{marker, n.Socket(), n.Bed.Address, n.Config, n.Log}
	for what, pattern := range map[string]string{
		"secret": filepath.Join(n.StateDir, "pods", uid, "volumes", "*", "*", "key"), "record": filepath.Join(n.StateDir, "pods", uid, "*.json"),
		"log": filepath.Join(n.LogDir, "*"+uid, "main", "0.log"), "sandbox": filepath.Join(n.RunDir, "sandbox", uid+".json"),
		"fifo": filepath.Join(n.RunDir, "*", "*"),
	} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			if what == "secret" { // wherever it is
				found = holding(t, n.StateDir, "gold")
			}
			if len(found) == 0 {
				t.Errorf("there is no %s to be attacked at %s", what, pattern)
				continue
			}
		}
		files = append(files, found...)
	}
	seen := fmt.Sprintf("/proc/%d/root", os.Getpid())
	control := make([]string, len(files))
	for i, f := range files {
		control[i] = seen + f
	}
	for f, result := range try(t, n, trusted, append([]string{"read"}, control...)...) {
		if result == "ENOENT" {
			t.Errorf("the privileged pod does not find %s, so this tests nothing", f)
		}
	}
	var all []string
	for _, f := range files {
		for _, from := range []string{"", "/proc/1/root", "/proc/self/cwd", "/v" + strings.Repeat("/..", 12), "/dev/shm" + strings.Repeat("/..", 12), seen} {
			all = append(all, from+f)
		}
	}
	for _, who := range attackers {
		for f, result := range try(t, n, who, append([]string{"read"}, all...)...) {
			if result != "ENOENT" {
				t.Errorf("%s: reading %s: %s", who, f, result)
			}
		}
	}
}

// holding returns the files below a directory with this content.
func holding(t *testing.T, dir, content string) []string {
	t.Helper()
	var found []string
	for path := range strings.Lines(tree(t, dir)) {
		path = strings.TrimSpace(path)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Size() == int64(len(content)) {
			if data, err := os.ReadFile(path); err == nil && string(data) == content {
				found = append(found, path)
			}
		}
	}
	return found
}

func attackSockets(t *testing.T, n *node.Node) {
	metrics := "http://127.0.0.1:9153/metrics"
	if got := n.Bed.Run(podtoolOnHost(t), "get", metrics, "20"); !strings.Contains(got, "davit_") {
		t.Errorf("davit's metrics are not where they are looked for: %.100s", got)
	}
	for _, who := range attackers {
		pod, container, _ := strings.Cut(who, "/")
		if out := strings.TrimSpace(execIn(t, n, pod, container, "/bin/sh", "-c", "find / -path /proc -prune -o -type s -print")); out != "" {
			t.Errorf("%s sees sockets: %s", who, out)
		}
		if out := execIn(t, n, pod, container, "/bin/cat", "/proc/net/unix"); strings.Contains(out, "davit") || strings.Contains(out, "containerd") {
			t.Errorf("%s sees sockets of the node:\n%s", who, out)
		}
		for _, url := range []string{metrics, fmt.Sprintf("http://%s:9153/metrics", n.Bed.Addr4)} {
			if _, _, code := n.CLI("exec", pod, "-c", container, "--", "/bin/wget", "-T", "3", "-qO-", url); code == 0 {
				t.Errorf("%s reads %s", who, url)
			}
		}
	}
}

// A container has its three streams, and nothing else of who made it.
func attackDescriptors(t *testing.T, n *node.Node) {
	n.Apply("streams.yaml", strings.ReplaceAll(sleepers("streams", "", "main", "user securityContext: {runAsUser: 1000}"), "[/bin/podtool, sleep]", "[/bin/sleep, \"100000\"]"))
	n.WaitPod("streams", patience, node.Ready)
	for _, container := range []string{"main", "user"} {
		pid := containerPid(t, n, "streams", container)
		links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		if err != nil || len(links) != 3 {
			t.Errorf("%s has descriptors %v, %v", container, links, err)
		}
		for _, link := range links {
			if to, err := os.Readlink(link); err != nil || to != "/dev/null" && !strings.HasPrefix(to, "pipe:") {
				t.Errorf("%s has %s open", container, to)
			}
		}
		out := execIn(t, n, "streams", container, "/bin/ls", "/proc/self/fd")
		if got := strings.Fields(out); !slices.Equal(got, []string{"0", "1", "2", "3"}) { // 3 is the directory that is listed
			t.Errorf("an exec in %s has descriptors %v", container, got)
		}
	}
}

// A working directory that is a descriptor of the runtime leads out of the
// container (CVE-2024-21626).
func attackWorkingDir(t *testing.T, n *node.Node) {
	marker := n.Bed.Path("marker-of-directory")
	if err := os.WriteFile(marker, []byte("of the host"), 0o666); err != nil {
		t.Fatal(err)
	}
	var containers []string
	for fd := 3; fd <= 10; fd++ {
		containers = append(containers, fmt.Sprintf("fd%d workingDir: /proc/self/fd/%d", fd, fd))
	}
	manifest := strings.ReplaceAll(sleepers("directories", "restartPolicy: Never", containers...), "[/bin/podtool, sleep]",
		fmt.Sprintf("[/bin/sh, -c, 'cat %s%s && exit 0; exit 7']", strings.Repeat("../", 12), marker[1:]))
	n.Apply("directories.yaml", manifest)
	p := n.WaitPod("directories", patience, func(p *v1.Pod) string {
		if p == nil || p.Status.Phase != v1.PodFailed {
			return fmt.Sprint("has not failed: ", node.Brief(n.Pod("attacker")))
		}
		return ""
	})
	for _, c := range p.Status.ContainerStatuses {
		if end := c.State.Terminated; end == nil || end.ExitCode == 0 {
			t.Errorf("%s got out: %v", c.Name, c.State)
		}
	}
}

// The init of a shared PID namespace shows its program to a container that may
// trace; it cannot be changed.
func attackHelper(t *testing.T, n *node.Node) {
	sum := func() string {
		h := sha256.New()
		found, _ := filepath.Glob(filepath.Join(n.StateDir, "*", "davit-helper*"))
		more, _ := filepath.Glob(filepath.Join(n.StateDir, "davit-helper*"))
		for _, f := range slices.Concat(found, more) {
			if data, err := os.ReadFile(f); err == nil {
				h.Write(data)
			}
		}
		if len(found)+len(more) == 0 {
			t.Errorf("the helper is not where it is looked for:\n%s", tree(t, n.StateDir))
		}
		return fmt.Sprintf("%x", h.Sum(nil))
	}
	before := sum()
	n.Apply("shared.yaml", sleepers("shared", "shareProcessNamespace: true", "root", "tracer securityContext: {capabilities: {add: [SYS_PTRACE]}}"))
	n.WaitPod("shared", patience, node.Ready)
	files := []string{"/proc/1/exe", "/proc/1/root/davit-helper"}
	for f, result := range try(t, n, "shared/tracer", append([]string{"read"}, files...)...) {
		if failed(result) {
			t.Errorf("the tracer cannot even read %s, so this tests nothing: %s", f, result)
		}
	}
	for _, who := range []string{"shared/root", "shared/tracer"} {
		for f, result := range try(t, n, who, append([]string{"write"}, files...)...) {
			if !failed(result) {
				t.Errorf("%s: writing %s: %s", who, f, result)
			}
		}
	}
	if sum() != before {
		t.Error("the helper has changed")
	}
}

// A container that catches the program that enters it (CVE-2019-5736), be it for
// an exec or for a probe, gets a copy of it, or cannot write.
func attackRuntime(t *testing.T, n *node.Node) {
	const stop = "/tmp/stop"
	n.Apply("catcher.yaml", strings.ReplaceAll(sleepers("catcher", "", "main securityContext: {capabilities: {add: [SYS_PTRACE]}}, livenessProbe: {exec: {command: [/bin/true]}, periodSeconds: 1}"),
		"[/bin/podtool, sleep]", "[/bin/sh, -c, '/bin/attack exe "+stop+" >/tmp/out; touch /tmp/done; sleep 100000']"))
	n.WaitPod("catcher", patience, node.Ready)
	root := look(t, n, "catcher", "main").root
	caught := func() string {
		data, err := os.ReadFile(root + "/tmp/out")
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return string(data)
	}
	// A program of its own, for the attack to work once.
	execIn(t, n, "catcher", "main", "/bin/sh", "-c", "cp /bin/podtool /tmp/copy && /tmp/copy sleep 1s")
	var st unix.Stat_t
	if err := unix.Stat(root+"/tmp/copy", &st); err != nil {
		t.Fatal(err)
	}
	own := fmt.Sprintf("%d:%d", st.Dev, st.Ino)
	began := time.Now()
	testbed.Poll(t, patience, func() string {
		execIn(t, n, "catcher", "main", "/bin/true")
		if out := caught(); strings.Count(out, "seen") < 2 || time.Since(began) < 3*time.Second { // some probes long
			return "only caught:\n" + out
		}
		return ""
	})
	execIn(t, n, "catcher", "main", "/bin/touch", stop)
	testbed.Poll(t, patience, func() string {
		if _, err := os.Stat(root + "/tmp/done"); err != nil {
			return err.Error()
		}
		return ""
	})
	got := caught()
	if !strings.Contains(got, "\n"+own+": ok") {
		t.Errorf("not even the container's own program, %s, can be written, so this tests nothing:\n%s", own, got)
	}
	if strings.Count(got, ": ok") > 1 {
		t.Errorf("the container can write a program of the node:\n%s", got)
	}
	t.Logf("the container's own is %s; caught:\n%s", own, got)
}
