package main

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/davit-agent/davit/runtime/helper"
	"github.com/davit-agent/davit/runtime/helper/helpertest"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within a minute: %s", what)
}

// The program is small, static, and names itself as helper does.
func TestProgram(t *testing.T) {
	name := helpertest.Build(t)
	st, err := os.Stat(name)
	must(t, err)
	if st.Size() >= 4<<20 {
		t.Errorf("%d bytes, want less than 4 MiB", st.Size())
	}
	f, err := elf.Open(name)
	must(t, err)
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("not a static program")
		}
	}
	out, err := exec.Command(name, "version").Output()
	must(t, err)
	version, _, _ := strings.Cut(string(out), " ")
	if filepath.Base(name) != helper.Name(version) {
		t.Errorf("version %q of %s", version, name)
	}
	if other := helpertest.BuildOther(t); other == name {
		t.Error("another version is the same file")
	}
}

// What must never get into the program is not in it.
func TestDependencies(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").Output()
	must(t, err)
	const module = "github.com/davit-agent/davit/"
	for _, path := range strings.Fields(string(out)) {
		switch {
		case strings.HasPrefix(path, "golang.org/x/sys/"), strings.HasPrefix(path, module+"runtime/logs/"),
			path == module+"cmd/davit-helper", path == module+"runtime/enter/inside":
		default:
			t.Errorf("depends on %s", path)
		}
	}
}

func TestUsage(t *testing.T) {
	name := helpertest.Build(t)
	for _, args := range []string{"", "nonsense", "init now", "logs", "logs --dir", "logs --dir /x --what", "version 2", "exec now", "filters", "filters x", "filters 0", "filters 1 2"} {
		err := exec.Command(name, strings.Fields(args)...).Run()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 2 {
			t.Errorf("%q: %v, want exit code 2", args, err)
		}
	}
}

func TestHold(t *testing.T) {
	cmd := exec.Command(helpertest.Build(t), "hold")
	in, err := cmd.StdinPipe()
	must(t, err)
	must(t, cmd.Start())
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	_, err = io.WriteString(in, "anything\n")
	must(t, err)
	select {
	case err := <-done:
		t.Fatalf("ended before its input: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	must(t, in.Close())
	must(t, <-done)
}

// bareRoot makes a read-only file system that holds the helper and nothing else.
func bareRoot(t *testing.T) string {
	t.Helper()
	root, err := os.MkdirTemp("", "davit-helper-root-")
	must(t, err)
	t.Cleanup(func() { must(t, os.Remove(root)) })
	must(t, syscall.Mount("davit-helper-test", root, "tmpfs", 0, "size=16m"))
	t.Cleanup(func() { must(t, syscall.Unmount(root, syscall.MNT_DETACH)) })
	data, err := os.ReadFile(helpertest.Build(t))
	must(t, err)
	must(t, os.WriteFile(root+"/helper", data, 0o555))
	must(t, syscall.Mount("", root, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	return root
}

// init in a PID namespace and a bare read-only root reaps orphans, lives through
// signals that are not for it, and ends with 0 on SIGTERM and SIGINT.
func TestInit(t *testing.T) {
	root := bareRoot(t)
	for _, last := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		var out bytes.Buffer
		cmd := exec.Command("/helper", "init")
		cmd.Dir = "/"
		cmd.Env = []string{}
		cmd.Stderr = &out
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Chroot: root}
		must(t, cmd.Start())
		t.Cleanup(func() {
			if cmd.ProcessState == nil {
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
			}
		})
		pid := cmd.Process.Pid
		// The orphans wait for a line, so they are seen as init's before they end.
		in, gate, err := os.Pipe()
		must(t, err)
		enter := exec.Command("nsenter", fmt.Sprintf("--pid=/proc/%d/ns/pid", pid), "sh", "-c",
			"for i in 1 2 3 4 5 6 7 8 9 10; do sh -c 'cat <&3 >/dev/null' & done")
		enter.ExtraFiles = []*os.File{in}
		must(t, enter.Run())
		in.Close()
		eventually(t, "orphans are init's", func() bool { return children(t, pid) == 10 })
		for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2,
			syscall.SIGPIPE, syscall.SIGALRM, syscall.SIGABRT, syscall.SIGWINCH} {
			must(t, cmd.Process.Signal(sig))
		}
		must(t, gate.Close())
		eventually(t, "orphans are reaped", func() bool { return children(t, pid) == 0 })
		must(t, cmd.Process.Signal(last))
		if err := cmd.Wait(); err != nil {
			t.Errorf("after %v: %v, %s", last, err, &out)
		}
	}
}

// children counts the processes, zombies too, whose parent is pid.
func children(t *testing.T, pid int) int {
	t.Helper()
	n := 0
	files, err := filepath.Glob("/proc/[0-9]*/status")
	must(t, err)
	for _, name := range files {
		data, _ := os.ReadFile(name) // it may be gone
		if strings.Contains(string(data), fmt.Sprintf("\nPPid:\t%d\n", pid)) {
			n++
		}
	}
	return n
}

// Who starts `exec` without a request, or names no process, is told so.
func TestExecAndFiltersFail(t *testing.T) {
	name := helpertest.Build(t)
	for _, args := range []string{"exec", "filters 2147483647"} {
		out, err := exec.Command(name, strings.Fields(args)...).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 || len(out) == 0 {
			t.Errorf("%q: %v, %q", args, err, out)
		}
	}
}
