package e2e

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/test/node"
	"github.com/davit-agent/davit/test/testbed"
)

// attackImage has the program of testdata/attack, once as it is and once setuid
// root, over podtool's image.
const attackImage = "localhost/attack:1"

var buildAttack = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "dv-attack-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command("go", "build", "-trimpath", "-o", dir, "./testdata/attack")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	return os.ReadFile(filepath.Join(dir, "attack"))
})

// secured is a node that knows attackImage, and allows some unsafe sysctls.
func secured(t *testing.T) *node.Node {
	t.Helper()
	program, err := buildAttack()
	if err != nil {
		t.Fatalf("building the attacker: %v", err)
	}
	n := node.New(t, testbed.New(t, testbed.Options{}), node.Options{Config: "allowedUnsafeSysctls: [kernel.msg*, net.core.somaxconn]\n"})
	testbed.Archive(t, n.Images, testbed.ImageSpec{Name: node.Image})
	testbed.Archive(t, n.Images, testbed.ImageSpec{Name: attackImage, Files: map[string]testbed.File{
		"/bin/attack": {Data: program, Mode: 0o755}, "/bin/suid": {Data: program, Mode: 0o4755},
	}})
	n.Start()
	n.Await()
	return n
}

// sleepers is a manifest of a pod whose containers sleep. spec is YAML of the
// pod's spec; each container is its name, and YAML of its own if there is any.
func sleepers(name, spec string, containers ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: v1\nkind: Pod\nmetadata: {name: %s}\nspec:\n  terminationGracePeriodSeconds: 1\n", name)
	for line := range strings.Lines(spec) {
		b.WriteString("  " + strings.TrimRight(line, "\n") + "\n")
	}
	b.WriteString("  containers:\n")
	for _, c := range containers {
		cname, own, _ := strings.Cut(c, " ")
		if own != "" {
			own = ", " + own
		}
		fmt.Fprintf(&b, "  - {name: %s, image: %q, command: [/bin/podtool, sleep]%s}\n", cname, attackImage, own)
	}
	return b.String()
}

// statusOf is /proc/<pid>/status of a container's first process, fields apart by
// single blanks.
func statusOf(t *testing.T, n *node.Node, pod, container string) map[string]string {
	t.Helper()
	return statusFile(t, fmt.Sprintf("/proc/%d/status", containerPid(t, n, pod, container)))
}

func statusFile(t *testing.T, file string) map[string]string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return statusLines(string(data))
}

func statusLines(text string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(line, ":"); ok {
			out[k] = strings.Join(strings.Fields(v), " ")
		}
	}
	return out
}

// has compares both the container's first process and one that is executed in it.
func has(t *testing.T, n *node.Node, pod, container string, want map[string]string) {
	t.Helper()
	first := statusOf(t, n, pod, container)
	further := statusLines(execIn(t, n, pod, container, "/bin/cat", "/proc/self/status"))
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if first[k] != want[k] {
			t.Errorf("%s/%s: %s is %q, want %q", pod, container, k, first[k], want[k])
		}
		if further[k] != want[k] {
			t.Errorf("%s/%s: %s of an exec is %q, want %q", pod, container, k, further[k], want[k])
		}
	}
}

// waits is for WaitPod: the container waits for this reason.
func waits(container, reason string, message ...string) func(*v1.Pod) string {
	return func(p *v1.Pod) string {
		if p == nil {
			return "not there"
		}
		for _, c := range p.Status.ContainerStatuses {
			if w := c.State.Waiting; c.Name == container && w != nil && w.Reason == reason && containsAll(w.Message, message) {
				return ""
			}
		}
		return fmt.Sprintf("%s does not wait with %s %q: %s", container, reason, message, node.Brief(p))
	}
}

func containsAll(s string, parts []string) bool {
	return !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(s, p) })
}

// What a security context says is what the container has.
func TestSecurityContext(t *testing.T) {
	n := secured(t)
	for _, c := range []struct {
		name string
		run  func(*testing.T, *node.Node)
	}{
		{"users", users}, {"capabilities", capabilities}, {"privileged", privileged}, {"escalation", escalation},
		{"seccomp", seccomp}, {"host", hostNamespaces}, {"sysctls", sysctls}, {"refused", refused},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, n) })
	}
	noLeaks(t, n)
}

func users(t *testing.T, n *node.Node) {
	const pod = "securityContext: {runAsUser: 1000, runAsGroup: 7, supplementalGroups: [9], fsGroup: 5%s}\nvolumes: [{name: v, emptyDir: {}}]"
	n.Apply("merge.yaml", sleepers("merge", fmt.Sprintf(pod, ""), "main volumeMounts: [{name: v, mountPath: /v}]", "root securityContext: {runAsUser: 0, runAsGroup: 0}"))
	n.Apply("strict.yaml", sleepers("strict", fmt.Sprintf(pod, ", supplementalGroupsPolicy: Strict"), "main volumeMounts: [{name: v, mountPath: /v}]"))
	n.WaitPod("merge", patience, node.Ready)
	n.WaitPod("strict", patience, node.Ready)
	// app (1000) is in group 2000 by the image's /etc/group.
	has(t, n, "merge", "main", map[string]string{"Uid": "1000 1000 1000 1000", "Gid": "7 7 7 7", "Groups": "5 7 9 2000"})
	has(t, n, "merge", "root", map[string]string{"Uid": "0 0 0 0", "Gid": "0 0 0 0", "Groups": "0 5 9"})
	has(t, n, "strict", "main", map[string]string{"Uid": "1000 1000 1000 1000", "Gid": "7 7 7 7", "Groups": "5 7 9"})
	execIn(t, n, "merge", "main", "/bin/touch", "/v/file")
	if got := strings.TrimSpace(execIn(t, n, "merge", "main", "/bin/stat", "-c", "%u:%g", "/v/file")); got != "1000:5" {
		t.Errorf("a file in a volume with fsGroup 5 belongs to %s", got)
	}
	n.Apply("nonroot.yaml", sleepers("nonroot", "", "main securityContext: {runAsNonRoot: true}"))
	n.WaitPod("nonroot", patience, waits("main", "CreateContainerConfigError", "container has runAsNonRoot and image will run as root"))
}

// The capabilities that a container has by default, as a mask.
const defaultCaps = "00000000a80425fb"

func capabilities(t *testing.T, n *node.Node) {
	n.Apply("caps.yaml", sleepers("caps", "", "default",
		"none securityContext: {capabilities: {drop: [ALL]}}",
		"some securityContext: {capabilities: {drop: [ALL], add: [NET_ADMIN, NET_BIND_SERVICE]}}",
		"more securityContext: {capabilities: {add: [NET_ADMIN], drop: [MKNOD]}}",
		"user securityContext: {runAsUser: 1000, capabilities: {add: [NET_ADMIN]}}"))
	n.WaitPod("caps", patience, node.Ready)
	const zero = "0000000000000000"
	for container, want := range map[string][2]string{ // effective, bounding
		"default": {defaultCaps, defaultCaps}, "none": {zero, zero}, "some": {"0000000000001400", "0000000000001400"},
		"more": {"00000000a00435fb", "00000000a00435fb"}, "user": {zero, "00000000a80435fb"},
	} {
		has(t, n, "caps", container, map[string]string{"CapEff": want[0], "CapPrm": want[0], "CapBnd": want[1], "CapInh": zero, "CapAmb": zero,
			"NoNewPrivs": "0", "Seccomp": "2"})
	}
}

func privileged(t *testing.T, n *node.Node) {
	n.Apply("priv.yaml", sleepers("priv", "securityContext: {seccompProfile: {type: RuntimeDefault}}", "plain", "priv securityContext: {privileged: true}"))
	n.WaitPod("priv", patience, node.Ready)
	own := statusFile(t, fmt.Sprintf("/proc/%d/status", n.Pid()))["CapEff"]
	has(t, n, "priv", "priv", map[string]string{"CapEff": own, "CapBnd": own, "Seccomp": "0", "NoNewPrivs": "0"})
	has(t, n, "priv", "plain", map[string]string{"CapEff": defaultCaps, "Seccomp": "2"})

	for container, want := range map[string]string{"plain": "ro", "priv": "rw"} {
		mounts := mountsOf(t, containerPid(t, n, "priv", container))
		limit := "/sys/fs/cgroup/memory"
		if _, ok := mounts[limit]; !ok { // v2
			limit = "/sys/fs/cgroup"
		}
		for _, at := range []string{"/sys", limit} {
			if got := strings.Split(mounts[at], ",")[0]; got != want {
				t.Errorf("%s of %s is mounted %q, want %s", at, container, mounts[at], want)
			}
		}
		for _, at := range []string{"/proc/sys", "/proc/sysrq-trigger", "/proc/kcore", "/proc/timer_list", "/sys/firmware"} {
			if _, err := os.Lstat(at); err != nil {
				continue // this kernel does not have it
			}
			if _, masked := mounts[at]; masked != (container == "plain") {
				t.Errorf("%s of %s is masked or read-only: %t", at, container, masked)
			}
		}
	}
	// ... although the other container of the pod mounted its /sys first.
	for container, want := range map[string]string{"plain": "EROFS", "priv": "ok"} {
		if got := statusLines(execIn(t, n, "priv", container, "/bin/attack", "write", "/sys/class/net/lo/mtu"))["/sys/class/net/lo/mtu"]; got != want {
			t.Errorf("writing to /sys in %s: %s, want %s", container, got, want)
		}
	}
	// A privileged container has the host's devices, another nothing but what
	// every container has.
	host := devices(t, "/dev")
	plain := devices(t, fmt.Sprintf("/proc/%d/root/dev", containerPid(t, n, "priv", "plain")))
	priv := devices(t, fmt.Sprintf("/proc/%d/root/dev", containerPid(t, n, "priv", "priv")))
	if got, want := strings.Join(slices.Sorted(maps.Keys(plain)), " "), "/full /null /random /tty /urandom /zero"; got != want {
		t.Errorf("devices of an ordinary container: %s, want %s", got, want)
	}
	for path, number := range host {
		if path != "/console" && path != "/ptmx" && priv[path] != number {
			t.Errorf("the privileged container has %d as %s, the host %d", priv[path], path, number)
		}
	}
	if len(host) < 10 || plain["/null"] != host["/null"] {
		t.Errorf("host %v, container %v", host, plain)
	}
}

// mountsOf returns the mount options of a process's mounts by mount point, the
// topmost of each.
func mountsOf(t *testing.T, pid int) map[string]string {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		out[f[4]] = f[5]
	}
	return out
}

// devices returns the numbers of the device nodes below a directory.
func devices(t *testing.T, dir string) map[string]uint64 {
	t.Helper()
	out := map[string]uint64{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "pts" || d.Name() == "shm" || d.Name() == "mqueue"):
			return fs.SkipDir
		case d.Type()&fs.ModeDevice != 0:
			var st unix.Stat_t
			if err := unix.Lstat(path, &st); err != nil {
				return err
			}
			out[strings.TrimPrefix(path, dir)] = st.Rdev
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func escalation(t *testing.T, n *node.Node) {
	n.Apply("suid.yaml", sleepers("suid", "securityContext: {runAsUser: 1000}\nvolumes: [{name: v, emptyDir: {}}]", "may",
		"maynot securityContext: {allowPrivilegeEscalation: false}",
		"readonly securityContext: {readOnlyRootFilesystem: true, runAsUser: 0}, volumeMounts: [{name: v, mountPath: /v}]"))
	n.WaitPod("suid", patience, node.Ready)
	for container, want := range map[string][2]string{"may": {"0", "0"}, "maynot": {"1000", "1"}} {
		has(t, n, "suid", container, map[string]string{"NoNewPrivs": want[1]})
		if got := statusLines(execIn(t, n, "suid", container, "/bin/suid", "ids")); got["uid"] != "1000" || got["euid"] != want[0] {
			t.Errorf("a setuid program in %s has %v, want euid %s", container, got, want[0])
		}
	}
	if _, _, code := n.CLI("exec", "suid", "-c", "readonly", "--", "/bin/touch", "/file"); code == 0 {
		t.Error("a read-only root was written")
	}
	execIn(t, n, "suid", "readonly", "/bin/touch", "/v/file")
	execIn(t, n, "suid", "maynot", "/bin/touch", "/tmp/file")
}

const noMkdir = `{"defaultAction": "SCMP_ACT_ALLOW", "comment": "no directories",
	"syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5}]}`

func seccomp(t *testing.T, n *node.Node) {
	root := filepath.Join(n.StateDir, "seccomp")
	file := func(name, content string) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	file("profiles/no-mkdir.json", noMkdir)
	file("broken.json", noMkdir[:40])
	if err := os.Symlink(n.Bed.Path("outside.json"), filepath.Join(root, "outside.json")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(n.Bed.Path("outside.json"), []byte(noMkdir), 0o644); err != nil {
		t.Fatal(err)
	}
	local := func(name string) string {
		return fmt.Sprintf("securityContext: {seccompProfile: {type: Localhost, localhostProfile: %s}}", name)
	}
	n.Apply("seccomp.yaml", sleepers("seccomp", local("profiles/no-mkdir.json"), "local", "unconfined securityContext: {seccompProfile: {type: Unconfined}}",
		"default securityContext: {seccompProfile: {type: RuntimeDefault}}"))
	for _, name := range []string{"late", "broken", "outside"} {
		n.Apply(name+".yaml", sleepers(name, "", "main "+local(name+".json")))
	}
	n.WaitPod("seccomp", patience, node.Ready)
	for container, want := range map[string]struct{ mode, mkdir, keyctl string }{
		"local": {"2", "error", "ENOTSUP"}, "unconfined": {"0", "", "ENOTSUP"}, "default": {"2", "", "EPERM"},
	} {
		has(t, n, "seccomp", container, map[string]string{"Seccomp": want.mode})
		_, stderr, code := n.CLI("exec", "seccomp", "-c", container, "--", "/bin/mkdir", "/tmp/directory")
		if (code == 0) != (want.mkdir == "") || !strings.Contains(stderr, want.mkdir) {
			t.Errorf("mkdir in %s: %d %s, want %q", container, code, stderr, want.mkdir)
		}
		// keyctl with a bad command needs no capability: only a filter refuses it so.
		if got := statusLines(execIn(t, n, "seccomp", container, "/bin/attack", "calls"))["keyctl"]; (got == "EPERM") != (want.keyctl == "EPERM") {
			t.Errorf("keyctl in %s: %s, want %s", container, got, want.keyctl)
		}
	}
	path := func(name string) string { return filepath.Join(root, name) }
	n.WaitPod("late", patience, waits("main", "CreateContainerError",
		fmt.Sprintf("cannot load seccomp profile %q: open %s: no such file or directory", path("late.json"), path("late.json"))))
	n.WaitPod("broken", patience, waits("main", "CreateContainerError",
		fmt.Sprintf("decoding seccomp profile failed %q: unexpected end of JSON input", path("broken.json"))))
	n.WaitPod("outside", patience, waits("main", "CreateContainerError", fmt.Sprintf("cannot load seccomp profile %q", path("outside.json")), "escapes"))
	file("late.json", noMkdir)
	n.WaitPod("late", patience, node.Ready)
	has(t, n, "late", "main", map[string]string{"Seccomp": "2"})
}

func hostNamespaces(t *testing.T, n *node.Node) {
	shm := "/dev/shm/" + filepath.Base(n.Bed.Path())
	if err := os.WriteFile(shm, []byte("of the host"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(shm) })
	n.Apply("own.yaml", sleepers("own", "", "main"))
	n.Apply("host.yaml", sleepers("host", "hostPID: true\nhostIPC: true", "main"))
	n.WaitPod("own", patience, node.Ready)
	n.WaitPod("host", patience, node.Ready)
	own, host := containerPid(t, n, "own", "main"), containerPid(t, n, "host", "main")
	for _, kind := range []string{"pid", "ipc", "net", "uts", "mnt"} {
		theirs := func(pid any) string {
			link, err := os.Readlink(fmt.Sprintf("/proc/%v/ns/%s", pid, kind))
			if err != nil {
				t.Fatal(err)
			}
			return link
		}
		if theirs(own) == theirs("self") {
			t.Errorf("the ordinary pod is in the host's %s namespace", kind)
		}
		if shared := theirs(host) == theirs("self"); shared != (kind == "pid" || kind == "ipc") {
			t.Errorf("the pod with hostPID and hostIPC is in the host's %s namespace: %t", kind, shared)
		}
	}
	this := fmt.Sprintf("/proc/%d/comm", os.Getpid())
	if got := execIn(t, n, "host", "main", "/bin/cat", this); strings.TrimSpace(got) == "" {
		t.Error("the pod with hostPID does not see this process")
	}
	if got := execIn(t, n, "host", "main", "/bin/cat", shm); got != "of the host" {
		t.Errorf("the pod with hostIPC does not see the host's shared memory: %q", got)
	}
	for _, file := range []string{this, shm} {
		if _, _, code := n.CLI("exec", "own", "-c", "main", "--", "/bin/cat", file); code == 0 {
			t.Errorf("the ordinary pod sees %s", file)
		}
	}
	// Its /proc is masked all the same.
	if got := mountsOf(t, host)["/proc/sys"]; !strings.HasPrefix(got, "ro,") {
		t.Errorf("/proc/sys is mounted %q", got)
	}
	// Its end is its processes' end, and nobody else's.
	n.Withdraw("host.yaml")
	n.WaitPod("host", patience, node.Gone)
	n.WaitPod("own", patience, node.Ready)
}

func sysctls(t *testing.T, n *node.Node) {
	want := map[string]string{"net.ipv4.ip_unprivileged_port_start": "81", "kernel.shm_rmid_forced": "1", "net.ipv4.tcp_keepalive_time": "77",
		"kernel.msgmax": "9001", "net.core.somaxconn": "99"}
	file := func(name string) string { return "/proc/sys/" + strings.ReplaceAll(name, ".", "/") }
	before := map[string]string{}
	list := []string{}
	for name, value := range want {
		list = append(list, fmt.Sprintf("{name: %s, value: %q}", name, value))
		data, err := os.ReadFile(file(name))
		if err != nil {
			t.Fatal(err)
		}
		if before[name] = strings.TrimSpace(string(data)); before[name] == value {
			t.Fatalf("the host has %s = %s, too", name, value)
		}
	}
	n.Apply("sysctls.yaml", sleepers("sysctls", "securityContext: {sysctls: ["+strings.Join(list, ", ")+"]}", "main"))
	n.WaitPod("sysctls", patience, node.Ready)
	for name, value := range want {
		if got := strings.TrimSpace(execIn(t, n, "sysctls", "main", "/bin/cat", file(name))); got != value {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
		if data, err := os.ReadFile(file(name)); err != nil || strings.TrimSpace(string(data)) != before[name] {
			t.Errorf("the host's %s was %s and is %s", name, before[name], data)
		}
	}
}

// refused are pods that ask for what this node does not have or allow.
func refused(t *testing.T, n *node.Node) {
	rejected := func(reason, message string) func(*v1.Pod) string {
		return func(p *v1.Pod) string {
			if p == nil || p.Status.Phase != v1.PodFailed || p.Status.Reason != reason || p.Status.Message != "Pod was rejected: "+message {
				return fmt.Sprintf("not rejected with %s, %s: %v", reason, message, p)
			}
			return ""
		}
	}
	n.Apply("forbidden.yaml", sleepers("forbidden", "securityContext: {sysctls: [{name: net.ipv4.tcp_rmem, value: 4096 8192 16384}, {name: kernel.shmmax, value: \"1\"}]}", "main"))
	n.WaitPod("forbidden", patience, rejected("SysctlForbidden", `forbidden sysctl: "kernel.shmmax" not allowlisted`))
	if enabled, _ := os.ReadFile("/sys/module/apparmor/parameters/enabled"); strings.TrimSpace(string(enabled)) == "Y" {
		n.Apply("apparmor.yaml", sleepers("apparmor", "", "main securityContext: {appArmorProfile: {type: Localhost, localhostProfile: dv-none}}"))
		n.WaitPod("apparmor", patience, waits("main", "CreateContainerError", "apparmor profile not found dv-none"))
	} else {
		n.Apply("apparmor.yaml", sleepers("apparmor", "", "main securityContext: {appArmorProfile: {type: RuntimeDefault}}"))
		n.WaitPod("apparmor", patience, rejected("AppArmor", "Cannot enforce AppArmor: AppArmor is not enabled on the host"))
	}
	if _, err := os.Stat("/sys/fs/selinux/enforce"); err != nil {
		n.Apply("selinux.yaml", sleepers("selinux", "", "main securityContext: {seLinuxOptions: {type: spc_t}}"))
		n.WaitPod("selinux", patience, waits("main", "CreateContainerError", "cannot enforce SELinux: it is not enabled on this node"))
	}
}

// Whom a container runs as stands in its status, also after davit's restart.
func TestSecurityUserInStatus(t *testing.T) {
	n := secured(t)
	n.Apply("user.yaml", sleepers("user", "securityContext: {runAsUser: 1000, runAsGroup: 7, supplementalGroups: [9], fsGroup: 5}", "main"))
	tell := func(p *v1.Pod) string {
		if why := node.Ready(p); why != "" {
			return why
		}
		u := p.Status.ContainerStatuses[0].User
		if u == nil || u.Linux == nil {
			return "no user in the status"
		}
		if got := fmt.Sprint(u.Linux.UID, u.Linux.GID, u.Linux.SupplementalGroups); got != "1000 7 [5 7 9 2000]" {
			return "the user is " + got
		}
		return ""
	}
	n.WaitPod("user", patience, tell)
	n.Restart()
	n.WaitPod("user", patience, tell)
	noLeaks(t, n)
}
