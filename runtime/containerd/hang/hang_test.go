package hang

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sleeper starts a program under a name that is hard to read.
func sleeper(t *testing.T, name string, args ...string) int {
	t.Helper()
	link := filepath.Join(t.TempDir(), name)
	if err := os.Symlink("/bin/sh", link); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(link, append([]string{"-c", "read x"}, args...)...)
	if _, err := cmd.StdinPipe(); err != nil { // it waits for that
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd.Process.Pid
}

func TestProcessIsRead(t *testing.T) {
	const name = "a) Z (1 2"
	pid := sleeper(t, name)
	var p Process
	for end := time.Now().Add(time.Minute); p.Name != name; time.Sleep(time.Millisecond) {
		var ok bool
		if p, ok = read(fmt.Sprintf("/proc/%d/stat", pid)); !ok || time.Now().After(end) {
			t.Fatalf("read %+v, %v", p, ok)
		}
	}
	if p.Pid != pid || p.Parent != os.Getpid() || p.State == 0 {
		t.Errorf("read %+v, want %d of %d", p, pid, os.Getpid())
	}
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("process %d (%s) is in state T (stopped)", pid, name)
	for end := time.Now().Add(time.Minute); !strings.HasPrefix(p.String(), want); time.Sleep(time.Millisecond) {
		if p, _ = read(fmt.Sprintf("/proc/%d/stat", pid)); time.Now().After(end) {
			t.Fatalf("it is %q, want %q", p, want)
		}
	}
}

func TestNothingHangs(t *testing.T) {
	if ps := Stuck([]string{"/sys/fs/cgroup/there-is-none", ""}); len(ps) > 0 {
		t.Errorf("found %v", ps)
	}
	if s, ok := FindShim(ShimID{Address: "/x", Namespace: "y", Group: "z"}, nil); ok {
		t.Errorf("found %v", s)
	}
}

// TestShimIsFound by its flags, all of them.
func TestShimIsFound(t *testing.T) {
	address := t.TempDir()
	pid := sleeper(t, "containerd-shim-runc-v2", "-namespace", "n", "-id", "abc", "-address", address)
	for _, c := range []struct {
		id   ShimID
		want bool
	}{
		{ShimID{address, "n", "abc"}, true},
		{ShimID{address, "n", "abc.0123"}, true},
		{ShimID{address, "n", "ab"}, false},
		{ShimID{address, "m", "abc"}, false},
		{ShimID{address + "x", "n", "abc"}, false},
	} {
		var s Shim
		var ok bool
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) { // until it has its name
			if s, ok = FindShim(c.id, nil); ok || !c.want || time.Now().After(end) {
				break
			}
		}
		if ok != c.want || ok && s.Pid != pid {
			t.Errorf("%+v: found %+v, %v", c.id, s, ok)
		}
	}
}

func TestNamesAreBounded(t *testing.T) {
	ps := make([]Process, 5)
	for i := range ps {
		ps[i] = Process{Pid: 1 << 30, Name: "x", State: 'D'}
	}
	got := Names(ps)
	if strings.Count(got, "process 1073741824 (x) is in uninterruptible sleep (D)") != 3 || !strings.HasSuffix(got, " and 2 more") {
		t.Errorf("got %q", got)
	}
}
