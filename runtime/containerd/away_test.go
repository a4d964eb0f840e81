package containerd

import (
	"errors"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/test/testbed"
)

// endings are the ways in which the containers of a test end, and what must be
// said of them.
var endings = []struct {
	name string
	args []string
	kill bool
	want runtime.Exit
}{
	{name: "zero", args: []string{"podtool", "exit", "0", "3s"}, want: runtime.Exit{Code: 0}},
	{name: "code", args: []string{"podtool", "exit", "42", "3s"}, want: runtime.Exit{Code: 42}},
	{name: "kill", args: []string{"podtool", "ignore-term"}, kill: true, want: runtime.Exit{Code: 137}},
	{name: "oom", args: []string{"sh", "-c", "sleep 3; exec podtool oom"}, want: runtime.Exit{Code: 137, OOMKilled: true}},
	{name: "stays", args: []string{"podtool", "sleep"}},
}

// runEndings starts one container of each ending, in two pods.
func (n *node) runEndings() []*runtime.ContainerConfig {
	n.t.Helper()
	var all []*runtime.ContainerConfig
	for i, e := range endings {
		cfg := n.config("pod"+strconv.Itoa(i%2), e.name, 0, e.args...)
		if e.name == "oom" {
			limit := int64(32 << 20)
			cfg.Spec.Linux.Resources = memoryLimit(limit)
		}
		n.create(cfg)
		n.start(cfg)
		all = append(all, cfg)
	}
	return all
}

// end has those containers end that do not by themselves, past davit and
// containerd, and waits until all have.
func (n *node) end(pids map[string]uint32) {
	n.t.Helper()
	for _, e := range endings {
		pid := int(pids[e.name])
		if e.kill {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				n.t.Fatal(err)
			}
		}
		if e.name == "stays" {
			continue
		}
		testbed.Poll(n.t, limit, func() string {
			if err := syscall.Kill(pid, 0); errors.Is(err, os.ErrProcessDone) || errors.Is(err, syscall.ESRCH) {
				return ""
			}
			return "container " + e.name + " still runs"
		})
	}
}

func (n *node) pids(all []*runtime.ContainerConfig) map[string]uint32 {
	pids := map[string]uint32{}
	for _, cfg := range all {
		pids[cfg.Name] = n.get(cfg.ID).Pid
	}
	return pids
}

func (n *node) refs(all []*runtime.ContainerConfig) []runtime.ContainerRef {
	var refs []runtime.ContainerRef
	for _, cfg := range all {
		refs = append(refs, cfg.ContainerRef)
	}
	return refs
}

// checkEndings compares what List says with what happened.
func (n *node) checkEndings(all []*runtime.ContainerConfig, unknown bool) {
	n.t.Helper()
	for i, e := range endings {
		want := runtime.StateExited
		if e.name == "stays" {
			want = runtime.StateRunning
		} else if unknown {
			want = runtime.StateUnknown
		}
		c := n.await(all[i].ID, want)
		if want == runtime.StateExited && (c.Exit.Code != e.want.Code || c.Exit.OOMKilled != e.want.OOMKilled || time.Since(c.Exit.At) > limit) {
			n.t.Errorf("exit of %s is %+v, want %+v", e.name, *c.Exit, e.want)
		}
	}
}

func (n *node) deleteAll(all []*runtime.ContainerConfig) {
	n.t.Helper()
	for _, cfg := range all {
		n.delete(cfg.ID)
	}
}

func TestExitsWhileDaemonIsAway(t *testing.T) {
	onEachDaemon(t, func(t *testing.T, n *node) {
		all := n.runEndings()
		pids := n.pids(all)
		n.Containerd.Kill()
		drain(n.c)
		n.end(pids)
		n.checkEndings(all, false)
		woken := map[string]bool{}
		testbed.Poll(t, limit, func() string {
			for uid := range drain(n.c) {
				woken[uid] = true
			}
			if woken["pod0-"+n.ID] && woken["pod1-"+n.ID] {
				return ""
			}
			return "not all pods were woken"
		})
		if err := n.c.Ready(t.Context()); !errors.Is(err, runtime.ErrUnavailable) {
			t.Errorf("ready without a daemon: %v", err)
		}
		n.startDaemon()
		n.checkEndings(all, false)
		n.deleteAll(all)
		n.noLeak()
	})
}

func drain(c *Client) map[string]bool {
	got := map[string]bool{}
	for {
		select {
		case uid := <-c.Events():
			got[uid] = true
		case <-time.After(50 * time.Millisecond):
			return got
		}
	}
}

func TestExitsWhileAgentIsAway(t *testing.T) {
	onEachDaemon(t, func(t *testing.T, n *node) {
		all := n.runEndings()
		pids := n.pids(all)
		n.stop()
		n.end(pids)
		n.begin(n.refs(all)...)
		n.checkEndings(all, false)
		n.deleteAll(all)
		n.noLeak()
	})
}

func TestExitsWhileBothAreAway(t *testing.T) {
	for name, bin := range daemons(t) {
		for _, first := range []string{"agent", "daemon"} {
			t.Run(name+" "+first+" first", func(t *testing.T) {
				n := newNode(t, bin, nil)
				all := n.runEndings()
				pids := n.pids(all)
				n.Containerd.Kill()
				n.stop()
				n.end(pids)
				if first == "agent" {
					// The shims know, whatever the daemon does when it comes.
					n.begin(n.refs(all)...)
					n.checkEndings(all, false)
					n.startDaemon()
					n.checkEndings(all, false)
				} else {
					n.Containerd.Start()
					n.begin(n.refs(all)...)
					// containerd 2 has thrown the stopped tasks away.
					n.checkEndings(all, name == "2.x")
				}
				n.deleteAll(all)
				n.noLeak()
			})
		}
	}
}

func TestDaemonRestartsWithStoppedTasks(t *testing.T) {
	onEachDaemon(t, func(t *testing.T, n *node) {
		all := n.runEndings()
		n.end(n.pids(all))
		n.checkEndings(all, false)
		n.Containerd.Stop()
		n.startDaemon()
		n.checkEndings(all, false)
		created := n.config("pod2", "c", 0, "podtool", "sleep")
		n.create(created)
		n.Containerd.Stop()
		n.startDaemon()
		n.await(created.ID, runtime.StateUnknown)
		n.start(created)
		n.await(created.ID, runtime.StateRunning)
		n.deleteAll(append(all, created))
		n.noLeak()
	})
}

func TestShimDies(t *testing.T) {
	onEachDaemon(t, func(t *testing.T, n *node) {
		a := n.run("u1", "a", 0, "podtool", "sleep")
		b := n.run("u1", "b", 0, "podtool", "sleep")
		for _, pid := range n.shimPids() {
			p, _ := strconv.Atoi(pid)
			if err := syscall.Kill(p, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
		// The daemon kills what the shim leaves and says so.
		for _, cfg := range []*runtime.ContainerConfig{a, b} {
			if c := n.await(cfg.ID, runtime.StateExited); c.Exit.Code != 137 {
				t.Errorf("exit is %+v", c.Exit)
			}
		}
		n.delete(a.ID, b.ID)

		// The same with nobody there: the daemon cleans up when it starts.
		a = n.run("u2", "a", 0, "podtool", "sleep")
		n.stop()
		n.Containerd.Kill()
		for _, pid := range n.shimPids() {
			p, _ := strconv.Atoi(pid)
			if err := syscall.Kill(p, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
		n.begin(a.ContainerRef)
		if c := n.get(a.ID); c == nil || c.State != runtime.StateUnknown {
			t.Errorf("container whose shim died while nobody looked is %+v", c)
		}
		n.startDaemon()
		n.await(a.ID, runtime.StateUnknown)
		n.delete(a.ID)
		n.noLeak()
	})
}
