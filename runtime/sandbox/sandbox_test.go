package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/davit-agent/davit/network/ns"
	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/helper/helpertest"
)

// unasked is the runtime of pods that have no init: whoever asks it is wrong.
type unasked struct{ runtime.Runtime }

// sandboxes returns Sandboxes over a directory of the test's own, and a check
// that nothing is left at the end.
func sandboxes(t *testing.T, runDir string, rt runtime.Runtime) *Sandboxes {
	t.Helper()
	s, err := New(Config{RunDir: runDir, Helper: helpertest.Build(t), Runtime: rt})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		uids, err := s.List(context.Background())
		if err != nil {
			t.Error(err)
		}
		for _, uid := range uids {
			if err := s.Remove(context.Background(), uid); err != nil {
				t.Error(err)
			}
		}
		if left := mounts(t, runDir); len(left) > 0 {
			t.Errorf("mounts left: %v", left)
		}
	})
	return s
}

func mounts(t *testing.T, below string) (out []string) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); strings.HasPrefix(f[4], below+"/") {
			out = append(out, f[4])
		}
	}
	return out
}

func config(uid string) *runtime.SandboxConfig {
	return &runtime.SandboxConfig{Pod: runtime.PodRef{UID: uid, Namespace: "default", Name: "p"}, Hostname: "name-of-" + uid}
}

func ensure(t *testing.T, s *Sandboxes, cfg *runtime.SandboxConfig) *runtime.Sandbox {
	t.Helper()
	sb, err := s.Ensure(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	seen, err := s.Inspect(t.Context(), cfg.Pod.UID)
	if err != nil {
		t.Fatal(err)
	}
	if *seen != *sb {
		t.Errorf("Inspect %+v, Ensure %+v", seen, sb)
	}
	return sb
}

func sysctl(t *testing.T, path, name string) (v string) {
	t.Helper()
	if err := ns.Do(path, func() error {
		b, err := os.ReadFile("/proc/sys/" + name)
		v = strings.TrimSpace(string(b))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return v
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return st.Ino
}

func missing(t *testing.T, s *Sandboxes, uid string) {
	t.Helper()
	if sb, err := s.Inspect(t.Context(), uid); !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("Inspect = %+v, %v; want ErrNotFound", sb, err)
	}
}

func TestEnsure(t *testing.T) {
	dir := t.TempDir()
	s := sandboxes(t, dir, unasked{})
	ctx := t.Context()
	missing(t, s, "a")
	cfg := config("a")
	cfg.Sysctls = map[string]string{"kernel.shmmni": "99", "net/ipv4/ip_unprivileged_port_start": "80"}
	cfg.ShmSize = 1 << 20
	sb := ensure(t, s, cfg)
	want := runtime.Sandbox{UID: "a", NetNS: dir + "/ns/a/net", IPCNS: dir + "/ns/a/ipc", UTSNS: dir + "/ns/a/uts", ShmPath: dir + "/shm/a"}
	if *sb != want {
		t.Errorf("got %+v, want %+v", sb, want)
	}
	for _, c := range []struct{ path, name, want string }{
		{sb.NetNS, "net/ipv4/ping_group_range", "0\t2147483647"},
		{sb.NetNS, "net/ipv4/ip_unprivileged_port_start", "80"}, // the pod's, not the default
		{sb.IPCNS, "kernel/shmmni", "99"},
		{sb.UTSNS, "kernel/hostname", "name-of-a"},
	} {
		if got := sysctl(t, c.path, c.name); got != c.want {
			t.Errorf("%s = %q, want %q", c.name, got, c.want)
		}
	}
	var st unix.Stat_t
	var fs unix.Statfs_t
	if err := errors.Join(unix.Stat(sb.ShmPath, &st), unix.Statfs(sb.ShmPath, &fs)); err != nil {
		t.Fatal(err)
	}
	if fs.Type != unix.TMPFS_MAGIC || st.Mode&0o7777 != 0o1777 || int64(fs.Blocks)*fs.Bsize != 1<<20 {
		t.Errorf("shm: type %x, mode %o, %d bytes", fs.Type, st.Mode, int64(fs.Blocks)*fs.Bsize)
	}
	if f := fs.Flags; f&unix.ST_NOSUID == 0 || f&unix.ST_NODEV == 0 || f&unix.ST_NOEXEC == 0 {
		t.Errorf("shm: flags %x", f)
	}

	// Again, by another process, while the pod uses it: nothing changes.
	if err := os.WriteFile(filepath.Join(sb.ShmPath, "segment"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	net, mounted := inode(t, sb.NetNS), mounts(t, dir)
	ensure(t, sandboxes(t, dir, unasked{}), cfg)
	if inode(t, sb.NetNS) != net || !slices.Equal(mounts(t, dir), mounted) {
		t.Error("a second Ensure changed the sandbox")
	}
	if _, err := os.Stat(filepath.Join(sb.ShmPath, "segment")); err != nil {
		t.Error(err)
	}
	ensure(t, s, config("b"))
	if uids, err := s.List(ctx); err != nil || !slices.Equal(uids, []string{"a", "b"}) {
		t.Errorf("List = %v, %v", uids, err)
	}
	for range 2 {
		if err := s.Remove(ctx, "a"); err != nil {
			t.Fatal(err)
		}
		missing(t, s, "a")
	}
	if _, err := s.Inspect(ctx, "b"); err != nil {
		t.Error(err)
	}
	for _, uid := range []string{"", ".", "..", "a/b", "../a"} {
		_, ensureErr := s.Ensure(ctx, config(uid))
		_, inspectErr := s.Inspect(ctx, uid)
		if ensureErr == nil || inspectErr == nil || s.Remove(ctx, uid) == nil {
			t.Errorf("UID %q was taken", uid)
		}
	}
}

func TestHostNamespaces(t *testing.T) {
	dir := t.TempDir()
	s := sandboxes(t, dir, unasked{})
	for _, c := range []struct {
		net, ipc bool
		want     runtime.Sandbox
	}{
		{true, false, runtime.Sandbox{IPCNS: dir + "/ns/x/ipc", ShmPath: dir + "/shm/x"}},
		{false, true, runtime.Sandbox{NetNS: dir + "/ns/x/net", UTSNS: dir + "/ns/x/uts"}},
		{true, true, runtime.Sandbox{}},
	} {
		cfg := config("x")
		cfg.HostNetwork, cfg.HostIPC = c.net, c.ipc
		c.want.UID = "x"
		if sb := ensure(t, s, cfg); *sb != c.want {
			t.Errorf("got %+v, want %+v", sb, c.want)
		}
		if uids, err := s.List(t.Context()); err != nil || !slices.Equal(uids, []string{"x"}) {
			t.Errorf("List = %v, %v", uids, err)
		}
		if err := s.Remove(t.Context(), "x"); err != nil {
			t.Fatal(err)
		}
	}
	// A sysctl of the host is not a pod's to set.
	cfg := config("x")
	cfg.HostNetwork, cfg.Sysctls = true, map[string]string{"net.ipv4.ip_forward": "1"}
	if _, err := s.Ensure(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "net.ipv4.ip_forward") {
		t.Errorf("a host's sysctl: %v", err)
	}
}

// TestCompletes starts from each state that a kill can leave.
func TestCompletes(t *testing.T) {
	parts := map[string]func(t *testing.T, s *Sandboxes, sb *runtime.Sandbox) error{
		"no net": func(t *testing.T, s *Sandboxes, sb *runtime.Sandbox) error {
			return unix.Unmount(sb.NetNS, unix.MNT_DETACH)
		},
		"no pins": func(t *testing.T, s *Sandboxes, sb *runtime.Sandbox) error {
			return ns.Remove(s.nsDir(sb.UID))
		},
		"no shm": func(t *testing.T, s *Sandboxes, sb *runtime.Sandbox) error { return unmountShm(sb.ShmPath) },
		"shm directory only": func(t *testing.T, s *Sandboxes, sb *runtime.Sandbox) error {
			return unix.Unmount(sb.ShmPath, unix.MNT_DETACH)
		},
		"no record": func(t *testing.T, s *Sandboxes, sb *runtime.Sandbox) error { return s.removeRecord(sb.UID) },
		"damaged record": func(t *testing.T, s *Sandboxes, sb *runtime.Sandbox) error {
			return os.Truncate(s.recordPath(sb.UID), 5)
		},
		"record only": func(t *testing.T, s *Sandboxes, sb *runtime.Sandbox) error {
			return errors.Join(ns.Remove(s.nsDir(sb.UID)), unmountShm(sb.ShmPath))
		},
		"temporary record only": func(t *testing.T, s *Sandboxes, sb *runtime.Sandbox) error {
			return errors.Join(ns.Remove(s.nsDir(sb.UID)), unmountShm(sb.ShmPath), os.Rename(s.recordPath(sb.UID), s.recordPath(sb.UID)+".tmp"))
		},
	}
	for name, destroy := range parts {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := sandboxes(t, dir, unasked{})
			sb := ensure(t, s, config("a"))
			if err := destroy(t, s, sb); err != nil {
				t.Fatal(err)
			}
			missing(t, s, "a")
			if uids, err := s.List(t.Context()); err != nil || !slices.Equal(uids, []string{"a"}) {
				t.Errorf("List = %v, %v", uids, err)
			}
			ensure(t, s, config("a"))
			if n := len(mounts(t, dir)); n != 4 {
				t.Errorf("%d mounts, want 4", n)
			}
			// And removed from there.
			if err := destroy(t, s, sb); err != nil {
				t.Fatal(err)
			}
			if err := s.Remove(t.Context(), "a"); err != nil {
				t.Fatal(err)
			}
			if uids, err := s.List(t.Context()); err != nil || len(uids) != 0 {
				t.Errorf("List after Remove = %v, %v", uids, err)
			}
		})
	}
}

func TestUserNamespace(t *testing.T) {
	dir := t.TempDir()
	s := sandboxes(t, dir, unasked{})
	cfg := config("a")
	cfg.IDs = &runtime.IDRange{Host: 300000, Size: 65536}
	sb := ensure(t, s, cfg)
	if sb.UserNS != dir+"/ns/a/user" {
		t.Fatalf("got %+v", sb)
	}
	f, err := ns.Open(sb.NetNS)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_USERNS)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var owner, shm unix.Stat_t
	if err := errors.Join(unix.Fstat(fd, &owner), unix.Stat(sb.ShmPath, &shm)); err != nil {
		t.Fatal(err)
	}
	if owner.Ino != inode(t, sb.UserNS) {
		t.Error("the network is not owned by the user namespace")
	}
	if shm.Uid != 300000 || shm.Gid != 300000 {
		t.Errorf("shm is owned by %d:%d", shm.Uid, shm.Gid)
	}
}

func TestConcurrent(t *testing.T) {
	s := sandboxes(t, t.TempDir(), unasked{})
	var wg sync.WaitGroup
	errs := make([]error, 50)
	for i := range errs {
		wg.Go(func() {
			uid := fmt.Sprintf("pod-%02d", i)
			_, err := s.Ensure(t.Context(), config(uid))
			if err == nil {
				_, err = s.Inspect(t.Context(), uid)
			}
			errs[i] = err
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if uids, err := s.List(t.Context()); err != nil || len(uids) != 50 {
		t.Errorf("List = %v, %v", uids, err)
	}
}

func TestInitCgroup(t *testing.T) {
	for parent, want := range map[string]string{
		"/kubepods/burstable/poda": "/kubepods/burstable/poda/id",
		"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-poda.slice": "kubepods-burstable-poda.slice:davit:id",
	} {
		if got := initCgroup(parent, "id"); got != want {
			t.Errorf("%s: %s, want %s", parent, got, want)
		}
	}
}
