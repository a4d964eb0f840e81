package main

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// self is the test binary, which is davit too.
func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// leaveSocket makes a socket at which nobody listens any more.
func leaveSocket(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
}

// asNobody runs davit get pods as a user who may not.
func asNobody(t *testing.T, socket string) (errText string, code int) {
	t.Helper()
	dir, err := os.MkdirTemp("", "davit-nobody-") // t.TempDir is for root only
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	program := filepath.Join(dir, "davit")
	data, err := os.ReadFile(self(t))
	if err == nil {
		err = errors.Join(os.WriteFile(program, data, 0o755), os.Chmod(dir, 0o755))
	}
	if err != nil {
		t.Fatal(err)
	}
	open, err := os.MkdirTemp("", "davit-socket-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(open) })
	if err := errors.Join(os.Chmod(open, 0o755), os.Link(socket, filepath.Join(open, "d.sock"))); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "get", "pods", "--socket", filepath.Join(open, "d.sock"))
	cmd.Env = append(os.Environ(), "DAVIT_TEST_MAIN=1")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return errs.String(), cmd.ProcessState.ExitCode()
}
