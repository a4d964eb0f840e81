package pods

import (
	"context"
	"errors"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/cgroup/qos"
	"github.com/davit-agent/davit/runtime/oci"
)

// admit counts w among the node's pods if there is room for one more.
func (p *Pods) admit(w *worker) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, other := range p.workers {
		if other != w && other.active.Load() {
			n++
		}
	}
	if p.sweeping[w.uid] {
		return fmt.Errorf("what is left of an earlier pod with the UID %s is being removed", w.uid)
	}
	if p.cfg.MaxPods > 0 && n >= p.cfg.MaxPods {
		return fmt.Errorf("the node runs %d pods and maxPods is %d: the pod waits until one goes", n, p.cfg.MaxPods)
	}
	w.active.Store(true)
	return nil
}

// setQoS tells the cgroups what the burstable pods ask for together. What fails
// is tried again when a pod comes or goes, at the latest after relist.
func (p *Pods) setQoS() {
	p.qos.Lock() // so that the last sum is the last that is set
	defer p.qos.Unlock()
	p.mu.Lock()
	var milli int64
	for _, w := range p.workers {
		if w.active.Load() && qos.Class(w.pod) == v1.PodQOSBurstable {
			milli += qos.PodMilliCPU(w.pod)
		}
	}
	p.mu.Unlock()
	if err := p.d.Cgroups.SetQoS(milli); err != nil {
		p.d.Logger.Warn("cannot set the shares of the burstable cgroup", "err", err)
	}
}

// warnClamped says once that the node may not lower oom_score_adj as far as
// Kubernetes asks for.
func (p *Pods) warnClamped(pod *v1.Pod, c *v1.Container) {
	if adj, clamped := oci.OOMScoreAdj(pod, c, p.cfg.Node); clamped {
		p.clamped.Do(func() {
			p.d.Logger.Warn("davit may not lower oom_score_adj (no CAP_SYS_RESOURCE): containers that should be spared when memory runs out get the least value allowed", "oomScoreAdj", adj)
		})
	}
}

// orphanTime bounds the removal of one orphan.
const orphanTime = 30 * time.Second

// removeOrphan removes an object of uid unless that has a record, readable or
// not, or is about to get one. A pod of this UID that comes meanwhile is not
// admitted before remove returns, so what it makes is not taken from it.
// What hangs is given up after orphanTime, for the sake of the others.
func (p *Pods) removeOrphan(ctx context.Context, uid string, remove func(context.Context) error) error {
	p.mu.Lock()
	switch {
	case p.workers[uid] != nil || p.unreadable[uid]:
		p.mu.Unlock()
		return nil
	case p.sweeping[uid]:
		p.mu.Unlock()
		return fmt.Errorf("the directory of pod %s, which was never accepted or is gone, is still being removed", uid)
	}
	p.sweeping[uid] = true
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.sweeping, uid)
		p.mu.Unlock()
		p.wake(uid)
	}()
	ctx, cancel := context.WithTimeout(ctx, orphanTime)
	defer cancel()
	return remove(ctx)
}

// sweepOrphans removes what has no record, each time it is asked and once at
// the start. The record is written before the first object is made and removed
// after the last is gone, so the order list, then look for the record, never
// takes a living pod's object for an orphan.
func (p *Pods) sweepOrphans(ctx context.Context, ask <-chan struct{}) {
	for retry := time.Duration(0); ; {
		err := p.sweep(ctx)
		if ctx.Err() != nil {
			return
		}
		var again <-chan time.Time
		if err != nil {
			if !errors.Is(err, runtime.ErrUnavailable) {
				p.d.Logger.Warn("cannot remove all orphans yet", "err", err)
			}
			retry = min(max(2*retry, time.Second), relist)
			again = time.After(retry)
		} else {
			retry = 0
		}
		select {
		case <-ctx.Done():
			return
		case <-ask:
		case <-again:
		}
	}
}

// sweep removes orphans of every kind, containers first, and goes on after a
// failure. Without the runtime nothing is removed: what a running container
// stands on must stay.
func (p *Pods) sweep(ctx context.Context) error {
	containers, err := p.d.Runtime.List(ctx, "")
	if err != nil {
		return fmt.Errorf("listing containers: %w", err)
	}
	busy := map[string]bool{} // UIDs of which a container could not be removed
	var errs []error
	for _, c := range containers {
		if c.Pod.UID == "" {
			continue
		}
		if err := p.removeOrphan(ctx, c.Pod.UID, func(ctx context.Context) error {
			p.d.Logger.Info("removing an orphaned container", "pod", c.Pod.Namespace+"/"+c.Pod.Name, "uid", c.Pod.UID, "container", c.Name, "id", c.ID)
			return p.d.Runtime.Delete(ctx, c.ID)
		}); err != nil {
			busy[c.Pod.UID] = true
			errs = append(errs, err)
		}
	}
	for _, kind := range []struct {
		name   string
		list   func() ([]string, error)
		remove func(ctx context.Context, uid string) error
	}{
		{"network attachment", func() ([]string, error) { return p.d.Network.Attached(ctx) }, p.d.Network.Detach},
		{"sandbox", func() ([]string, error) { return p.d.Sandboxes.List(ctx) }, p.d.Sandboxes.Remove},
		{"cgroup", p.d.Cgroups.Pods, func(_ context.Context, uid string) error { return p.d.Cgroups.RemovePod(uid) }},
	} {
		uids, err := kind.list()
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, uid := range uids {
			if busy[uid] {
				continue
			}
			errs = append(errs, p.removeOrphan(ctx, uid, func(ctx context.Context) error {
				p.d.Logger.Info("removing an orphaned "+kind.name, "uid", uid)
				return kind.remove(ctx, uid)
			}))
		}
	}
	return errors.Join(append(errs, p.sweepLogs(ctx))...)
}

// sweepLogs closes log streams of containers that are not there.
func (p *Pods) sweepLogs(ctx context.Context) error {
	open, err := p.d.Logs.List(ctx)
	if err != nil {
		return err
	}
	if len(open) == 0 {
		return nil
	}
	// Listed after the streams: a stream is opened for a container object that exists.
	containers, err := p.d.Runtime.List(ctx, "")
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, c := range containers {
		there[c.ID] = true
	}
	var errs []error
	for _, id := range open {
		if !there[id] {
			lctx, cancel := context.WithTimeout(ctx, orphanTime)
			errs = append(errs, p.d.Logs.Close(lctx, id))
			cancel()
		}
	}
	return errors.Join(errs...)
}
