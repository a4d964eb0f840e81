package containerd

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/containerd/shim"
	"github.com/davit-agent/davit/test/testbed"
)

func chainID(diffIDs []digest.Digest) string { return identity.ChainID(diffIDs).String() }

func TestLifeOfAContainer(t *testing.T) {
	onEachDaemon(t, func(t *testing.T, n *node) {
		cfg := n.config("u1", "web", 0, "sh", "-c", "echo hello; echo oops >&2; podtool read /end 1h; exec podtool exit 42")
		n.create(cfg)
		n.create(cfg)
		if c := n.get(cfg.ID); c == nil || c.State != runtime.StateCreated || c.ContainerRef != cfg.ContainerRef ||
			c.ImageName != n.image.Name || c.ImageID != n.image.Identity() || c.CreatedAt.IsZero() {
			t.Fatalf("created container is %+v", c)
		}
		before := time.Now()
		n.start(cfg)
		n.start(cfg)
		c := n.get(cfg.ID)
		if c.State != runtime.StateRunning || c.Pid == 0 || c.StartedAt.Before(before) || c.StartedAt.After(time.Now()) {
			t.Fatalf("started container is %+v, started after %v", c, before)
		}
		group := n.c.groups.NameOf(cfg.ID)
		if _, err := os.Stat(shim.Address(n.Address, "davit", group)); err != nil {
			t.Errorf("shim's socket is not where it is looked for: %v", err)
		}
		n.create(cfg) // of what exists in any state
		code, err := n.c.Exec(t.Context(), cfg.ID, runtime.ExecConfig{Command: []string{"podtool", "write", "/end", "now"}})
		if err != nil || code != 0 {
			t.Fatalf("telling the container to end: code %d, error %v", code, err)
		}
		c = n.await(cfg.ID, runtime.StateExited)
		if c.Exit == nil || c.Exit.Code != 42 || c.Exit.OOMKilled || time.Since(c.Exit.At) > limit || c.Pid != 0 || c.StartedAt.Before(before) {
			t.Fatalf("exited container is %+v, exit %+v", c, c.Exit)
		}
		if err := n.c.Start(t.Context(), cfg.ID); !errors.Is(err, runtime.ErrExited) {
			t.Errorf("start of an exited container: %v", err)
		}
		if err := n.c.Signal(t.Context(), cfg.ID, 15); err != nil {
			t.Errorf("signal to an exited container: %v", err)
		}
		n.create(cfg)
		testbed.Poll(t, limit, func() string {
			out := n.pump.output(cfg.ID)
			if strings.Contains(out, "hello") && strings.Contains(out, "oops") {
				return ""
			}
			return "output is " + out
		})
		n.delete(cfg.ID, cfg.ID)
		if c := n.get(cfg.ID); c != nil {
			t.Errorf("deleted container is %+v", c)
		}
		for what, err := range map[string]error{
			"start":  n.c.Start(t.Context(), cfg.ID),
			"signal": n.c.Signal(t.Context(), cfg.ID, 9),
		} {
			if !errors.Is(err, runtime.ErrNotFound) {
				t.Errorf("%s of a deleted container: %v", what, err)
			}
		}
		n.noLeak()
	})
}

func TestDeleteInEveryState(t *testing.T) {
	onEachDaemon(t, func(t *testing.T, n *node) {
		created := n.config("u1", "created", 0, "podtool", "sleep")
		n.create(created)
		running := n.run("u2", "running", 0, "podtool", "ignore-term")
		objectOnly := n.config("u3", "half", 0, "podtool", "sleep")
		if _, err := n.c.createObject(n.c.withNS(t.Context()), objectOnly, defaultRuntime); err != nil {
			t.Fatal(err)
		}
		waiting := n.config("u4", "waiting", 0, "podtool", "sleep")
		n.create(waiting)
		e, _ := n.c.table.Get(waiting.ID)
		if err := n.c.createTask(n.c.withNS(t.Context()), e); err != nil {
			t.Fatal(err)
		}
		if c := n.get(waiting.ID); c.State != runtime.StateCreated {
			t.Errorf("container whose task waits is %+v", c)
		}
		n.delete(created.ID, running.ID, objectOnly.ID, waiting.ID)
		n.noLeak()
	})
}

func TestStartErrorsAreFinalAndClean(t *testing.T) {
	onEachDaemon(t, func(t *testing.T, n *node) {
		cases := map[string]struct {
			change func(*runtime.ContainerConfig)
			text   string
		}{
			"command": {func(c *runtime.ContainerConfig) { c.Spec.Process.Args = []string{"nosuch"} }, `exec: "nosuch": executable file not found in $PATH`},
			"mount": {func(c *runtime.ContainerConfig) {
				c.Spec.Mounts = append(c.Spec.Mounts, c.Spec.Mounts[0])
				m := &c.Spec.Mounts[len(c.Spec.Mounts)-1]
				m.Type, m.Source, m.Destination, m.Options = "bind", "/nosuch", "/x", []string{"bind"}
			}, "/nosuch"},
			"version": {func(c *runtime.ContainerConfig) { c.Spec.Process.Cwd = "relative" }, "absolute path"},
			"cwd":     {func(c *runtime.ContainerConfig) { c.Spec.Process.Cwd = "/bin/sh" }, "not a directory"},
		}
		for name, tc := range cases {
			cfg := n.config("u-"+name, "c", 0, "podtool", "sleep")
			tc.change(cfg)
			n.create(cfg)
			err := n.c.Start(t.Context(), cfg.ID)
			if !errors.Is(err, runtime.ErrStart) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("%s: error is %v, want ErrStart with %q", name, err, tc.text)
			}
			t.Logf("%s: %v", name, err)
			if c := n.get(cfg.ID); c == nil || c.State != runtime.StateCreated && c.State != runtime.StateUnknown {
				t.Errorf("%s: after a failed start the container is %+v", name, c)
			}
			n.delete(cfg.ID)
		}
		n.noLeak()
	})
}

func TestRootFSAndStdinAndTerminal(t *testing.T) {
	onEachDaemon(t, func(t *testing.T, n *node) {
		root := n.Path("initroot")
		for _, d := range []string{"bin", "proc", "dev"} {
			if err := os.MkdirAll(root+"/"+d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		data, err := os.ReadFile(testbed.Podtool(t))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(root+"/bin/podtool", data, 0o755); err != nil {
			t.Fatal(err)
		}
		init := n.config("u1", "", 0, "podtool", "write", "/bin/x", "y")
		init.Image, init.RootFS = nil, root
		n.create(init)
		n.start(init)
		if c := n.await(init.ID, runtime.StateExited); c.Exit.Code == 0 || c.Name != "" {
			t.Errorf("container wrote to its read-only root: %+v", c)
		}
		// Input stays open and silent: a reader of it goes on.
		in := n.config("u1", "in", 0, "podtool", "echo")
		in.Stdin = true
		n.create(in)
		n.start(in)
		tty := n.config("u1", "tty", 0, "sh", "-c", "test -t 1 && echo yes; sleep 1000")
		tty.Terminal, tty.Spec.Process.Terminal = true, true
		n.create(tty)
		n.start(tty)
		testbed.Poll(t, limit, func() string {
			if out := n.pump.output(tty.ID); !strings.Contains(out, "yes\r\n") {
				return "terminal says " + out
			}
			return ""
		})
		if c := n.get(in.ID); c.State != runtime.StateRunning {
			t.Errorf("container with an open input is %+v", c)
		}
		n.delete(init.ID, in.ID, tty.ID)
		n.noLeak()
	})
}

func TestOneShimForAPod(t *testing.T) {
	onEachDaemon(t, func(t *testing.T, n *node) {
		a := n.run("u1", "a", 0, "podtool", "sleep")
		b := n.run("u1", "b", 0, "podtool", "sleep")
		if ga, gb := n.c.groups.NameOf(a.ID), n.c.groups.NameOf(b.ID); ga != a.ID || gb != ga {
			t.Errorf("groups are %s and %s", ga, gb)
		}
		if n.shims() != 1 {
			t.Errorf("%d shims, want 1", n.shims())
		}
		n.delete(a.ID) // the founder; the other goes on
		a = n.run("u1", "a", 1, "podtool", "sleep")
		if n.shims() != 1 || n.get(b.ID).State != runtime.StateRunning {
			t.Errorf("%d shims, want 1, and %+v", n.shims(), n.get(b.ID))
		}
		// One that was created into a group which has ended since.
		c := n.config("u1", "c", 0, "podtool", "sleep")
		n.create(c)
		n.delete(a.ID, b.ID)
		n.start(c)
		if g := n.c.groups.NameOf(c.ID); g == a.ID || g == b.ID {
			t.Errorf("group %s was used again", g)
		}
		n.delete(c.ID)
		n.noLeak()
	})
}

// shims counts the shim processes of this node's daemon.
func (n *node) shims() int {
	return len(n.shimPids())
}

func (n *node) shimPids() []string {
	var pids []string
	procs, _ := os.ReadDir("/proc")
	for _, p := range procs {
		line, _ := os.ReadFile("/proc/" + p.Name() + "/cmdline")
		if strings.Contains(string(line), "containerd-shim") && strings.Contains(string(line), n.Address) {
			pids = append(pids, p.Name())
		}
	}
	return pids
}

func TestCreateRefuses(t *testing.T) {
	c, err := New(Config{Address: "/nonexistent/sock", RunDir: t.TempDir(), Logs: &pump{}, Runtimes: map[string]string{"kata": "x"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cfg := &runtime.ContainerConfig{ContainerRef: runtime.ContainerRef{ID: "x"}, Handler: "gvisor"}
	err = c.Create(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), `"gvisor"`) || !strings.Contains(err.Error(), "containerd.runtimes") {
		t.Errorf("unknown handler: %v", err)
	}
	for what, err := range map[string]error{
		"ready":  c.Ready(t.Context()),
		"start":  c.Start(t.Context(), "x"),
		"delete": c.Delete(t.Context(), "x"),
		"signal": c.Signal(t.Context(), "x", 9),
	} {
		if !errors.Is(err, runtime.ErrUnavailable) {
			t.Errorf("%s without a daemon: %v", what, err)
		}
	}
	if list, err := c.List(context.Background(), ""); !errors.Is(err, runtime.ErrUnavailable) || len(list) > 0 {
		t.Errorf("list without a daemon: %v, %v", list, err)
	}
}
