package logs_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/helper/helpertest"
	"github.com/davit-agent/davit/runtime/logs"
)

// run runs a supervisor; stop is the agent's leaving.
func (b *bench) run(c *logs.Client) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	var stopped bool
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			must(b.t, <-done)
		}
	}
	b.t.Cleanup(stop)
	return stop
}

// The supervisor starts a pump that is a session of its own, restarts it when it
// is killed, leaves it when it leaves itself, finds it again and replaces it by
// another version; not a line is lost but by the kill.
func TestSupervisor(t *testing.T) {
	b := newBench(t)
	t.Cleanup(func() { must(t, b.client.Cleanup(context.Background())) }) // after stop
	stop := b.run(b.client)
	eventually(t, "pump is started", func() bool { return b.status().Pid != 0 })
	first := b.status()
	if sid, err := getsid(first.Pid); err != nil || sid != first.Pid {
		t.Errorf("pump %d is in session %d, %v", first.Pid, sid, err)
	}
	stdout, stderr := b.open("x", 0)
	must(t, writer(t, stdout, stderr, 1, 1000, 50).Wait())

	// What the pump has read and not yet written would go with it.
	eventually(t, "all is in the file", func() bool { return b.count("x", 50).last == 1000 })
	must(t, syscall.Kill(first.Pid, syscall.SIGKILL))
	eventually(t, "pump is restarted", func() bool { p := b.status().Pid; return p != 0 && p != first.Pid })
	second := b.status()
	if second.Streams != 1 {
		t.Errorf("the new pump serves %d streams, want 1", second.Streams)
	}
	stop()
	b.client.Release()
	if b.status().Pid != second.Pid {
		t.Fatal("the pump left with the agent")
	}
	must(t, writer(t, stdout, stderr, 1001, 2000, 50).Wait())

	b.client = b.newClient()
	stop = b.run(b.client)
	must(t, writer(t, stdout, stderr, 2001, 3000, 50).Wait())
	stop()
	if b.status().Pid != second.Pid {
		t.Error("a pump of the same version was replaced")
	}
	b.client.Release()

	b.helper = helpertest.BuildOther(t)
	b.client = b.newClient()
	stop = b.run(b.client)
	eventually(t, "pump is replaced", func() bool { s := b.status(); return s.Pid != 0 && s.Version != second.Version })
	must(t, writer(t, stdout, stderr, 3001, 4000, 50).Wait())
	must(t, b.client.Close(t.Context(), "x"))
	b.count("x", 50).want(t, "files", 4000)

	// Cleanup leaves neither a stream nor a process.
	stop()
	b.open("y", 0)
	last := b.status().Pid
	must(t, b.client.Cleanup(t.Context()))
	if err := syscall.Kill(last, 0); last == 0 || err != syscall.ESRCH {
		eventually(t, "the pump is reaped", func() bool { return syscall.Kill(last, 0) == syscall.ESRCH })
	}
	if ids, err := b.client.List(t.Context()); err != nil || len(ids) != 0 {
		t.Errorf("List after Cleanup: %q, %v", ids, err)
	}
}

func getsid(pid int) (int, error) {
	sid, _, errno := syscall.Syscall(syscall.SYS_GETSID, uintptr(pid), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(sid), nil
}

// Without a pump Open works, what is written waits for one, and Close says that
// none is there; the next pump completes it.
func TestNoPump(t *testing.T) {
	b := newBench(t)
	stdout, stderr := b.open("x", 0)
	must(t, writer(t, stdout, stderr, 1, 500, 100).Wait()) // 50 kB are in the FIFO, nobody but the client holds it
	ctx, cancel := context.WithTimeout(t.Context(), 1)
	defer cancel()
	if err := b.client.Close(ctx, "x"); !errors.Is(err, runtime.ErrUnavailable) {
		t.Errorf("Close without a pump: %v", err)
	}
	if ids, err := b.client.List(t.Context()); err != nil || !slices.Equal(ids, []string{"x"}) {
		t.Errorf("List: %q, %v", ids, err)
	}
	if _, _, err := b.client.Open(t.Context(), runtime.LogStream{ID: "x", Path: b.path("x")}); err == nil {
		t.Error("opened a stream that is being closed")
	}
	b.pump(b.helper)
	must(t, b.client.Close(t.Context(), "x"))
	b.count("x", 100).want(t, "files", 500)
	if ids, err := b.client.List(t.Context()); err != nil || len(ids) != 0 {
		t.Errorf("List after Close: %q, %v", ids, err)
	}
}

// What a killed agent left half made is listed and can be closed; bad IDs and
// paths are refused; a spec that is no spec stops nobody else.
func TestBadEntries(t *testing.T) {
	b := newBench(t)
	must(t, os.MkdirAll(filepath.Join(b.dir, "half"), 0o700))
	must(t, os.MkdirAll(filepath.Join(b.dir, "bad"), 0o700))
	must(t, os.WriteFile(filepath.Join(b.dir, "bad", "spec.json"), []byte(`{"format":1,"id":"other"}`), 0o600))
	pump := b.pump(b.helper)
	stdout, stderr := b.open("good", 0)
	must(t, writer(t, stdout, stderr, 1, 10, 50).Wait())
	if ids, _ := b.client.List(t.Context()); !slices.Equal(ids, []string{"bad", "good", "half"}) {
		t.Errorf("List: %q", ids)
	}
	must(t, b.client.Close(t.Context(), "half"))
	must(t, b.client.Close(t.Context(), "good"))
	must(t, b.client.Close(t.Context(), "never-was"))
	b.count("good", 50).want(t, "files", 10)
	for _, s := range []runtime.LogStream{
		{ID: "../x", Path: b.path("x")}, {ID: "", Path: b.path("x")}, {ID: "pump.sock", Path: b.path("x")},
		{ID: strings.Repeat("x", 129), Path: b.path("x")}, {ID: "x", Path: "relative"}, {ID: "x", Path: "/a/../b"},
	} {
		if _, _, err := b.client.Open(t.Context(), s); err == nil {
			t.Errorf("opened %.20q at %q", s.ID, s.Path)
		}
	}
	// What is no message ends its connection, not the pump.
	for _, text := range []string{"hello\n", strings.Repeat("x", 1<<20) + "\n", `{"v":99,"op":"status"}` + "\n", "\n\n"} {
		c := dialRaw(t, b.dir)
		_, _ = c.Write([]byte(text))
		buf := make([]byte, 4096)
		for {
			if _, err := c.Read(buf); err != nil {
				break
			}
		}
		c.Close()
	}
	if b.status().Pid != pump.Process.Pid {
		t.Error("the pump is gone")
	}
}

// Links have the names that collectors expect and go with their pod.
func TestLinks(t *testing.T) {
	b := newBench(t)
	b.pump(b.helper)
	b.open("a", 0)
	b.open("b", 0)
	link := filepath.Join(b.out, "links", "pod-a_ns_c-a.log")
	if to, err := os.Readlink(link); err != nil || to != b.path("a") {
		t.Errorf("link: %q, %v", to, err)
	}
	must(t, b.client.Unlink(filepath.Dir(filepath.Dir(b.path("a")))))
	if _, err := os.Lstat(link); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("link after Unlink: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(b.out, "links", "pod-b_ns_c-b.log")); err != nil {
		t.Errorf("the other pod's link: %v", err)
	}
	name, ok := logs.LinkName("/var/log/pods/ns_"+strings.Repeat("p", 253)+"_uid/c/0.log", strings.Repeat("f", 64))
	if !ok || len(name) > 255 || !strings.HasSuffix(name, "f.log") {
		t.Errorf("long name: %d bytes, %v, %s", len(name), ok, name)
	}
	if name, ok := logs.LinkName("/somewhere/else.log", "x"); ok {
		t.Errorf("a name for a path of another form: %s", name)
	}
}
