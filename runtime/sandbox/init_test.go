package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/davit-agent/davit/network/ns"
	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/containerd"
	"github.com/davit-agent/davit/test/testbed"
)

// noLogs is the pump of containers that have no log.
type noLogs struct{ runtime.Logs }

func (noLogs) Close(context.Context, string) error { return nil }

// imageless is davit's client; images are not its business, nor an init's.
type imageless struct{ *containerd.Client }

func (imageless) Image(context.Context, string) (*runtime.Image, error) {
	return nil, runtime.ErrImageNotFound
}

// cut is a runtime that fails after a number of calls that change something:
// before the call, which is a kill in front of it, or after it.
type cut struct {
	runtime.Runtime
	left  int // calls that still work; -1 is all
	after bool
}

var errCut = errors.New("cut")

func (c *cut) call(fn func() error) error {
	if c.left == 0 && !c.after {
		return errCut
	}
	err := fn()
	if c.left == 0 {
		return errCut
	}
	if c.left > 0 {
		c.left--
	}
	return err
}

func (c *cut) Create(ctx context.Context, cfg *runtime.ContainerConfig) error {
	return c.call(func() error { return c.Runtime.Create(ctx, cfg) })
}

func (c *cut) Start(ctx context.Context, id string) error {
	return c.call(func() error { return c.Runtime.Start(ctx, id) })
}

func (c *cut) Delete(ctx context.Context, id string) error {
	return c.call(func() error { return c.Runtime.Delete(ctx, id) })
}

// bed is a containerd with davit's client on it.
type bed struct {
	*testbed.Bed
	t   *testing.T
	rt  *cut
	s   *Sandboxes
	cfg *runtime.SandboxConfig
}

// newBed takes the containerd in the directory bin; "" is Debian's.
func newBed(t *testing.T, bin string) *bed {
	t.Helper()
	b := &bed{Bed: testbed.New(t, testbed.Options{Containerd: bin}), t: t}
	parent := b.CgroupParent()
	if err := os.MkdirAll(b.Path("run"), 0o711); err != nil {
		t.Fatal(err)
	}
	client, err := containerd.New(containerd.Config{
		Address: b.Address, Namespace: b.Namespace, RunDir: b.Path("run", "containerd"), Logs: noLogs{},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = client.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done; _ = client.Close() })
	b.rt = &cut{Runtime: imageless{client}, left: -1}
	b.s = sandboxes(t, b.Path("run"), b.rt)
	b.cfg = config("pod-" + b.ID)
	b.cfg.SharePID, b.cfg.CgroupParent = true, parent
	return b
}

// init returns the one init that there is.
func (b *bed) init() runtime.Container {
	b.t.Helper()
	inits, err := b.s.inits(b.t.Context(), b.cfg.Pod.UID)
	if err != nil || len(inits) != 1 {
		b.t.Fatalf("inits: %+v, %v", inits, err)
	}
	return inits[0]
}

func (b *bed) removed() {
	b.t.Helper()
	for range 2 {
		if err := b.s.Remove(b.t.Context(), b.cfg.Pod.UID); err != nil {
			b.t.Fatal(err)
		}
	}
	if leaks := b.LeakCheck(); len(leaks) > 0 {
		b.t.Errorf("left behind:\n%s", strings.Join(leaks, "\n"))
	}
}

func TestSharePID(t *testing.T) {
	for name, bin := range map[string]string{"1.6": "", "2.x": testbed.BuildContainerd2(t)} {
		t.Run(name, func(t *testing.T) { sharePID(t, newBed(t, bin)) })
	}
}

func sharePID(t *testing.T, b *bed) {
	sb := ensure(t, b.s, b.cfg)
	c := b.init()
	if c.State != runtime.StateRunning || c.ID != runtime.ContainerID(sb.UID, "", 0) {
		t.Fatalf("init: %+v", c)
	}
	// It joined the sandbox, in a PID namespace of its own that is pinned.
	for path, name := range map[string]string{sb.NetNS: "net", sb.IPCNS: "ipc", sb.UTSNS: "uts", sb.PIDNS: "pid"} {
		if got, want := inode(t, fmt.Sprintf("/proc/%d/ns/%s", c.Pid, name)), inode(t, path); got != want {
			t.Errorf("%s namespace of the init is %d, pinned is %d", name, got, want)
		}
	}
	if inode(t, sb.PIDNS) == inode(t, "/proc/self/ns/pid") {
		t.Error("the PID namespace is the host's")
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Uid:\t65535", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"} {
		if !strings.Contains(string(status), want) {
			t.Errorf("the init's status lacks %q:\n%s", want, status)
		}
	}
	cgroups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", c.Pid))
	if err != nil || !strings.Contains(string(cgroups), b.cfg.CgroupParent+"/"+c.ID) {
		t.Errorf("the init's cgroups: %s %v", cgroups, err)
	}
	root := fmt.Sprintf("/proc/%d/root", c.Pid)
	if entries, err := os.ReadDir(root); err != nil || len(entries) != 3 {
		t.Errorf("the init's root holds %v, %v", entries, err)
	}
	if err := os.WriteFile(root+"/x", nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("writing to the init's root: %v", err)
	}
	if entries, err := os.ReadDir(b.Path("run", "init-root", "dev")); err != nil || len(entries) != 0 {
		t.Errorf("the shared root's dev holds %v, %v", entries, err)
	}

	b.reaps(sb)

	// Again: the same one.
	ensure(t, b.s, b.cfg)
	if again := b.init(); again.ID != c.ID || again.Pid != c.Pid {
		t.Errorf("a second Ensure made %+v of %+v", again, c)
	}
	b.removed()
}

// reaps puts an orphan that has ended into the pod's PID namespace and waits
// until it is gone.
func (b *bed) reaps(sb *runtime.Sandbox) {
	b.t.Helper()
	out, err := exec.Command("nsenter", "--pid="+sb.PIDNS, "sh", "-c", "(sleep 0.2; exit 3) >/dev/null 2>&1 & echo $!").Output()
	if err != nil {
		b.t.Fatal(err)
	}
	inside := strings.TrimSpace(string(out))
	if n, err := strconv.Atoi(inside); err != nil || n < 2 || n > 1000 {
		b.t.Errorf("pid in the pod's namespace: %q", inside)
	}
	pid := int(b.init().Pid)
	orphans := func() string {
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid))
		if err != nil {
			return err.Error()
		}
		return strings.TrimSpace(string(children))
	}
	testbed.Poll(b.t, 20*time.Second, orphans)
}

// TestInitDies: an init that ended makes the sandbox not intact; Ensure makes
// the next attempt and a new PID namespace.
func TestInitDies(t *testing.T) {
	b := newBed(t, "")
	sb := ensure(t, b.s, b.cfg)
	first, was := b.init(), inode(t, sb.PIDNS)
	testbed.Poll(t, 20*time.Second, func() string {
		// As PID 1 it does not notice a signal before it asks for signals.
		if err := b.rt.Signal(t.Context(), first.ID, syscall.SIGTERM); err != nil && !errors.Is(err, runtime.ErrNotFound) {
			return err.Error()
		}
		if _, err := b.s.Inspect(t.Context(), sb.UID); !errors.Is(err, runtime.ErrNotFound) {
			return fmt.Sprintf("Inspect: %v", err)
		}
		return ""
	})
	ensure(t, b.s, b.cfg)
	second := b.init()
	if second.Attempt != 1 || second.Pid == first.Pid || inode(t, sb.PIDNS) == was {
		t.Errorf("after %+v: %+v", first, second)
	}
	// Deleted by somebody, even: the number is not used again.
	if err := b.rt.Delete(t.Context(), second.ID); err != nil {
		t.Fatal(err)
	}
	missing(t, b.s, sb.UID)
	ensure(t, b.s, b.cfg)
	if c := b.init(); c.Attempt != 2 {
		t.Errorf("third attempt: %+v", c)
	}
	// A pin that is not the init's is replaced.
	if err := ns.Pin(b.s.nsDir(sb.UID), ns.PID, os.Getpid()); err != nil {
		t.Fatal(err)
	}
	missing(t, b.s, sb.UID)
	ensure(t, b.s, b.cfg)
	if c := b.init(); c.Attempt != 2 || inode(t, sb.PIDNS) != inode(t, fmt.Sprintf("/proc/%d/ns/pid", c.Pid)) {
		t.Errorf("after repair of the pin: %+v", c)
	}
	b.removed()
}

// TestInitCut cuts Ensure at every call to the runtime, and completes it, and
// removes it from there.
func TestInitCut(t *testing.T) {
	b := newBed(t, "")
	for _, complete := range []bool{true, false} {
		for _, after := range []bool{false, true} {
			for calls := range 2 { // Create, Start
				b.rt.left, b.rt.after = calls, after
				if _, err := b.s.Ensure(t.Context(), b.cfg); !errors.Is(err, errCut) {
					t.Fatalf("cut at %d: %v", calls, err)
				}
				b.rt.left = -1
				missing(t, b.s, b.cfg.Pod.UID)
				if complete {
					ensure(t, b.s, b.cfg)
					if c := b.init(); c.State != runtime.StateRunning {
						t.Errorf("init: %+v", c)
					}
				}
				if err := b.s.Remove(t.Context(), b.cfg.Pod.UID); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	// Removal that is cut is completed too, also when the record is lost.
	sb := ensure(t, b.s, b.cfg)
	b.rt.left = 0
	if err := b.s.Remove(t.Context(), sb.UID); !errors.Is(err, errCut) {
		t.Errorf("Remove: %v", err)
	}
	b.rt.left = -1
	if uids, err := b.s.List(t.Context()); err != nil || len(uids) != 1 {
		t.Errorf("List = %v, %v", uids, err)
	}
	b.removed()

	sb = ensure(t, b.s, b.cfg)
	if err := os.Remove(b.s.recordPath(sb.UID)); err != nil {
		t.Fatal(err)
	}
	b.removed()
}

// TestInitInUserNamespace: with an id range the init is in the pod's user
// namespace, which owns its PID namespace too.
func TestInitInUserNamespace(t *testing.T) {
	b := newBed(t, "")
	b.cfg.IDs = &runtime.IDRange{Host: 300000, Size: 65536}
	sb := ensure(t, b.s, b.cfg)
	c := b.init()
	if inode(t, fmt.Sprintf("/proc/%d/ns/user", c.Pid)) != inode(t, sb.UserNS) {
		t.Error("the init is in another user namespace")
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.Pid))
	if err != nil || !strings.Contains(string(status), "Uid:\t365535\t") {
		t.Errorf("the init's user: %v\n%s", err, status)
	}
	b.removed()
}

// TestInitFails: what the runtime says comes out, and nothing is pinned.
func TestInitFails(t *testing.T) {
	b := newBed(t, "")
	bad := *b.s
	bad.cfg.Helper = filepath.Join(b.Dir, "no-such-helper")
	if _, err := bad.Ensure(t.Context(), b.cfg); !errors.Is(err, runtime.ErrStart) || !strings.Contains(err.Error(), "no-such-helper") {
		t.Errorf("Ensure: %v", err)
	}
	missing(t, b.s, b.cfg.Pod.UID)
	b.removed()
}
