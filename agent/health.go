package agent

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/hooks"
	"github.com/davit-agent/davit/agent/pods"
	"github.com/davit-agent/davit/agent/probes"
	"github.com/davit-agent/davit/runtime/containerd"
	"github.com/davit-agent/davit/runtime/enter"
	"github.com/davit-agent/davit/runtime/oci"
	"github.com/davit-agent/davit/runtime/sandbox"
)

// doctors are what runs the probes and the hooks of pods' containers.
type doctors struct {
	probes *probes.Prober
	hooks  *hooks.Runner
	enter  *enter.Enterer // how their commands get into the containers
}

// newDoctors puts them together; nothing runs before Run.
func (a *Agent) newDoctors(m *metrics, wake func(uid string)) (doctors, error) {
	e, err := enter.New(enter.Config{
		Fallback: a.kernel.runtime, Specs: a.kernel.runtime, Helper: a.kernel.helper, OCIRuntime: a.cfg.Containerd.OCIRuntime,
		Dir: filepath.Join(a.cfg.RunDir, "enter"), CgroupParent: a.cfg.Cgroup.Root, Logger: a.log,
	})
	if err != nil {
		return doctors{}, err
	}
	dial := addrDialer{podDialer{a.kernel.sandboxes}}
	return doctors{
		enter:  e,
		probes: probes.New(probes.Config{Exec: e, Dial: dial, Wake: wake, Metrics: m, Logger: a.log, Now: time.Now}),
		hooks:  hooks.New(hooks.Config{Exec: e, Dial: dial, Wake: wake, Logger: a.log}),
	}, nil
}

// podRuntime is the runtime as pods sees it.
type podRuntime struct {
	*containerd.Client
	enter *enter.Enterer
}

// Delete implements runtime.Runtime.
func (r podRuntime) Delete(ctx context.Context, id string) error {
	err := r.Client.Delete(ctx, id)
	if err == nil {
		r.enter.Forget(id)
	}
	return err
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

// admission returns what tells why a pod cannot run on this node, in kubelet's
// words.
func admission(cfg Config, node oci.Node) (func(*v1.Pod) (reason, message string), error) {
	sysctls, err := sandbox.AllowSysctls(cfg.AllowedUnsafeSysctls)
	if err != nil {
		return nil, fmt.Errorf("allowedUnsafeSysctls: %w", err)
	}
	return func(pod *v1.Pod) (reason, message string) {
		if reason, message = sysctls.Admit(pod); reason != "" {
			return reason, message
		}
		return oci.AdmitAppArmor(pod, node.AppArmor)
	}, nil
}
