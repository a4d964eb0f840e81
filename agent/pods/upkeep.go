package pods

import (
	"context"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/lifecycle"
)

// limitsEvery is how often the pods' volumes are measured: kubelet's eviction
// manager has the same interval.
const limitsEvery = 10 * time.Second

// refreshTime bounds the refreshing of volumes. Only a volume that does not
// answer takes longer, and the pod's worker has other things to do.
const refreshTime = 5 * time.Second

// upkeep is what a worker has to do for a pod that runs, beside its plan.
type upkeep struct {
	written uint64    // Objects.Generation when the volumes' files were last written
	again   time.Time // when to try that again; zero: it worked
	objects change    // of Objects, as the worker noticed it
	images  change    // of Images
	// followed is what the source had of the pod when that was last looked at: it
	// hands out another one when something changes.
	followed *v1.Pod
	probed   bool // what probes have come to has changed and is not on record yet
}

// over tells whether a hook has ended.
func over(h *lifecycle.Hook) bool { return h != nil && !h.Ended.IsZero() }

// healthChanged tells whether what probes and hooks have come to differs between
// two states of a pod.
func healthChanged(a, b lifecycle.Facts) bool {
	for name, cf := range b.Containers {
		before, now := a.Containers[name].Current, cf.Current
		if now == nil || before == nil || now.ID != before.ID {
			continue
		}
		x, y := before.Probed, now.Probed
		if x.Started != y.Started || x.Ready != y.Ready || (x.Failed == nil) != (y.Failed == nil) ||
			over(before.PostStart) != over(now.PostStart) || over(before.PreStop) != over(now.PreStop) {
			return true
		}
	}
	return false
}

// change is when something was seen to have changed. A worker notices between
// two steps, so what a step failed for want of has changed after that step if it
// did not find it.
type change struct {
	generation uint64
	at         time.Time
	known      bool
}

// note returns when the generation last changed. One that is seen for the first
// time may have changed since whatever is on record. When the clock was set back,
// that is not in the future: every failure would seem to be older.
func (c *change) note(generation uint64, now time.Time) time.Time {
	if !c.known || c.generation != generation || c.at.After(now) {
		*c = change{generation: generation, at: now, known: true}
	}
	return c.at
}

// refresh brings the files of the pod's volumes up to date after ConfigMaps or
// Secrets changed. It returns when to try again what failed; zero: no need.
func (w *worker) refresh(ctx context.Context) time.Time {
	f := &w.facts
	if f.Sandbox.ReadyAt.IsZero() || f.Deletion != nil || f.Ended != nil || f.Evicted != nil || !refersToObjects(w.pod) {
		return time.Time{}
	}
	u, generation := &w.upkeep, w.p.d.Objects.Generation()
	switch {
	case generation != u.written:
	case w.now().Before(u.again):
		return u.again
	case w.volumes != nil && u.again.IsZero():
		return time.Time{}
	}
	u.written = generation
	sctx, cancel := context.WithTimeout(ctx, refreshTime)
	defer cancel()
	volumes, err := w.p.d.Volumes.Setup(sctx, w.filled(), w.p.store.Dir(w.uid))
	if err != nil {
		if u.again.IsZero() && ctx.Err() == nil {
			w.log.Warn("cannot bring the pod's volumes up to date; they stay as they are until that works", "err", err)
		}
		u.again = w.now().Add(retryMax)
		return u.again
	}
	w.volumes, u.again = volumes, time.Time{}
	return time.Time{}
}

// lookups notes whether something was not there.
type lookups struct {
	Objects
	missed bool
}

func (l *lookups) ConfigMap(namespace, name string) (*v1.ConfigMap, bool) {
	cm, ok := l.Objects.ConfigMap(namespace, name)
	l.missed = l.missed || !ok
	return cm, ok
}

func (l *lookups) Secret(namespace, name string) (*v1.Secret, bool) {
	s, ok := l.Objects.Secret(namespace, name)
	l.missed = l.missed || !ok
	return s, ok
}

// refersToObjects tells whether a volume of the pod follows something that may
// change while it runs.
func refersToObjects(pod *v1.Pod) bool {
	return slices.ContainsFunc(pod.Spec.Volumes, func(v v1.Volume) bool {
		return v.ConfigMap != nil || v.Secret != nil || v.Projected != nil
	})
}

// filled returns the pod with what the downward API shows of it.
func (w *worker) filled() *v1.Pod {
	pod := w.pod.DeepCopy()
	if pod.Spec.NodeName == "" {
		pod.Spec.NodeName = w.p.cfg.NodeName
	}
	s := lifecycle.Status(lifecycle.Input{Pod: w.pod, Facts: w.facts, Now: stamp(w.now())})
	pod.Status.PodIP, pod.Status.PodIPs = s.PodIP, s.PodIPs
	pod.Status.HostIP, pod.Status.HostIPs = s.HostIP, s.HostIPs
	return pod
}

// keepLimits has pods evicted that put more into their volumes than they may.
func (p *Pods) keepLimits(ctx context.Context) {
	tick := time.NewTicker(limitsEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for w, pod := range p.limited() {
			message, err := p.d.Volumes.OverLimit(ctx, pod, p.store.Dir(w.uid))
			switch {
			case err != nil && ctx.Err() == nil:
				w.log.Warn("cannot measure the pod's volumes", "err", err)
			case message != "":
				w.evict.Store(&message)
				wake(w.wake)
			}
		}
	}
}

// limited returns the workers, and their pods, that have a volume on disk with a limit.
func (p *Pods) limited() map[*worker]*v1.Pod {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[*worker]*v1.Pod{}
	for _, w := range p.workers {
		if w.active.Load() && slices.ContainsFunc(w.pod.Spec.Volumes, hasLimit) {
			out[w] = w.pod
		}
	}
	return out
}

// hasLimit tells whether somebody has to look after the volume's size: that of
// other media is the kernel's to keep.
func hasLimit(v v1.Volume) bool {
	return v.EmptyDir != nil && v.EmptyDir.SizeLimit != nil && v.EmptyDir.Medium == v1.StorageMediumDefault && v.EmptyDir.SizeLimit.Sign() > 0
}
