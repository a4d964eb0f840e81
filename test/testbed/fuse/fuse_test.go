package fuse

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// state returns the state of a process as ps has it, "" for none.
func state(pid int) string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	_, rest, _ := bytes.Cut(data, []byte(") "))
	return string(rest[:1])
}

// TestHang: a reader of /hang cannot be killed until Lift, and nothing but that
// hangs before Stop.
func TestHang(t *testing.T) {
	f := Mount(t, t.TempDir())
	if data, err := os.ReadFile(filepath.Join(f.Dir, "fine")); err != nil || string(data) != Fine {
		t.Fatalf("%q, %v", data, err)
	}
	if _, err := os.Stat(f.Hang()); err != nil {
		t.Fatal(err)
	}
	stuck := start(t, f, "cat", f.Hang())
	f.Stop()
	dead := start(t, f, "ls", "-l", f.Dir)
	f.Lift()
	for name, done := range map[string]chan error{"reader": stuck, "lister": dead} {
		select {
		case <-done:
		case <-time.After(time.Minute):
			t.Errorf("%s was not freed", name)
		}
	}
	if _, err := os.Stat(f.Hang()); err == nil || !strings.Contains(err.Error(), "not connected") {
		t.Errorf("after Lift: %v", err)
	}
}

// start starts a command, kills it and waits until it is in state D.
func start(t *testing.T, f *FS, name string, args ...string) chan error {
	t.Helper()
	cmd := exec.Command(name, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	wchan := fmt.Sprintf("/proc/%d/wchan", cmd.Process.Pid)
	wait(t, func() bool {
		at, _ := os.ReadFile(wchan)
		return strings.Contains(string(at), "request_wait_answer") || strings.Contains(string(at), "fuse")
	})
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	wait(t, func() bool { return state(cmd.Process.Pid) == "D" })
	return done
}

func wait(t *testing.T, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not come to that")
		}
	}
}
