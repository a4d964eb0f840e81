package inside

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// perform has a process perform a list of steps of the test's own and returns what
// it tells, and how it ended.
func perform(t *testing.T, build func(p *plan)) ([]record, unix.WaitStatus) {
	t.Helper()
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	p := &plan{cgroup: -1, report: pipe[1]}
	build(p)
	pid, err := p.clone()
	runtime.KeepAlive(p)
	_ = unix.Close(pipe[1])
	if err != nil {
		t.Fatal(err)
	}
	var records []record
	for {
		var rec record
		n, err := unix.Read(pipe[0], (*[unsafe.Sizeof(rec)]byte)(unsafe.Pointer(&rec))[:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || n != int(unsafe.Sizeof(rec)) {
			break
		}
		records = append(records, rec)
	}
	var status unix.WaitStatus
	for {
		if _, err := unix.Wait4(pid, &status, 0, nil); err != unix.EINTR {
			return records, status
		}
	}
}

func path(t *testing.T, p *plan, s string) uintptr {
	t.Helper()
	ptr, err := p.text(s)
	if err != nil {
		t.Fatal(err)
	}
	return ptr
}

func TestPerform(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/not-executable", []byte("#!/bin/sh\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/no-interpreter", []byte("#!/no/such/interpreter\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	cwd := func(p *plan) {
		p.do(rooted, "", unix.SYS_GETCWD, uintptr(unsafe.Pointer(&p.cwd[0])), uintptr(len(p.cwd)))
	}
	try := func(p *plan, files ...string) {
		args, _ := p.vector([]string{"sh", "-c", "exit 9"})
		env, _ := p.vector(nil)
		for _, f := range files {
			p.do(program, "", unix.SYS_EXECVE, path(t, p, f), args, env)
			p.do(absent, "", unix.SYS_FACCESSAT, ^uintptr(99), path(t, p, f), unix.F_OK)
		}
	}
	end := func(p *plan, code uintptr) { p.do(must, "", unix.SYS_EXIT_GROUP, code) }
	for name, c := range map[string]struct {
		build func(p *plan)
		want  string // records as kind:step:value, and the exit code
	}{
		"all is well":            {func(p *plan) { p.do(must, "", unix.SYS_GETPID); p.do(mark, "", 0); end(p, 7) }, "3:1:0 exit 7"},
		"a failure ends":         {func(p *plan) { p.do(must, "", unix.SYS_CLOSE, 1<<20); end(p, 7) }, fmt.Sprintf("1:0:%d exit 1", unix.EBADF)},
		"a call that is lacking": {func(p *plan) { p.do(lacking, "", 1<<20); end(p, 7) }, "exit 7"},
		"a call that fails":      {func(p *plan) { p.do(lacking, "", unix.SYS_CLOSE, 1<<20); end(p, 7) }, fmt.Sprintf("1:0:%d exit 1", unix.EBADF)},
		"the second is skipped": {func(p *plan) {
			p.do(first, "", unix.SYS_CHDIR, path(t, p, "/"))
			p.do(second, "", unix.SYS_CHDIR, path(t, p, "/no/such"))
			cwd(p)
			end(p, 7)
		}, "exit 7"},
		"the second is done": {func(p *plan) {
			p.do(must, "", unix.SYS_SETRESUID, 65534, 65534, 65534)
			p.do(first, "", unix.SYS_KILL, 1, 0) // EPERM
			p.do(second, "", unix.SYS_CHDIR, path(t, p, "/no/such"))
			end(p, 7)
		}, fmt.Sprintf("1:2:%d exit 1", unix.ENOENT)},
		"the first fails otherwise": {func(p *plan) { p.do(first, "", unix.SYS_CHDIR, path(t, p, "/no/such")); end(p, 7) }, fmt.Sprintf("1:0:%d exit 1", unix.ENOENT)},
		// CVE-2024-21626: a directory outside the root.
		"outside the root": {func(p *plan) {
			p.do(must, "", unix.SYS_CHDIR, path(t, p, "/"))
			p.do(must, "", unix.SYS_CHROOT, path(t, p, dir))
			cwd(p)
			end(p, 7)
		}, fmt.Sprintf("1:2:%d exit 1", unix.ENOENT)},
		"inside the root": {func(p *plan) {
			p.do(must, "", unix.SYS_CHROOT, path(t, p, dir))
			p.do(must, "", unix.SYS_CHDIR, path(t, p, "/"))
			cwd(p)
			end(p, 7)
		}, "exit 7"},
		"the first program that is there": {func(p *plan) { try(p, dir+"/none", dir, dir+"/not-executable", "/etc/passwd/x", "/bin/sh") }, "exit 9"},
		"no program":                      {func(p *plan) { try(p, "/no/sh") }, fmt.Sprintf("1:1:%d exit 1", unix.ENOENT)},
		"none that may be executed":       {func(p *plan) { try(p, dir+"/not-executable") }, fmt.Sprintf("1:1:%d exit 1", unix.EACCES)},
		"one without its interpreter":     {func(p *plan) { try(p, dir+"/no-interpreter", "/bin/sh") }, fmt.Sprintf("1:1:%d exit 1", unix.ENOENT)},
	} {
		records, status := perform(t, c.build)
		var got []string
		for _, r := range records {
			got = append(got, fmt.Sprintf("%d:%d:%d", r.kind, r.step, r.value))
		}
		got = append(got, fmt.Sprintf("exit %d", status.ExitStatus()))
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%s: %q, want %q", name, text, c.want)
		}
	}
}

// The parent tells its child, which is its sibling, and ends.
func TestPerformForks(t *testing.T) {
	records, status := perform(t, func(p *plan) {
		p.do(fork, "", unix.SYS_CLONE, unix.CLONE_PARENT|uintptr(unix.SIGCHLD), 0, 0, 0, 0)
		p.do(must, "", unix.SYS_EXIT_GROUP, 5)
	})
	if len(records) != 1 || records[0].kind != recChild || status.ExitStatus() != 0 {
		t.Fatalf("records %+v, status %#x", records, uint32(status))
	}
	b := int(records[0].value)
	if got, err := child(b); got != b || err != nil {
		t.Errorf("child %d, %v; want %d", got, err, b)
	}
	k := &killer{}
	k.follow(b)
	if status, err := k.reap(b); err != nil || status.ExitStatus() != 5 {
		t.Errorf("status %#x, %v", uint32(status), err)
	}
	if k.pid != 0 {
		t.Error("a child that was reaped can be killed")
	}
	if got, err := child(b); got != 0 || err != nil {
		t.Errorf("without a child: %d, %v", got, err)
	}
}

// Who asks for a process that is no child of his gets none: a record may lie.
func TestForgedChild(t *testing.T) {
	if got, err := child(1); got != 0 || err != nil {
		t.Errorf("of init: %d, %v", got, err)
	}
	k := &killer{}
	pid := func() int {
		p := &plan{cgroup: -1, report: 2}
		p.do(must, "", unix.SYS_PPOLL, 0, 0, 0, 0)
		pid, err := p.clone()
		if err != nil {
			t.Fatal(err)
		}
		return pid
	}()
	if got, err := child(1); err == nil {
		t.Errorf("with another child: %d", got)
	}
	k.dying = true
	k.follow(pid)
	if status, err := k.reap(pid); err != nil || status.Signal() != unix.SIGKILL {
		t.Errorf("status %#x, %v", uint32(status), err)
	}
}
