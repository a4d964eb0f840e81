package oci_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/cgroup"
	"github.com/davit-agent/davit/runtime/oci"
	"github.com/davit-agent/davit/runtime/oci/facts"
)

const busybox = "/bin/busybox" // Debian's busybox-static

// look is what the container runs: it prints what it finds, a section each.
const look = `
s() { echo "== $1"; }
s id; id
s env; env | sort
s status; grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status
s cwd; pwd
s hostname; hostname
s hostfile; cat /etc/hostname
s mounts; awk '{print $5, $6}' /proc/self/mountinfo
s oom; cat /proc/self/oom_score_adj
s ns; for n in net ipc uts pid mnt cgroup; do readlink /proc/self/ns/$n; done
s pids; ls -d /proc/[0-9]* | wc -l
s shares; cat /sys/fs/cgroup/cpu/cpu.shares /sys/fs/cgroup/cpu.weight 2>/dev/null
s limit; cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null
s rootfs; touch /new && echo writable || echo read-only
s sysctl; (echo 1 > /proc/sys/kernel/panic_print) 2>/dev/null && echo writable || echo read-only
s kcore; wc -c < /proc/interrupts
s mount; mount -t tmpfs tmpfs /tmp 2>/dev/null && echo allowed || echo refused
s shm; cat /dev/shm/from-outside
s volume; cat /data/sub/file
s null; echo x > /dev/null && echo ok
echo bye > $TERMLOG
`

// rig is a bundle and namespaces for one container on this machine.
type rig struct {
	dir  string
	tree *cgroup.Tree
	in   oci.Input
}

func newRig(t *testing.T, pod *v1.Pod) *rig {
	t.Helper()
	if _, err := os.Stat(busybox); err != nil {
		t.Fatalf("this test needs busybox-static: %v", err)
	}
	r := &rig{dir: t.TempDir()}
	for _, d := range []string{"rootfs/bin", "rootfs/tmp", "rootfs/etc", "shm", "ns", "vol/sub", "runc"} {
		if err := os.MkdirAll(filepath.Join(r.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range map[string]string{
		"hosts": "127.0.0.1 localhost\n", "hostname": "the-pod\n", "resolv.conf": "", "log": "",
		"shm/from-outside": "shared\n", "vol/file": "outer\n", "vol2": "inner\n", "vol/sub/file": "",
	} {
		if err := os.WriteFile(filepath.Join(r.dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	binary, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.dir, "rootfs/bin/busybox"), binary, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, applet := range []string{"sh", "id", "env", "grep", "pwd", "hostname", "cat", "awk", "readlink", "ls", "wc", "sort", "touch", "mount"} {
		if err := os.Symlink("busybox", filepath.Join(r.dir, "rootfs/bin", applet)); err != nil {
			t.Fatal(err)
		}
	}
	r.tree, err = cgroup.New(cgroup.Config{Root: fmt.Sprintf("/davit-test-oci-%d", os.Getpid())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.tree.Cleanup(); err != nil {
			t.Error(err)
		}
	})
	podCgroup, err := r.tree.EnsurePod(pod)
	if err != nil {
		t.Fatal(err)
	}
	node, err := facts.Read()
	if err != nil {
		t.Fatal(err)
	}
	r.in = input(pod, &pod.Spec.Containers[0])
	r.in.Node, r.in.Hostname = node, "the-pod"
	r.in.CgroupPath = r.tree.ContainerPath(podCgroup, "davit-test-oci")
	r.in.Files = oci.Files{Hosts: r.dir + "/hosts", Hostname: r.dir + "/hostname", ResolvConf: r.dir + "/resolv.conf", TerminationLog: r.dir + "/log"}
	r.in.Mounts = []oci.Mount{ // the inner one first: Spec has to sort them
		{HostPath: r.dir + "/vol2", ContainerPath: "/data/sub/file", ReadOnly: true},
		{HostPath: r.dir + "/vol", ContainerPath: "/data"},
	}
	r.in.Sandbox = r.namespaces(t)
	return r
}

// namespaces makes and pins namespaces as a sandbox has them, by unshare(1).
func (r *rig) namespaces(t *testing.T) *runtime.Sandbox {
	t.Helper()
	s := &runtime.Sandbox{NetNS: r.dir + "/ns/net", IPCNS: r.dir + "/ns/ipc", UTSNS: r.dir + "/ns/uts", ShmPath: r.dir + "/shm"}
	for _, p := range []string{s.NetNS, s.IPCNS, s.UTSNS} {
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = exec.Command("umount", p).Run() })
	}
	out, err := exec.Command("unshare", "--net="+s.NetNS, "--ipc="+s.IPCNS, "--uts="+s.UTSNS, "hostname", "the-pod").CombinedOutput()
	if err != nil {
		t.Fatalf("making namespaces: %v: %s", err, out)
	}
	return s
}

// run runs the container and returns what it printed, by section.
func (r *rig) run(t *testing.T) (map[string]string, *specs.Spec) {
	t.Helper()
	spec, err := oci.Spec(r.in)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.dir, "config.json"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	const id = "davit-test-oci"
	root := []string{"--root", filepath.Join(r.dir, "runc")}
	t.Cleanup(func() {
		_ = exec.Command("runc", append(root, "delete", "--force", id)...).Run()
	})
	cmd := exec.Command("runc", append(root, "run", "--bundle", r.dir, id)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.WaitDelay = time.Minute
	if err := cmd.Run(); err != nil {
		t.Fatalf("runc: %v\n%s\n%s", err, &out, &errs)
	}
	sections := map[string]string{}
	for part := range strings.SplitSeq(out.String(), "== ") {
		if name, rest, ok := strings.Cut(part, "\n"); ok {
			sections[name] = strings.TrimSpace(rest)
		}
	}
	t.Logf("%s%s", &out, &errs)
	return sections, spec
}

func (r *rig) expect(t *testing.T, got map[string]string, want map[string]string) {
	t.Helper()
	for section, pattern := range want {
		if !regexp.MustCompile(`(?ms)` + pattern).MatchString(got[section]) {
			t.Errorf("%s:\n%s\nwant %s", section, got[section], pattern)
		}
	}
}

func inode(fi os.FileInfo) string {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	return strconv.FormatUint(st.Ino, 10)
}

func lookPod(name string) *v1.Pod {
	pod := &v1.Pod{}
	pod.Name, pod.Namespace = "the-pod", "default"
	pod.UID = "00000000-test-oci"
	pod.Spec.Containers = []v1.Container{{Name: name, Command: []string{"/bin/sh", "-c", look},
		Env: []v1.EnvVar{{Name: "TERMLOG", Value: "/dev/termination-log"}, {Name: "HELLO", Value: "from $(TERMLOG)"}}}}
	return pod
}

// A usual container, as the image's user, in a Guaranteed pod: what it finds
// inside is what the spec says.
func TestRuncUsual(t *testing.T) {
	pod := lookPod("usual")
	pod.Spec.Containers[0].Resources.Limits = v1.ResourceList{
		"cpu": resource.MustParse("500m"), "memory": resource.MustParse("64Mi")}
	r := newRig(t, pod)
	r.in.Image.Config.User = "root"
	got, spec := r.run(t)
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	r.expect(t, got, map[string]string{
		"id":       `^uid=0(\(root\))? gid=0(\(root\))? groups=0(\(root\))?,10(\(wheel\))?$`,
		"env":      `^HELLO=from /dev/termination-log\nHOME=/\nHOSTNAME=the-pod\nIMAGE=yes\nPATH=/image/bin:/bin\n`,
		"status":   `CapInh:\s0+\nCapPrm:\s00000000a80425fb\nCapEff:\s00000000a80425fb\nCapBnd:\s00000000a80425fb\nCapAmb:\s0+\nNoNewPrivs:\s0\nSeccomp:\s2`,
		"cwd":      `^/image$`,
		"hostname": `^the-pod$`,
		"hostfile": `^the-pod$`,
		"oom":      fmt.Sprintf(`^%d$`, *spec.Process.OOMScoreAdj),
		"pids":     `^[1-4]$`,
		"shares":   `^(512|20|59)$`, // cpu.shares, or cpu.weight by either curve
		"limit":    `^67108864$`,
		"rootfs":   `^writable$`,
		"sysctl":   `^read-only$`,
		"kcore":    `^0$`,
		"mount":    `^refused$`,
		"shm":      `^shared$`,
		"volume":   `^inner$`,
		"null":     `^ok$`,
		"mounts":   `/sys ro\b.*/dev/mqueue rw\b.*/sys/fs/cgroup\S* ro\b.*/data/sub/file ro\b`,
	})
	if strings.Contains(got["ns"], own) {
		t.Errorf("in the test's network namespace: %s", got["ns"])
	}
	var inodes []string
	for _, p := range []string{r.in.Sandbox.NetNS, r.in.Sandbox.IPCNS, r.in.Sandbox.UTSNS} {
		fi, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		inodes = append(inodes, inode(fi))
	}
	for i, n := range strings.Split(got["ns"], "\n")[:3] {
		if !strings.Contains(n, "["+inodes[i]+"]") {
			t.Errorf("namespace %s, want the pinned %s", n, inodes[i])
		}
	}
	if log, err := os.ReadFile(r.dir + "/log"); err != nil || string(log) != "bye\n" {
		t.Errorf("termination log %q, %v", log, err)
	}
}

func TestRuncRestricted(t *testing.T) {
	pod := lookPod("restricted")
	pod.Spec.SecurityContext = &v1.PodSecurityContext{RunAsUser: ptr.To[int64](1000), RunAsNonRoot: ptr.To(true),
		FSGroup: ptr.To[int64](3000), SupplementalGroups: []int64{4000}}
	pod.Spec.Containers[0].SecurityContext = &v1.SecurityContext{
		AllowPrivilegeEscalation: ptr.To(false), ReadOnlyRootFilesystem: ptr.To(true),
		Capabilities: &v1.Capabilities{Drop: []v1.Capability{"ALL"}, Add: []v1.Capability{"NET_BIND_SERVICE"}},
	}
	r := newRig(t, pod)
	if err := os.Chmod(r.dir+"/log", 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(r.dir+"/rootfs/data", 0o755); err != nil { // a read-only root needs its mount points
		t.Fatal(err)
	}
	got, _ := r.run(t)
	r.expect(t, got, map[string]string{
		"id":     `^uid=1000(\(\w+\))? gid=1001(\(\w+\))? groups=10(\(\w+\))?,1001(\(\w+\))?,1002(\(\w+\))?,3000,4000$`,
		"status": `CapPrm:\s0+\nCapEff:\s0+\nCapBnd:\s0000000000000400\n.*NoNewPrivs:\s1\nSeccomp:\s2`,
		"rootfs": `^read-only$`,
		"mount":  `^refused$`,
		"oom":    `^1000$`,
		"shares": `^[12]$`,
	})
}

func TestRuncPrivileged(t *testing.T) {
	pod := lookPod("privileged")
	pod.Spec.Containers[0].SecurityContext = &v1.SecurityContext{Privileged: ptr.To(true)}
	r := newRig(t, pod)
	devices, err := facts.Devices()
	if err != nil {
		t.Fatal(err)
	}
	r.in.Node.Devices = devices
	pod.Spec.Containers[0].Command[2] = strings.ReplaceAll(look, "(echo 1 > /proc/sys/kernel/panic_print)", "test -w /proc/sys/kernel/panic_print") +
		"s devices; ls /dev"
	if err := os.Symlink("busybox", r.dir+"/rootfs/bin/test"); err != nil {
		t.Fatal(err)
	}
	got, _ := r.run(t)
	r.expect(t, got, map[string]string{
		"status": `CapEff:\s[0-9a-f]+.*NoNewPrivs:\s0\nSeccomp:\s0`,
		"mount":  `^allowed$`,
		"sysctl": `^writable$`,
		"mounts": `/sys rw\b`,
	})
	for _, d := range devices {
		name := filepath.Base(d.Path)
		if filepath.Dir(d.Path) == "/dev" && !slices.Contains(strings.Fields(got["devices"]), name) {
			t.Errorf("no /dev/%s in %s", name, got["devices"])
		}
	}
}
