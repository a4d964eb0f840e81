package agent

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"sync"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/hooks"
	"github.com/davit-agent/davit/agent/pods"
	"github.com/davit-agent/davit/agent/probes"
	"github.com/davit-agent/davit/runtime"
)

// doctors are what runs the probes and the hooks of pods' containers.
type doctors struct {
	probes *probes.Prober
	hooks  *hooks.Runner
}

// newDoctors puts them together; nothing runs before Run.
func (a *Agent) newDoctors(m *metrics, wake func(uid string)) doctors {
	exec, dial := commands{a.kernel.runtime}, podDialer{a.kernel.sandboxes}
	return doctors{
		probes: probes.New(probes.Config{Exec: exec, Dial: addrDialer{dial}, Wake: wake, Metrics: m, Logger: a.log}),
		hooks:  hooks.New(hooks.Config{Exec: exec, Dial: addrDialer{dial}, Wake: wake, Logger: a.log}),
	}
}

func (d doctors) runProbes(ctx context.Context) error { d.probes.Run(ctx); return nil }

func (d doctors) runHooks(ctx context.Context) error { d.hooks.Run(ctx); return nil }

// podHooks is hooks.Runner as pods sees it.
type podHooks struct{ *hooks.Runner }

func (h podHooks) Begin(r pods.HookRequest) {
	h.Runner.Begin(hooks.Request{
		UID: string(r.Pod.UID), ID: r.ID, Kind: r.Kind, Pod: r.Pod, Container: r.Container, PodIP: r.PodIP, Deadline: r.Deadline,
	})
}

// addrDialer connects to any address from inside a pod's network namespace.
type addrDialer struct{ podDialer }

func (d addrDialer) Dial(ctx context.Context, podUID string, addr netip.AddrPort) (net.Conn, error) {
	sb, err := d.sandboxes.Inspect(ctx, podUID)
	if err != nil {
		return nil, err
	}
	return dialIn(ctx, sb.NetNS, addr)
}

// commands runs commands in containers for their output.
type commands struct{ runtime runtime.Runtime }

// Exec implements probes.Execer and hooks.Execer.
func (c commands) Exec(ctx context.Context, containerID string, command []string, limit int) (int, []byte, error) {
	out := &firstBytes{limit: limit}
	code, err := c.runtime.Exec(ctx, containerID, runtime.ExecConfig{Command: command, Stdout: out, Stderr: out})
	return code, out.bytes(), err
}

// firstBytes keeps the first bytes of what is written to it, and takes the rest.
type firstBytes struct {
	limit int

	mu  sync.Mutex
	buf bytes.Buffer
}

func (f *firstBytes) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.buf.Write(p[:min(len(p), max(0, f.limit-f.buf.Len()))])
	return len(p), nil
}

func (f *firstBytes) bytes() []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return bytes.Clone(f.buf.Bytes())
}

// admission tells why a pod cannot run on this node.
func (a *Agent) admission(*v1.Pod) (reason, message string) { return "", "" }
