package agent

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/downward"
	"github.com/davit-agent/davit/agent/pods"
	"github.com/davit-agent/davit/agent/server"
	"github.com/davit-agent/davit/agent/server/wire"
	"github.com/davit-agent/davit/agent/source"
	"github.com/davit-agent/davit/agent/volumes"
	"github.com/davit-agent/davit/agent/volumes/subpath"
	"github.com/davit-agent/davit/network"
	"github.com/davit-agent/davit/network/ns"
	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/logs"
)

// desired is source.Set as pods sees it.
type desired struct{ *source.Set }

func (d desired) Get(uid string) (pods.Desired, bool) {
	p, ok := d.Set.Get(uid)
	if !ok {
		return pods.Desired{}, false
	}
	return pods.Desired{Pod: p.Pod, Origin: p.Origin}, true
}

func (d desired) List() []pods.Desired {
	var out []pods.Desired
	for _, p := range d.Set.List() {
		out = append(out, pods.Desired{Pod: p.Pod, Origin: p.Origin})
	}
	return out
}

// problems is source.Set as the server sees it.
type problems struct{ *source.Set }

func (p problems) Problems() []wire.Problem {
	var out []wire.Problem
	for _, q := range p.Set.Problems() {
		message := q.Message
		if q.Warning { // what it is about is used all the same
			message = "warning: " + message
		}
		out = append(out, wire.Problem{File: q.File, Line: q.Line, Object: q.Object, Field: q.Field, Message: message})
	}
	return out
}

// attachments is network.Network as pods sees it. It remembers what it gave last
// so that an address rests before it is used again.
type attachments struct {
	n     *network.Network
	cidrs []netip.Prefix

	mu   sync.Mutex
	last []netip.Addr
}

func (a *attachments) Allocate(used func(netip.Addr) bool) ([]netip.Addr, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	addrs, err := network.Allocate(a.cidrs, used, a.last)
	if err == nil {
		a.last = addrs
	}
	return addrs, err
}

func (a *attachments) Attach(ctx context.Context, uid, netns string, addrs []netip.Addr) error {
	return a.n.Attach(ctx, network.Endpoint{UID: uid, NetNS: netns, Addrs: addrs})
}

func (a *attachments) Detach(ctx context.Context, uid string) error { return a.n.Detach(ctx, uid) }

func (a *attachments) Attached(ctx context.Context) ([]string, error) { return a.n.Attached(ctx) }

// podVolumes is package volumes as pods sees it.
type podVolumes struct{ *volumes.Maker }

// newVolumes makes volumes out of what the sources have.
func newVolumes(set *source.Set, allocatable v1.ResourceList) podVolumes {
	return podVolumes{volumes.New(volumes.Config{
		Objects: set, Settled: set.Settled, Field: downward.Field, Resource: downward.Resource,
		Allocatable: func() v1.ResourceList { return allocatable },
	})}
}

func (v podVolumes) Setup(ctx context.Context, pod *v1.Pod, dir string) (map[string]string, error) {
	mounts, err := v.Maker.Setup(ctx, pod, dir)
	if err != nil {
		return nil, err
	}
	paths := make(map[string]string, len(mounts))
	for name, m := range mounts {
		paths[name] = m.HostPath
	}
	return paths, nil
}

func (podVolumes) SubPath(ctx context.Context, req pods.SubPathRequest) (string, error) {
	return volumes.SubPath(ctx, req.Dir, subpath.Mount{
		Volume: req.Volume, Path: req.HostPath, Container: req.Container, Index: req.Index, SubPath: req.Path,
	})
}

// measureTime bounds the measuring of one pod's volumes: what has been seen by
// then is judged.
const measureTime = 20 * time.Second

func (podVolumes) OverLimit(ctx context.Context, pod *v1.Pod, dir string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, measureTime)
	defer cancel()
	used, err := volumes.Measure(ctx, pod, dir)
	return volumes.OverLimit(pod, used), err
}

// logStreamer is the log pump's client as the server sees it.
type logStreamer struct{ c *logs.Client }

// Stream implements server.LogStreamer.
func (l logStreamer) Stream(ctx context.Context, req server.LogRequest, stdout, stderr io.Writer) error {
	return l.c.Stream(ctx, logs.StreamOptions(req), stdout, stderr)
}

// podDialer reaches the ports of pods from inside their network namespaces.
type podDialer struct{ sandboxes runtime.Sandboxes }

// Dial implements server.Dialer.
func (d podDialer) Dial(ctx context.Context, podUID string, port uint16) (net.Conn, error) {
	sb, err := d.sandboxes.Inspect(ctx, podUID)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, addr := range []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()} {
		conn, err := dialIn(ctx, sb.NetNS, netip.AddrPortFrom(addr, port))
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// dialIn connects in the namespace at path, or on the host for "".
func dialIn(ctx context.Context, path string, addr netip.AddrPort) (net.Conn, error) {
	if path == "" {
		return new(net.Dialer).DialContext(ctx, "tcp", addr.String())
	}
	return ns.DialTCP(ctx, path, addr)
}
