package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/containerd/hang"
	"github.com/davit-agent/davit/runtime/containerd/known"
	"github.com/davit-agent/davit/runtime/containerd/leftover"
	"github.com/davit-agent/davit/runtime/containerd/shimgroup"
	"github.com/davit-agent/davit/runtime/containerd/wake"
	"github.com/davit-agent/davit/test/testbed"
	"github.com/davit-agent/davit/test/testbed/fuse"
)

// wants fails unless err wraps ErrStuck and says all of it.
func wants(t *testing.T, what string, err error, texts ...string) {
	t.Helper()
	if !errors.Is(err, runtime.ErrStuck) {
		t.Errorf("%s: got %v, want that the container is stuck", what, err)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v does not say %q", what, err, text)
		}
	}
}

// lives has a container of another pod live its whole life beside what hangs.
func (n *node) lives(pod string) {
	n.t.Helper()
	cfg := n.run(pod, "c", 0, "podtool", "sleep")
	if code, err := n.c.Exec(n.t.Context(), cfg.ID, runtime.ExecConfig{Command: []string{"true"}}); err != nil || code != 0 {
		n.t.Errorf("exec beside what hangs: code %d, error %v", code, err)
	}
	if err := n.c.Signal(n.t.Context(), cfg.ID, unix.SIGKILL); err != nil {
		n.t.Errorf("signal beside what hangs: %v", err)
	}
	n.await(cfg.ID, runtime.StateExited)
	n.delete(cfg.ID)
}

// shimOf returns the pid of the shim of a container.
func (n *node) shimOf(id string) int {
	n.t.Helper()
	e, _ := n.c.table.Get(id)
	cgroups, err := leftover.Cgroups(e.Cgroup)
	if err != nil {
		n.t.Fatal(err)
	}
	s, ok := hang.FindShim(hang.ShimID{Address: n.Address, Namespace: n.c.cfg.Namespace, Group: n.c.groups.NameOf(id)}, cgroups)
	if !ok {
		n.t.Fatal("the container's shim is not found")
	}
	return s.Pid
}

// notStuck waits until nothing hangs for a container.
func (n *node) notStuck(id string) {
	n.t.Helper()
	testbed.Poll(n.t, limit, func() string {
		if c := n.get(id); c != nil {
			return c.Stuck
		}
		return "it is not there"
	})
}

// TestStoppedShim: a shim that does not answer holds up calls for its own
// container only, also when davit starts beside it.
func TestStoppedShim(t *testing.T) {
	onEachDaemon(t, func(t *testing.T, n *node) {
		cfg := n.run("u1", "c", 0, "podtool", "sleep")
		shim := n.shimOf(cfg.ID)
		if err := unix.Kill(shim, unix.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		freed := false
		free := func() {
			if !freed {
				freed = true
				_ = unix.Kill(shim, unix.SIGCONT)
			}
		}
		t.Cleanup(free)
		says := []string{fmt.Sprintf("its shim (pid %d) does not answer and is in state T (stopped)", shim)}
		for _, round := range []string{"seen to run", "davit restarted"} {
			c := n.get(cfg.ID)
			if c == nil || c.State != runtime.StateRunning || !strings.Contains(c.Stuck, says[0]) || c.StartedAt.IsZero() {
				t.Fatalf("%s: got %+v, want it to run and %q", round, c, says)
			}
			for range 3 {
				wants(t, round+": signal", n.c.Signal(t.Context(), cfg.ID, unix.SIGTERM), says...)
				wants(t, round+": delete", n.c.Delete(t.Context(), cfg.ID), says...)
				_, err := n.c.Exec(t.Context(), cfg.ID, runtime.ExecConfig{Command: []string{"true"}})
				wants(t, round+": exec", err, says...)
			}
			n.lives("beside " + round)
			if round == "seen to run" {
				n.stop()
				n.begin(cfg.ContainerRef)
			}
		}
		free()
		n.notStuck(cfg.ID)
		n.delete(cfg.ID)
		n.noLeak()
	})
}

// TestUnkillableProcess: one that hangs in a file system that does not answer is
// named, and goes by itself when the file system is gone.
func TestUnkillableProcess(t *testing.T) {
	onEachDaemon(t, func(t *testing.T, n *node) {
		n.c.hangs.patience = 3 * time.Second
		dir := t.TempDir()
		dead := fuse.Mount(t, dir)
		cfg := n.config("u1", "c", 0, "sh", "-c", "cat /dead/fine; exec cat /dead/hang")
		cfg.Spec.Mounts = append(cfg.Spec.Mounts, specs.Mount{Destination: "/dead", Type: "bind", Source: dir, Options: []string{"rbind"}})
		n.create(cfg)
		n.start(cfg)
		testbed.Poll(t, limit, func() string {
			at, _ := os.ReadFile(fmt.Sprintf("/proc/%d/wchan", n.get(cfg.ID).Pid))
			if strings.Contains(n.pump.output(cfg.ID), fuse.Fine) && strings.Contains(string(at), "request_wait_answer") {
				return ""
			}
			return "it does not read /dead/hang"
		})
		pid := n.get(cfg.ID).Pid
		if c := n.get(cfg.ID); c.Stuck != "" {
			t.Errorf("nobody has killed it, and it is called stuck: %s", c.Stuck)
		}
		says := []string{"the container was killed at ", fmt.Sprintf("process %d (cat) is in uninterruptible sleep (D) in ", pid), "request_wait_answer"}
		if err := n.c.Signal(t.Context(), cfg.ID, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		n.lives("u2")
		testbed.Poll(t, limit, func() string {
			if c := n.get(cfg.ID); c.State != runtime.StateRunning || c.Stuck == "" {
				return fmt.Sprintf("got %+v", c)
			}
			return ""
		})
		wants(t, "signal", n.c.Signal(t.Context(), cfg.ID, unix.SIGKILL), says...)
		wants(t, "list", fmt.Errorf("%w: %s", runtime.ErrStuck, n.get(cfg.ID).Stuck), says...)
		wants(t, "delete", n.c.Delete(t.Context(), cfg.ID), says...)
		n.lives("u3")
		dead.Lift()
		testbed.Poll(t, limit, func() string { // the deletion goes on behind, and may be done
			if c := n.get(cfg.ID); c != nil && (c.State != runtime.StateExited || c.Stuck != "" || c.Exit.Code != 128+int32(syscall.SIGKILL)) {
				return fmt.Sprintf("listed as %+v with %+v", c, c.Exit)
			}
			return ""
		})
		n.delete(cfg.ID)
		n.noLeak()
	})
}

// TestHangingOCIRuntime: starting a container whose OCI runtime does not return
// goes on behind its caller, once, and nothing is named but that.
func TestHangingOCIRuntime(t *testing.T) {
	runc := filepath.Join(t.TempDir(), "slow-runc")
	gate := runc + ".closed"
	script := fmt.Sprintf("#!/bin/sh\ncase \" $* \" in *\" create \"*) while [ -e %s ]; do sleep 0.1; done;; esac\nexec runc \"$@\"\n", gate)
	if err := os.WriteFile(runc, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	n := newNode(t, "", func(c *Config) { c.OCIRuntime = runc })
	n.c.hangs.patience = 2 * time.Second
	slow, fast := n.config("u1", "c", 0, "podtool", "sleep"), n.config("u2", "c", 0, "podtool", "sleep")
	n.create(slow)
	n.create(fast)
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	says := []string{"starting the container has been under way since ", "does not answer: it waits for slow-runc (pid "}
	for range 2 {
		wants(t, "start", n.c.Start(t.Context(), slow.ID), says...)
		wants(t, "delete", n.c.Delete(t.Context(), slow.ID), says...)
	}
	if c := n.get(slow.ID); c == nil || c.State != runtime.StateCreated || !strings.Contains(c.Stuck, says[1]) {
		t.Errorf("listed as %+v", c)
	}
	if err := os.Remove(gate); err != nil {
		t.Fatal(err)
	}
	// The start that went on behind is the one that succeeds.
	n.await(slow.ID, runtime.StateRunning)
	n.start(slow)
	n.start(fast)
	n.delete(slow.ID, fast.ID)
	n.noLeak()
}

// TestLateResultWakes: who gave up waiting hears of it when it is done.
func TestLateResultWakes(t *testing.T) {
	c := &Client{hangs: newHangs(), wakes: wake.New(), table: known.NewTable(), groups: shimgroup.New(1)}
	t.Cleanup(c.wakes.Close)
	c.table.Adopt(runtime.ContainerRef{ID: "id", Pod: runtime.PodRef{UID: "uid"}}, nil)
	c.hangs.patience = 10 * time.Millisecond
	hold := make(chan struct{})
	runs := 0
	f := func(context.Context) error { runs++; <-hold; return nil }
	for range 2 {
		wants(t, "call", c.detached(t.Context(), "id", "starting", f), "starting the container has been under way since ")
	}
	close(hold)
	select {
	case uid := <-c.wakes.C():
		if uid != "uid" || runs != 1 {
			t.Errorf("woke %q after %d runs", uid, runs)
		}
	case <-time.After(limit):
		t.Error("nobody is woken")
	}
	if err := c.detached(t.Context(), "id", "starting", f); err != nil || runs != 2 {
		t.Errorf("afterwards: %v after %d runs", err, runs)
	}
}
