package enter

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/test/testbed"
)

func TestExec(t *testing.T) {
	onEachDaemon(t, func(t *testing.T, n *node) {
		id := n.run("c", nil)
		for _, c := range []struct {
			command string
			code    int
			out     string
		}{
			{"exit 0", 0, ""}, {"exit 42", 42, ""}, {"kill -TERM $$", 143, ""}, {"kill -9 $$", 137, ""}, {"nosuch", 127, "sh: nosuch: not found"},
			{"echo one; echo two >&2; echo three; echo four >&2", 0, "one\ntwo\nthree\nfour"},
			{"cat", 0, ""}, // its input is empty
		} {
			if code, out := n.exec(id, "sh", "-c", c.command); code != c.code || out != c.out {
				t.Errorf("%q ended with %d and printed %q, want %d and %q", c.command, code, out, c.code, c.out)
			}
		}
		if n.long.count() != 0 {
			t.Errorf("%d went the long way", n.long.count())
		}
		n.limits(id)
		n.leftover(id)
		n.timeouts(id)
		n.refused(id)
	})
}

func (n *node) limits(id string) {
	n.t.Helper()
	var want strings.Builder
	for _, limit := range []int{0, 1, 1000, 2 << 20} {
		code, out, err := n.e.Exec(n.t.Context(), id, []string{"podtool", "lines", "100000"}, limit)
		if err != nil || code != 0 || len(out) > limit || limit < 2<<20 && len(out) != limit {
			n.t.Errorf("of 1 MB with limit %d are %d bytes, code %d, %v", limit, len(out), code, err)
		}
		if want.Len() > 0 && !strings.HasPrefix(string(out), want.String()) {
			n.t.Errorf("limit %d: not the first bytes", limit)
		}
		want.Reset()
		want.Write(out)
	}
	if !strings.HasSuffix(want.String(), "line 100000\n") {
		n.t.Errorf("of 1 MB are %d bytes, and the last line is missing", want.Len())
	}
}

// What a command leaves running neither holds it up nor is ended with it.
func (n *node) leftover(id string) {
	n.t.Helper()
	code, out := n.exec(id, "sh", "-c", "sleep 12321 & echo up; exit 3")
	if code != 3 || out != "up" {
		n.t.Errorf("with a process left running: %d, %q", code, out)
	}
	pid := n.await(id, "12321")
	must(n.t, syscall.Kill(pid, syscall.SIGKILL))
}

// The end of the context ends the command and what belongs to it.
func (n *node) timeouts(id string) {
	n.t.Helper()
	ctx, cancel := context.WithCancel(n.t.Context())
	type result struct {
		out []byte
		err error
	}
	done := make(chan result, 1)
	go func() {
		_, out, err := n.e.Exec(ctx, id, []string{"sh", "-c", "trap '' TERM HUP; echo up; sleep 23432; sleep 23433"}, 100)
		done <- result{out, err}
	}()
	n.await(id, "23432")
	cancel()
	if r := <-done; !errors.Is(r.err, context.Canceled) || string(r.out) != "up\n" {
		n.t.Errorf("cancelled: %v, %q", r.err, r.out)
	}
	testbed.Poll(n.t, limit, func() string {
		if _, ps := n.exec(id, "ps"); strings.Contains(ps, "2343") {
			return "still there:\n" + ps
		}
		return ""
	})
	ended, stop := context.WithCancel(n.t.Context())
	stop()
	if _, _, err := n.e.Exec(ended, id, []string{"true"}, 100); !errors.Is(err, context.Canceled) {
		n.t.Errorf("with an ended context: %v", err)
	}
}

// What cannot be executed has the OCI runtime's own error.
func (n *node) refused(id string) {
	n.t.Helper()
	for _, command := range [][]string{{"nosuch"}, {"/bin/nosuch", "x"}, {"/bin"}, {"/etc/passwd"}, {"passwd"}, {""}, {}, {"/etc/passwd/x"}} {
		before := n.long.count()
		code, out, err := n.e.Exec(n.t.Context(), id, command, 1000)
		if n.long.count() != before+1 {
			n.t.Errorf("%q went the long way %d times", command, n.long.count()-before)
		}
		codeR, errR := n.long.Client.Exec(n.t.Context(), id, runtime.ExecConfig{Command: command})
		if err == nil || errR == nil || code != codeR || len(out) > 0 || err.Error() != errR.Error() {
			n.t.Errorf("%q: %d, %q, %v; by runc %d, %v", command, code, out, err, codeR, errR)
		}
	}
}

// A container's first process is known by more than its number.
func TestAnotherProcess(t *testing.T) {
	n := newNode(t, "")
	id := n.run("c", nil)
	n.exec(id, "true")
	c := n.e.known[id]
	right := c.target
	for name, wrong := range map[string]func(){
		"start time":         func() { c.target.Start++ },
		"a host's process":   func() { c.target.Pid = uint32(os.Getpid()) },
		"no process":         func() { c.target.Pid = 1 << 30 },
		"a cgroup that went": func() { c.target.Cgroups, c.target.Unified = []string{"/sys/fs/cgroup/nosuch"}, "" },
	} {
		wrong()
		before := n.long.count()
		if code, out := n.exec(id, "hostname"); code != 0 || out != "h" {
			t.Errorf("%s is another: code %d, %q", name, code, out)
		}
		if n.long.count() != before {
			t.Errorf("%s is another, and it is not asked anew", name)
		}
		if got := n.e.known[id].target; got.Pid != right.Pid || got.Start != right.Start {
			t.Errorf("%s was another, and now is known %+v, want %+v", name, got, right)
		}
		c = n.e.known[id]
	}
	spec, pid, err := n.long.ExecSpec(t.Context(), id)
	must(t, err)
	if _, err := locate(id, uint32(os.Getpid()), spec); err == nil {
		t.Error("a process outside is taken for the container's")
	}
	if _, err := locate(id, pid, spec); err != nil {
		t.Error(err)
	}
}

// A container that ends, or has ended, gives an error and no process.
func TestEndedContainer(t *testing.T) {
	n := newNode(t, "")
	id := n.run("c", nil)
	n.exec(id, "true")
	done := make(chan error, 1)
	go func() {
		code, _, err := n.e.Exec(t.Context(), id, []string{"sleep", "34543"}, 100)
		if err == nil && code != 137 {
			err = errors.New("wrong code")
		}
		done <- err
	}()
	n.await(id, "34543")
	must(t, n.long.Signal(t.Context(), id, syscall.SIGKILL))
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("the container is killed under a command: %v", err)
		}
	case <-time.After(limit):
		t.Fatal("a command outlives its container")
	}
	testbed.Poll(t, limit, func() string {
		if _, _, err := n.e.Exec(t.Context(), id, []string{"true"}, 100); err == nil {
			return "a command runs in a container that has ended"
		}
		return ""
	})
	if _, _, err := n.e.Exec(t.Context(), "nosuch", []string{"true"}, 100); !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("in a container that never was: %v", err)
	}
}

// What is frozen runs nothing, and nobody waits for it longer than he wants to.
func TestPausedContainer(t *testing.T) {
	n := newNode(t, "")
	id := n.run("c", nil)
	n.exec(id, "true")
	freeze := func(v1, v2 string) {
		t.Helper()
		dir := filepath.Join("/sys/fs/cgroup/freezer", n.CgroupParent(), id[:16])
		if err := os.WriteFile(filepath.Join(dir, "freezer.state"), []byte(v1), 0); err == nil {
			return
		}
		must(t, os.WriteFile(filepath.Join("/sys/fs/cgroup", n.CgroupParent(), id[:16], "cgroup.freeze"), []byte(v2), 0))
	}
	t.Cleanup(func() { freeze("THAWED", "0") })

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { _, _, err := n.e.Exec(ctx, id, []string{"sleep", "45654"}, 100); done <- err }()
	n.await(id, "45654")
	freeze("FROZEN", "1")
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled while frozen: %v", err)
		}
	case <-time.After(limit):
		t.Fatal("a frozen command holds its caller")
	}
	short, stop := context.WithTimeout(t.Context(), time.Second)
	defer stop()
	if _, _, err := n.e.Exec(short, id, []string{"true"}, 100); err == nil {
		t.Error("a frozen container runs a command")
	}
	freeze("THAWED", "0")
	if code, _ := n.exec(id, "true"); code != 0 {
		t.Errorf("thawed: code %d", code)
	}
}

// What is not done here is done by the runtime.
func TestUnfitContainersGoTheLongWay(t *testing.T) {
	n := newNode(t, "")
	for name, change := range map[string]func(*specs.Spec){
		"umask":  func(s *specs.Spec) { m := uint32(0o077); s.Process.User.Umask = &m },
		"no oom": func(s *specs.Spec) { s.Process.OOMScoreAdj = nil },
		"hostPID": func(s *specs.Spec) {
			s.Linux.Namespaces = s.Linux.Namespaces[1:]
		},
	} {
		id := n.run(name, change)
		before := n.long.count()
		if code, out := n.exec(id, "echo", "yes"); code != 0 || out != "yes" || n.long.count() != before+1 {
			t.Errorf("%s: code %d, %q, long way %d times", name, code, out, n.long.count()-before)
		}
	}
}

// A helper that is killed takes its command along.
func TestKilledHelper(t *testing.T) {
	n := newNode(t, "")
	id := n.run("c", nil)
	done := make(chan error, 1)
	go func() { _, _, err := n.e.Exec(t.Context(), id, []string{"sleep", "56765"}, 100); done <- err }()
	pid := n.await(id, "56765")
	status, err := os.ReadFile(filepath.Join("/proc", itoa(pid), "stat"))
	must(t, err)
	helper := atoi(t, strings.Fields(string(status[bytes.LastIndexByte(status, ')')+1:]))[1])
	must(t, syscall.Kill(helper, syscall.SIGKILL))
	if err := <-done; err == nil || errors.Is(err, errUnfit) {
		t.Errorf("with a killed helper: %v", err)
	}
	testbed.Poll(t, limit, func() string {
		if syscall.Kill(pid, 0) == nil {
			return "the command lives"
		}
		return ""
	})
	if n.long.count() != 0 {
		t.Error("it was run anew")
	}
}
