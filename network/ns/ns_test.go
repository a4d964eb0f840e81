package ns

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

var all = []Kind{Net, IPC, UTS}

// tempRoot returns a directory whose pins are removed with the test.
func tempRoot(t testing.TB) string {
	t.Helper()
	root := t.TempDir()
	t.Cleanup(func() {
		names, err := List(root)
		if err != nil {
			t.Error(err)
		}
		for _, n := range names {
			if err := Remove(filepath.Join(root, n)); err != nil {
				t.Error(err)
			}
		}
		if left := mountsBelow(t, root); len(left) > 0 {
			t.Errorf("mounts left behind: %v", left)
		}
	})
	return root
}

func mountsBelow(t testing.TB, dir string) (out []string) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); strings.HasPrefix(f[4], dir+"/") {
			out = append(out, f[4])
		}
	}
	return out
}

func inode(t testing.TB, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatalf("stat %s: %v", path, err)
	}
	return st.Ino
}

func mustCreate(t testing.TB, dir string, o Options) {
	t.Helper()
	if err := Create(dir, o); err != nil {
		t.Fatal(err)
	}
}

func sysctl(t testing.TB, path, name string) string {
	t.Helper()
	var v string
	if err := Do(path, func() error {
		b, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
		v = strings.TrimSpace(string(b))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return v
}

func hostname(t testing.TB, path string) string {
	t.Helper()
	var u unix.Utsname
	if err := Do(path, func() error { return unix.Uname(&u) }); err != nil {
		t.Fatal(err)
	}
	return unix.ByteSliceToString(u.Nodename[:])
}

func options() Options {
	return Options{Kinds: all, Hostname: "pod-1", Sysctls: map[string]string{
		"net.ipv4.ip_unprivileged_port_start": "0",
		"net.ipv4.ping_group_range":           "0 2147483647",
		"kernel.shmmni":                       "1234",
		"fs.mqueue.msg_max":                   "77",
		"kernel/domainname":                   "example.test",
	}}
}

// checkConfigured looks at everything that options asks for.
func checkConfigured(t testing.TB, dir string) {
	t.Helper()
	if ok, err := Intact(dir, all...); err != nil || !ok {
		t.Fatalf("Intact = %v, %v", ok, err)
	}
	p := func(k Kind) string { return filepath.Join(dir, string(k)) }
	if got := hostname(t, p(UTS)); got != "pod-1" {
		t.Errorf("host name %q", got)
	}
	for _, c := range []struct {
		kind       Kind
		name, want string
	}{
		{Net, "net.ipv4.ip_unprivileged_port_start", "0"},
		{Net, "net.ipv4.ping_group_range", "0\t2147483647"},
		{IPC, "kernel.shmmni", "1234"},
		{IPC, "fs.mqueue.msg_max", "77"},
		{UTS, "kernel.domainname", "example.test"},
	} {
		if got := sysctl(t, p(c.kind), c.name); got != c.want {
			t.Errorf("%s = %q, want %q", c.name, got, c.want)
		}
	}
	if err := Do(p(Net), func() error {
		ifs, err := net.Interfaces()
		if err != nil {
			return err
		}
		if len(ifs) != 1 || ifs[0].Name != "lo" || ifs[0].Flags&net.FlagUp == 0 {
			return fmt.Errorf("interfaces %+v", ifs)
		}
		for _, a := range []string{"127.0.0.1:0", "[::1]:0"} {
			l, err := net.Listen("tcp", a)
			if err != nil {
				return err
			}
			l.Close()
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

func TestCreate(t *testing.T) {
	dir := filepath.Join(tempRoot(t), "a")
	before, host := hostname(t, "/proc/self/ns/uts"), inode(t, "/proc/self/ns/net")
	mustCreate(t, dir, options())
	checkConfigured(t, dir)
	if hostname(t, "/proc/self/ns/uts") != before || inode(t, "/proc/self/ns/net") != host {
		t.Error("the host was changed")
	}

	// What is intact stays, and is not configured again.
	inodes := func() (out []uint64) {
		for _, k := range all {
			out = append(out, inode(t, filepath.Join(dir, string(k))))
		}
		return out
	}
	was := inodes()
	if err := Do(filepath.Join(dir, "uts"), func() error { return unix.Sethostname([]byte("changed")) }); err != nil {
		t.Fatal(err)
	}
	mustCreate(t, dir, options())
	if now := inodes(); !slices.Equal(was, now) {
		t.Errorf("namespaces %v became %v", was, now)
	}
	if got := hostname(t, filepath.Join(dir, "uts")); got != "changed" {
		t.Errorf("host name was set again to %q", got)
	}
	if n := len(mountsBelow(t, dir)); n != 3 {
		t.Errorf("%d mounts, want 3", n)
	}
	for range 2 {
		if err := Remove(dir); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after Remove: %v", err)
	}
}

// TestCreateCompletes puts Create before every state that a kill can leave.
func TestCreateCompletes(t *testing.T) {
	states := map[string]func(t *testing.T, dir string){
		"directory only": func(t *testing.T, dir string) {},
		"plain files": func(t *testing.T, dir string) {
			for _, k := range all {
				if err := os.WriteFile(filepath.Join(dir, string(k)), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		},
		"net only": func(t *testing.T, dir string) {
			o := options()
			o.Kinds = []Kind{Net}
			o.Hostname = ""
			for n := range o.Sysctls {
				if !strings.HasPrefix(n, "net.") {
					delete(o.Sysctls, n)
				}
			}
			mustCreate(t, dir, o)
		},
		"wrong kind": func(t *testing.T, dir string) {
			mustCreate(t, dir, Options{Kinds: []Kind{IPC}})
			if err := os.WriteFile(filepath.Join(dir, "net"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := unix.Mount(filepath.Join(dir, "ipc"), filepath.Join(dir, "net"), "", unix.MS_BIND, ""); err != nil {
				t.Fatal(err)
			}
			if err := unpin(filepath.Join(dir, "ipc")); err != nil {
				t.Fatal(err)
			}
		},
		"symbolic link": func(t *testing.T, dir string) {
			if err := os.Symlink("/proc/self/ns/net", filepath.Join(dir, "net")); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, make := range states {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(tempRoot(t), "a")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			make(t, dir)
			if ok, err := Intact(dir, all...); err != nil || ok {
				t.Fatalf("Intact = %v, %v before", ok, err)
			}
			mustCreate(t, dir, options())
			checkConfigured(t, dir)
			if inode(t, filepath.Join(dir, "net")) == inode(t, "/proc/self/ns/net") {
				t.Error("the host's network namespace is pinned")
			}
		})
	}
}

func TestCreateRefuses(t *testing.T) {
	dir := filepath.Join(tempRoot(t), "a")
	for name, o := range map[string]Options{
		"pid":              {Kinds: []Kind{PID}},
		"machine's sysctl": {Kinds: all, Sysctls: map[string]string{"vm.swappiness": "1"}},
		"host's net":       {Kinds: []Kind{IPC}, Sysctls: map[string]string{"net.ipv4.ip_forward": "1"}},
		"escape":           {Kinds: all, Sysctls: map[string]string{"net/../vm/swappiness": "1"}},
		"host name":        {Kinds: []Kind{Net}, Hostname: "x"},
		"ids, no program":  {Kinds: all, IDs: &IDRange{1, 1}},
	} {
		if err := Create(dir, o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	err := Create(dir, Options{Kinds: all, Sysctls: map[string]string{"net.ipv4.no_such": "1"}})
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "net.ipv4.no_such") {
		t.Errorf("unknown sysctl: %v", err)
	}
	if ok, _ := Intact(dir, Net); ok {
		t.Error("a namespace that could not be configured was pinned")
	}
}

func TestCreateOwned(t *testing.T) {
	dir := filepath.Join(tempRoot(t), "a")
	o := options()
	o.IDs = &IDRange{Host: 231072, Size: 65536}
	o.Helper = []string{"/bin/cat"}
	check := func() {
		t.Helper()
		checkConfigured(t, dir)
		user := inode(t, filepath.Join(dir, "user"))
		if user == inode(t, "/proc/self/ns/user") {
			t.Fatal("the host's user namespace is pinned")
		}
		for _, k := range all {
			f, err := Open(filepath.Join(dir, string(k)))
			if err != nil {
				t.Fatal(err)
			}
			fd, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_USERNS)
			f.Close()
			if err != nil {
				t.Fatal(err)
			}
			var st unix.Stat_t
			err = unix.Fstat(fd, &st)
			unix.Close(fd)
			if err != nil || st.Ino != user {
				t.Errorf("%s is owned by user namespace %d, want %d (%v)", k, st.Ino, user, err)
			}
		}
	}
	mustCreate(t, dir, o)
	check()
	was := inode(t, filepath.Join(dir, "net"))
	mustCreate(t, dir, o)
	if inode(t, filepath.Join(dir, "net")) != was {
		t.Error("an intact namespace was made again")
	}
	// A process in it sees the mapping, and may set supplementary groups.
	for file, want := range map[string]string{"uid_map": "0 231072 65536", "gid_map": "0 231072 65536", "setgroups": "allow"} {
		out, err := exec.Command("nsenter", "--user="+filepath.Join(dir, "user"), "cat", "/proc/self/"+file).CombinedOutput()
		if got := strings.Join(strings.Fields(string(out)), " "); err != nil || got != want {
			t.Errorf("%s: %q %v, want %q", file, got, err, want)
		}
	}
	// Half-made: everything is made again under one owner.
	for _, k := range []Kind{User, IPC} {
		if err := unpin(filepath.Join(dir, string(k))); err != nil {
			t.Fatal(err)
		}
		mustCreate(t, dir, o)
		check()
	}
	if n, err := os.ReadFile("/proc/self/status"); err != nil || !strings.Contains(string(n), "Uid:\t0\t0\t0\t0") {
		t.Errorf("this process is not root any more: %v", err)
	}
}

func TestPin(t *testing.T) {
	root := tempRoot(t)
	dir := filepath.Join(root, "a")
	start := func() *exec.Cmd {
		cmd := exec.Command("unshare", "--pid", "--kill-child", "--fork", "cat")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { in.Close(); _ = cmd.Wait() })
		return cmd
	}
	// unshare's child is in the new namespace; its pid_for_children names it.
	child := func(cmd *exec.Cmd) (pid int) {
		for pid == 0 {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", cmd.Process.Pid))
			if err != nil {
				t.Fatal(err)
			}
			_, _ = fmt.Sscan(string(b), &pid)
		}
		return pid
	}
	one, two := child(start()), child(start())
	path := filepath.Join(dir, "pid")
	for range 2 {
		if err := Pin(dir, PID, one); err != nil {
			t.Fatal(err)
		}
	}
	if ok, err := Same(path, PID, one); err != nil || !ok {
		t.Errorf("Same = %v, %v", ok, err)
	}
	if n := len(mountsBelow(t, dir)); n != 1 {
		t.Errorf("%d mounts", n)
	}
	if err := Pin(dir, PID, two); err != nil {
		t.Fatal(err)
	}
	if ok, err := Same(path, PID, two); err != nil || !ok {
		t.Errorf("Same after the second Pin = %v, %v", ok, err)
	}
	if err := Pin(dir, PID, 1<<30); err == nil {
		t.Error("pinned the namespace of a process that is not there")
	}
	if names, err := List(root); err != nil || !slices.Equal(names, []string{"a"}) {
		t.Errorf("List = %v, %v", names, err)
	}
	if err := Do(path, func() error { return nil }); err == nil {
		t.Error("Do entered a pid namespace")
	}
}

func TestRemoveOddities(t *testing.T) {
	root := tempRoot(t)
	outside := filepath.Join(t.TempDir(), "keep")
	if err := os.WriteFile(outside, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "a")
	mustCreate(t, dir, Options{Kinds: all})
	// A second mount over a pin, a plain file, a link to elsewhere.
	if err := unix.Mount(filepath.Join(dir, "ipc"), filepath.Join(dir, "net"), "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "pid"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "user")); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(root, "b")
	if err := os.Symlink(filepath.Dir(outside), link); err != nil {
		t.Fatal(err)
	}
	if err := Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := Remove(link); err == nil {
		t.Error("Remove followed a link")
	}
	if _, err := os.Stat(outside); err != nil {
		t.Error(err)
	}
	if names, err := List(filepath.Join(root, "none")); err != nil || names != nil {
		t.Errorf("List of nothing = %v, %v", names, err)
	}
}

// TestConcurrent makes 50 pods' namespaces at once, half of them owned, and
// looks that no thread of this process is left in one.
func TestConcurrent(t *testing.T) {
	root := tempRoot(t)
	host := inode(t, "/proc/self/ns/net")
	var wg sync.WaitGroup
	errs := make([]error, 50)
	for i := range errs {
		wg.Go(func() {
			o := Options{Kinds: all, Hostname: fmt.Sprintf("pod-%d", i)}
			if i%2 == 1 {
				o.IDs, o.Helper = &IDRange{Host: uint32(100000 + i*65536), Size: 65536}, []string{"/bin/cat"}
			}
			errs[i] = Create(filepath.Join(root, o.Hostname), o)
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	seen := map[uint64]bool{host: true}
	for i := range errs {
		name := fmt.Sprintf("pod-%d", i)
		n := inode(t, filepath.Join(root, name, "net"))
		if seen[n] {
			t.Errorf("%s shares its network", name)
		}
		seen[n] = true
		if got := hostname(t, filepath.Join(root, name, "uts")); got != name {
			t.Errorf("%s has host name %q", name, got)
		}
	}
	// New threads and old ones: all are at home.
	for range 20 {
		wg.Go(func() {
			if n := inode(t, "/proc/thread-self/ns/net"); n != host {
				t.Errorf("a goroutine runs in network %d", n)
			}
		})
	}
	wg.Wait()
}
