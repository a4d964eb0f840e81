package fake_test

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/fake"
	"github.com/davit-agent/davit/runtime/runtimetest"
)

const image = "example.com/tool:1"

// harness is a fake node for the suite.
type harness struct {
	node *fake.Node
	rt   *fake.Runtime
	how  fake.Restarted
}

func (h *harness) Runtime() runtime.Runtime { return h.rt }
func (h *harness) StopAgent()               { h.rt.Close() }
func (h *harness) StartAgent()              { h.rt = h.node.Runtime() }
func (h *harness) StopDaemon()              { h.node.StopDaemon() }
func (h *harness) StartDaemon()             { h.node.StartDaemon(h.how) }
func (h *harness) Image() string            { return image }
func (h *harness) Leaks() []string          { return h.node.Left() }

// Heeds: a fake program heeds signals from its start.
func (h *harness) Heeds(runtime.Container) bool { return true }
func (h *harness) Kill(c runtime.Container)     { h.node.Signal(c.ID, syscall.SIGTERM) }

func (h *harness) Config(ref runtime.ContainerRef, img *runtime.Image, args []string) *runtime.ContainerConfig {
	return config(ref, img, args...)
}

func config(ref runtime.ContainerRef, img *runtime.Image, args ...string) *runtime.ContainerConfig {
	return &runtime.ContainerConfig{
		ContainerRef: ref, Image: img, Log: runtime.LogStream{Path: "/log/" + ref.ID},
		Spec: &specs.Spec{Process: &specs.Process{Args: args, Cwd: "/"}},
	}
}

func TestContract(t *testing.T) {
	for name, how := range map[string]fake.Restarted{"keeping": fake.KeepStopped, "losing": fake.LoseStopped} {
		t.Run(name, func(t *testing.T) {
			runtimetest.Run(t, func(t *testing.T) runtimetest.Harness {
				n := fake.New(t)
				n.AddImage(&runtime.Image{Name: image, ID: "sha256:1"})
				return &harness{n, n.Runtime(), how}
			})
		})
	}
}

// complaints is a test that is expected to fail.
type complaints struct{ said []string }

func (c *complaints) Helper() {}
func (c *complaints) Errorf(format string, args ...any) {
	c.said = append(c.said, fmt.Sprintf(format, args...))
}

func ref(pod, name string, attempt uint32) runtime.ContainerRef {
	return runtime.ContainerRef{Pod: runtime.PodRef{UID: pod}, Name: name, Attempt: attempt,
		ID: runtime.ContainerID(pod, name, attempt)}
}

func TestImpossibleThingsFailTheTest(t *testing.T) {
	img := &runtime.Image{Name: image, ID: "sha256:1"}
	for want, do := range map[string]func(n *fake.Node, rt *fake.Runtime){
		"has the ID": func(_ *fake.Node, rt *fake.Runtime) {
			cfg := config(ref("u", "c", 0), img, "x")
			cfg.ID = "mine"
			_ = rt.Create(t.Context(), cfg)
		},
		"ran before and is made again": func(_ *fake.Node, rt *fake.Runtime) {
			cfg := config(ref("u", "c", 0), img, "x")
			for range 2 {
				_ = rt.Create(t.Context(), cfg)
				_ = rt.Start(t.Context(), cfg.ID)
				_ = rt.Delete(t.Context(), cfg.ID)
			}
		},
		"is made before its sandbox": func(n *fake.Node, rt *fake.Runtime) {
			n.Sandboxes()
			_ = rt.Create(t.Context(), config(ref("u", "c", 0), img, "x"))
		},
		"is removed before container u/c/0": func(n *fake.Node, rt *fake.Runtime) {
			_ = rt.Create(t.Context(), config(ref("u", "c", 0), img, "x"))
			_ = n.Sandboxes().Remove(t.Context(), "u")
		},
		"in another shape": func(n *fake.Node, _ *fake.Runtime) {
			_, _ = n.Sandboxes().Ensure(t.Context(), &runtime.SandboxConfig{Pod: runtime.PodRef{UID: "u"}})
			_, _ = n.Sandboxes().Ensure(t.Context(), &runtime.SandboxConfig{Pod: runtime.PodRef{UID: "u"}, HostNetwork: true})
		},
		"is mended while u/c/0 runs": func(n *fake.Node, rt *fake.Runtime) {
			box := &runtime.SandboxConfig{Pod: runtime.PodRef{UID: "u"}}
			_, _ = n.Sandboxes().Ensure(t.Context(), box)
			cfg := config(ref("u", "c", 0), img, "x")
			_ = rt.Create(t.Context(), cfg)
			_ = rt.Start(t.Context(), cfg.ID)
			n.DamageSandbox("u")
			_, _ = n.Sandboxes().Ensure(t.Context(), box)
		},
		"of another pod": func(n *fake.Node, rt *fake.Runtime) {
			_, _ = n.Sandboxes().Ensure(t.Context(), &runtime.SandboxConfig{Pod: runtime.PodRef{UID: "u"}})
			other, _ := n.Sandboxes().Ensure(t.Context(), &runtime.SandboxConfig{Pod: runtime.PodRef{UID: "v"}})
			cfg := config(ref("u", "c", 0), img, "x")
			cfg.Spec.Linux = &specs.Linux{Namespaces: []specs.LinuxNamespace{{Type: specs.NetworkNamespace, Path: other.NetNS}}}
			_ = rt.Create(t.Context(), cfg)
		},
		"are closed while it runs": func(n *fake.Node, rt *fake.Runtime) {
			cfg := config(ref("u", "c", 0), img, "x")
			_ = rt.Create(t.Context(), cfg)
			_ = rt.Start(t.Context(), cfg.ID)
			_ = n.Logs().Close(t.Context(), cfg.ID)
		},
		"is ended, which does not run":     func(n *fake.Node, _ *fake.Runtime) { n.End("none", runtime.Exit{}) },
		"is signalled, which does not run": func(n *fake.Node, _ *fake.Runtime) { n.Signal("none", syscall.SIGTERM) },
		"while it runs":                    func(n *fake.Node, _ *fake.Runtime) { n.StartDaemon(fake.KeepStopped) },
		"is adopted under":                 func(_ *fake.Node, rt *fake.Runtime) { rt.Adopt([]runtime.ContainerRef{{ID: "x"}}) },
	} {
		var c complaints
		n := fake.New(&c)
		n.AddImage(img)
		do(n, n.Runtime())
		if len(c.said) != 1 || !strings.Contains(c.said[0], want) || !strings.Contains(c.said[0], "daemon up") {
			t.Errorf("want one complaint with %q and a picture of the node, got %q", want, c.said)
		}
	}
}

func TestFaults(t *testing.T) {
	n := fake.New(t)
	n.AddImage(&runtime.Image{Name: image, ID: "sha256:1"})
	rt := n.Runtime()
	boom := errors.New("boom")
	n.Fail(fake.Fault{Op: "create", Nth: 2, Err: boom})
	n.Fail(fake.Fault{Op: "start", Nth: 1, Err: boom, After: true})
	img, err := rt.Image(t.Context(), image)
	if err != nil {
		t.Fatal(err)
	}
	a, b := config(ref("u", "a", 0), img, "x"), config(ref("u", "b", 0), img, "x")
	if err := rt.Create(t.Context(), a); err != nil {
		t.Errorf("the first create: %v", err)
	}
	if err := rt.Create(t.Context(), b); !errors.Is(err, boom) {
		t.Errorf("the second create: %v", err)
	}
	if err := rt.Start(t.Context(), a.ID); !errors.Is(err, boom) {
		t.Errorf("start: %v", err)
	}
	list, err := rt.List(t.Context(), "u")
	if err != nil || len(list) != 1 || list[0].State != runtime.StateRunning {
		t.Errorf("after a fault that came after the effect: %+v, %v", list, err)
	}
	if got := strings.Join(n.Calls(), ", "); got != "image example.com/tool:1, create u/a/0, !create u/b/0, !start u/a/0, list u" {
		t.Errorf("calls: %s", got)
	}
	n.Fail(fake.Fault{Op: "list", Err: boom})
	for range 3 {
		if _, err := rt.List(t.Context(), ""); !errors.Is(err, boom) {
			t.Errorf("list: %v", err)
		}
	}
	n.Heal()
	if err := rt.Delete(t.Context(), a.ID); err != nil {
		t.Error(err)
	}
	if left := n.Left(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestLostExits: an exit that nobody saw is unknown when the daemon forgot it.
func TestLostExits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := fake.New(t)
		n.AddImage(&runtime.Image{Name: image, ID: "sha256:1"})
		rt := n.Runtime()
		r := ref("u", "c", 0)
		cfg := config(r, &runtime.Image{Name: image}, "/bin/podtool", "exit", "42", "1h")
		if err := errors.Join(rt.Create(t.Context(), cfg), rt.Start(t.Context(), r.ID)); err != nil {
			t.Fatal(err)
		}
		n.StopDaemon()
		rt.Close()
		time.Sleep(2 * time.Hour)
		n.StartDaemon(fake.LoseStopped)
		rt = n.Runtime()
		list, err := rt.List(t.Context(), "")
		if err != nil || len(list) != 1 || list[0].State != runtime.StateUnknown {
			t.Errorf("list: %+v, %v", list, err)
		}
		if err := rt.Start(t.Context(), r.ID); !errors.Is(err, runtime.ErrExited) {
			t.Errorf("start of what ran: %v, want ErrExited", err)
		}
		if err := rt.Signal(t.Context(), r.ID, syscall.SIGTERM); err != nil {
			t.Errorf("signal: %v", err)
		}
	})
}
