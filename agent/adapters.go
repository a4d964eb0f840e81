package agent

import (
	"context"
	"io"
	"net/netip"
	"sync"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/pods"
	"github.com/davit-agent/davit/agent/server/wire"
	"github.com/davit-agent/davit/agent/source"
	"github.com/davit-agent/davit/agent/volumes"
	"github.com/davit-agent/davit/network"
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
		out = append(out, wire.Problem{File: q.File, Line: q.Line, Object: q.Object, Field: q.Field, Message: q.Message})
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
type podVolumes struct{}

func (podVolumes) Setup(ctx context.Context, pod *v1.Pod, dir string) (map[string]string, error) {
	mounts, err := volumes.Setup(ctx, pod, dir)
	if err != nil {
		return nil, err
	}
	paths := make(map[string]string, len(mounts))
	for name, m := range mounts {
		paths[name] = m.HostPath
	}
	return paths, nil
}

func (podVolumes) Teardown(ctx context.Context, dir string) error { return volumes.Teardown(ctx, dir) }

// logStreamer is the log pump's client as the server sees it.
type logStreamer struct{ c *logs.Client }

// Stream implements server.LogStreamer.
//
// budget: the shape of that interface
func (l logStreamer) Stream(ctx context.Context, id, path string, follow, timestamps bool, stdout, stderr io.Writer) error {
	return l.c.Stream(ctx, logs.StreamOptions{ID: id, Path: path, Follow: follow, Timestamps: timestamps}, stdout, stderr)
}
