package pods

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/davit-agent/davit/agent/lifecycle"
	"github.com/davit-agent/davit/agent/lifecycle/mutable"
	"github.com/davit-agent/davit/agent/pods/record"
	"github.com/davit-agent/davit/runtime"
)

const (
	// maxRounds bounds how often one turn decides afresh before it lets go;
	// a pod of 50 containers needs about 100.
	maxRounds = 300
	// A turn that fails is tried again after retryMin, doubling to retryMax,
	// where the plan names no time of its own.
	retryMin = 200 * time.Millisecond
	retryMax = 10 * time.Second
)

// worker owns one pod. All fields but uid, origin, wake, active and shown belong to
// its goroutine; what others read of pod, they read with the lock of Pods held.
type worker struct {
	p    *Pods
	uid  string
	wake chan struct{}
	log  *slog.Logger

	// active: the pod is accepted and has not ended; others read it too.
	active atomic.Bool
	shown  atomic.Pointer[sight] // for Explain

	pod      *v1.Pod
	origin   string
	accepted bool // the record exists
	facts    lifecycle.Facts
	saved    []byte // facts.json as it is on disk; nil: not known

	// evict is why the pod is to be evicted; others set it.
	evict atomic.Pointer[string]

	looked   func() // called when the pod was looked at for the first time, or could not be
	waits    imageWaits
	upkeep   upkeep
	volumes  map[string]string // by volume name, once set up by this process
	cgroup   string            // of the pod, likewise
	reported *v1.PodStatus
	retry    time.Duration
	began    time.Time // when this process accepted the pod, for metrics
}

// run takes turns until ctx is cancelled or the pod is gone.
func (w *worker) run(ctx context.Context) (gone bool) {
	defer w.looked()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-w.wake:
		case <-timer.C:
		}
		again, gone := w.turn(ctx)
		if gone {
			return true
		}
		timer.Stop()
		if !again.IsZero() {
			timer.Reset(max(0, again.Sub(w.now())))
		}
	}
}

func (w *worker) now() time.Time { return w.p.d.Now() }

// turn brings the pod as far as it goes now. It returns when to look again
// (zero: when woken), and whether the pod is gone.
func (w *worker) turn(ctx context.Context) (next time.Time, gone bool) {
	defer w.looked()
	if !w.accepted {
		if _, wanted := w.p.d.Source.Get(w.uid); !wanted {
			return time.Time{}, true
		}
		if err := w.accept(ctx); err != nil {
			if ctx.Err() == nil {
				w.log.Warn("cannot accept the pod yet", "err", err)
			}
			return w.backOff(), false
		}
	}
	failed, again := false, time.Time{}
	for range maxRounds {
		if ctx.Err() != nil {
			return time.Time{}, false
		}
		in, err := w.look(ctx)
		if ctx.Err() != nil {
			return time.Time{}, false
		}
		if err != nil {
			w.log.Warn("cannot look at the pod", "err", err)
			return w.backOff(), false
		}
		plan := lifecycle.Decide(in)
		w.publish(in, nil)
		if w.upkeep.probed { // nobody may hear of what the next process would not know
			if err := w.flush(); err != nil {
				w.log.Warn("cannot record what probes have come to", "err", err)
			} else {
				w.upkeep.probed = false
			}
		}
		w.report(in)
		w.looked()
		w.p.d.Probes.Set(w.pod, w.podIP(), lifecycle.Probings(w.pod, w.facts))
		again = w.refresh(ctx)
		if len(plan.Steps) == 0 || failed {
			if err := w.flush(); err != nil {
				w.log.Warn("cannot record the pod's facts; trying again", "err", err)
				return w.backOff(), false
			}
			if len(plan.Steps) > 0 {
				return w.backOff(), false
			}
			w.retry = 0
			return sooner(plan.Again, again), false
		}
		if gone, failed = w.execute(ctx, in, plan); gone {
			return time.Time{}, true
		}
	}
	return w.backOff(), false
}

// sooner returns the earlier of two times, of which zero means never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// backOff returns when to try again what failed for want of something outside.
func (w *worker) backOff() time.Time {
	w.retry = min(max(2*w.retry, retryMin), retryMax)
	return w.now().Add(w.retry)
}

// accept gives the pod its addresses and its record.
func (w *worker) accept(ctx context.Context) error {
	w.began = w.now()
	f := lifecycle.Accept(w.pod, w.p.cfg.BootID, stamp(w.began))
	f.HostIPs = w.p.cfg.HostIPs
	if reason, message := w.p.cfg.Reject(w.pod); reason != "" {
		f = lifecycle.Reject(f, reason, message, w.began)
		w.log.Warn("pod is rejected", "reason", reason, "message", message)
	}
	err := w.p.admit(w)
	if err == nil && !w.pod.Spec.HostNetwork && f.Ended == nil {
		f.PodIPs, err = w.p.addrs.assign(w.uid, w.p.d.Network.Allocate)
	}
	if err == nil {
		err = w.p.store.Create(record.Entry{UID: w.uid, Pod: w.pod, Origin: w.origin, Facts: f})
	}
	if err != nil {
		w.unaccept()
		f.PodIPs = nil
		f.Sandbox.Failure = &lifecycle.Failure{Reason: lifecycle.ReasonAdmission, Message: err.Error(), At: stamp(w.began), Count: 1}
		w.facts = f
		in := lifecycle.Input{Pod: w.pod, Facts: f, Now: stamp(w.began)}
		w.publish(in, nil)
		w.report(in)
		return err
	}
	w.facts, w.accepted = f, true
	w.active.Store(f.Ended == nil)
	w.saved, _ = json.Marshal(f)
	w.p.setQoS()
	w.p.d.Metrics.Phase("record", w.now().Sub(w.began))
	w.log.Info("pod accepted", "origin", w.origin, "addresses", f.PodIPs)
	return nil
}

// unaccept undoes an acceptance that failed on the way. A record that cannot be
// removed keeps the addresses that stand in it.
func (w *worker) unaccept() {
	w.active.Store(false)
	if err := w.p.store.Withdraw(w.uid); err != nil {
		w.log.Warn("cannot withdraw the record of a pod that could not be accepted", "err", err)
		return
	}
	w.p.addrs.release(w.uid)
}

// look observes the pod and folds what it sees into the facts.
func (w *worker) look(ctx context.Context) (lifecycle.Input, error) {
	began := stamp(w.now())
	seen := lifecycle.Seen{
		BootID:    w.p.cfg.BootID,
		Pulling:   w.pulling(),
		ObjectsAt: w.upkeep.objects.note(w.p.d.Objects.Generation(), began),
		ImagesAt:  w.upkeep.images.note(w.p.d.Images.Generation(), began),
		Health:    w.p.d.Probes.Health(w.uid),
		Hooks:     w.p.d.Hooks.Seen(w.uid),
	}
	containers, err := w.p.d.Runtime.List(ctx, w.uid)
	switch {
	case errors.Is(err, runtime.ErrUnavailable):
		seen.RuntimeDown = true
	case err != nil:
		return lifecycle.Input{}, fmt.Errorf("listing containers: %w", err)
	}
	for _, c := range containers {
		if c.Name != "" { // the init of a shared PID namespace is the sandbox's
			seen.Containers = append(seen.Containers, c)
		}
	}
	_, err = w.p.d.Sandboxes.Inspect(ctx, w.uid)
	switch {
	case err == nil:
		seen.Sandbox = true
	case errors.Is(err, runtime.ErrUnavailable):
		seen.Sandbox = !w.facts.Sandbox.ReadyAt.IsZero()
	case !errors.Is(err, runtime.ErrNotFound):
		return lifecycle.Input{}, fmt.Errorf("inspecting the sandbox: %w", err)
	}
	now := stamp(w.now())
	w.follow()
	w.noteDeletion(now)
	if why := w.evict.Load(); why != nil && w.facts.Deletion == nil && w.facts.Evicted == nil {
		w.facts = lifecycle.Evict(w.facts, *why, now)
		w.log.Warn("pod is evicted", "why", *why)
	}
	before := w.facts
	w.facts = lifecycle.Observe(w.pod, w.facts, seen, now)
	w.noteExits(before)
	w.upkeep.probed = w.upkeep.probed || healthChanged(before, w.facts)
	w.releaseImages()
	return lifecycle.Input{Pod: w.pod, Facts: w.facts, Seen: seen, Now: now}, nil
}

// noteDeletion marks the pod for deletion once that was asked for, or its source
// has synced without it.
func (w *worker) noteDeletion(now time.Time) {
	grace := 30 * time.Second // core/v1 DefaultTerminationGracePeriodSeconds
	if s := w.pod.Spec.TerminationGracePeriodSeconds; s != nil {
		grace = time.Duration(*s) * time.Second
	}
	want, ok := w.p.d.Source.Get(w.uid)
	asked := ok && want.Pod.DeletionTimestamp != nil
	if asked && want.Pod.DeletionGracePeriodSeconds != nil {
		grace = time.Duration(*want.Pod.DeletionGracePeriodSeconds) * time.Second
	}
	var reason string
	switch d := w.facts.Deletion; {
	case d != nil && (!asked || grace >= d.Grace): // asked for again only to make it shorter
		return
	case asked:
		reason = "the pod's deletion was asked for"
	case ok && edited(w.pod, want.Pod):
		// The manifest names its UID itself. Other edits come as another UID.
		reason = "the pod's manifest was edited"
	case w.p.d.Source.Keep(w.uid, w.pod.Namespace, w.pod.Name, w.origin):
		return
	default:
		reason = "the source no longer has the pod"
	}
	before := w.facts.Deletion
	w.facts = lifecycle.RequestDeletion(w.facts, grace, reason, now)
	if before != nil && *before == *w.facts.Deletion {
		return
	}
	w.log.Info("pod is to be deleted", "why", reason, "origin", w.origin, "grace", grace)
}

// follow takes over what may change of a pod that runs.
func (w *worker) follow() {
	want, ok := w.p.d.Source.Get(w.uid)
	if !ok || want.Pod == w.pod || want.Pod == w.upkeep.followed || edited(w.pod, want.Pod) {
		return
	}
	pod, changed := mutable.Merge(w.pod, want.Pod)
	if !changed {
		w.upkeep.followed = want.Pod
		return
	}
	if err := w.p.store.SavePod(record.Entry{UID: w.uid, Pod: pod, Origin: w.origin}); err != nil {
		w.log.Warn("cannot record a change of the pod; it is taken over when that works", "err", err)
		return
	}
	w.p.mu.Lock()
	w.pod = pod
	w.p.mu.Unlock()
	w.upkeep.followed = want.Pod
	w.log.Info("the pod's spec has changed")
}

// podIP is the pod's primary address; invalid: it has none.
func (w *worker) podIP() netip.Addr {
	ips := w.facts.PodIPs
	if w.pod.Spec.HostNetwork {
		ips = w.facts.HostIPs
	}
	if len(ips) == 0 {
		return netip.Addr{}
	}
	return ips[0]
}

// edited tells whether two pods of the same UID come from different manifests.
func edited(have, want *v1.Pod) bool {
	const hash = "kubernetes.io/config.hash" // as kubelet annotates static pods
	a, b := have.Annotations[hash], want.Annotations[hash]
	return a != "" && b != "" && a != b
}

// noteExits completes newly seen exits with what the container left as its
// termination message.
func (w *worker) noteExits(before lifecycle.Facts) {
	for name, c := range w.facts.Containers {
		a := c.Current
		if a == nil || a.Exit == nil {
			continue
		}
		if b := before.Containers[name].Current; b == nil || b.ID != a.ID || b.Exit == nil {
			log := w.log.With("container", name, "attempt", a.Number, "exitCode", a.Exit.Code, "reason", a.Exit.Reason)
			log.Info("container exited")
			w.p.d.Hooks.Release(w.uid, a.ID)
		}
		w.noteMessage(name)
	}
}

// report tells the status if it changed.
func (w *worker) report(in lifecycle.Input) {
	status := lifecycle.Status(in)
	w.facts.Conditions = status.Conditions
	if w.facts.Ended != nil && w.active.Swap(false) {
		w.p.setQoS()
	}
	if w.reported != nil && equality.Semantic.DeepEqual(*w.reported, status) {
		return
	}
	if w.reported != nil && w.reported.Phase != status.Phase {
		w.log.Info("phase changed", "phase", status.Phase)
		if status.Phase == v1.PodRunning && !w.began.IsZero() {
			w.p.d.Metrics.Phase("running", w.now().Sub(w.began))
			w.began = time.Time{}
		}
	}
	w.reported = &status
	pod := w.pod.DeepCopy()
	pod.Status = status
	if pod.CreationTimestamp.IsZero() {
		pod.CreationTimestamp = metav1.NewTime(w.facts.Accepted)
	}
	if d := w.facts.Deletion; d != nil {
		at, grace := metav1.NewTime(d.At.Add(d.Grace)), int64(d.Grace/time.Second)
		pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds = &at, &grace
	}
	w.p.d.Report.Set(pod)
}

// flush makes the facts durable if they changed.
func (w *worker) flush() error {
	data, err := json.Marshal(w.facts)
	if err != nil {
		return fmt.Errorf("encoding facts of pod %s: %w", w.uid, err)
	}
	if bytes.Equal(data, w.saved) {
		return nil
	}
	if err := w.p.store.SaveFacts(w.uid, w.facts); err != nil {
		if w.facts.Deletion == nil {
			return err
		}
		// A deletion goes on without its record: the source's silence is
		// mark enough, and a full disk is often what is being cleaned up.
		w.log.Warn("cannot record the facts of a pod that is being deleted", "err", err)
		return nil
	}
	w.saved = data
	if !holdsAddresses(w.facts) { // not sooner: two records would have the same
		w.p.addrs.release(w.uid)
	}
	return nil
}

// stamp is now at the resolution that records and statuses keep.
func stamp(now time.Time) time.Time { return now.Round(0).UTC() }
