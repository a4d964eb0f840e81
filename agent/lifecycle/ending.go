package lifecycle

import (
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/lifecycle/restart"
)

// outcome tells whether the pod is over, so that no container of it is started
// any more, and how. It follows from recorded exits only, so it never changes
// back; sidecars may still run (Ended is set when they are gone).
func outcome(pod *v1.Pod, f *Facts) (phase v1.PodPhase, message string, over bool) {
	if f.Evicted != nil {
		return v1.PodFailed, f.Evicted.Message, true
	}
	if done, good := mainsDone(pod, f); done {
		if good {
			return v1.PodSucceeded, "", true
		}
		return v1.PodFailed, "", true
	}
	gen := f.Sandbox.Generation
	for _, m := range inits(pod) {
		a := f.Containers[m.Name].Current
		if m.kind == kindInit && a.in(gen) && a.Exit != nil && a.Exit.Code != 0 && !restartable(pod, m, a) {
			return v1.PodFailed, "", true
		}
	}
	if pod.Spec.RestartPolicy == v1.RestartPolicyNever {
		for _, m := range members(pod) {
			if a := f.Containers[m.Name].Current; m.kind != kindEphemeral && a.ran() && f.Sandbox.lost(a) {
				return v1.PodFailed, messageLost, true
			}
		}
	}
	return "", "", false
}

// mainsDone tells whether all main containers have exited for good, and whether
// all of them succeeded.
func mainsDone(pod *v1.Pod, f *Facts) (done, good bool) {
	good = true
	for _, m := range mains(pod) {
		a := f.Containers[m.Name].Current
		if a == nil || a.Exit == nil || wanted(pod, f, m) {
			return false, false
		}
		good = good && a.Exit.Code == 0
	}
	return len(pod.Spec.Containers) > 0, good
}

// settle sets Ended once nothing of a pod that is over, or deleted, is left
// alive. certain is false if there may be containers that f does not know of.
func settle(pod *v1.Pod, f *Facts, certain bool, now time.Time) {
	if f.Ended != nil {
		return
	}
	allGood := true
	for _, m := range members(pod) {
		a := f.Containers[m.Name].Current
		if a.running() || a.pending() {
			return
		}
		if m.kind == kindMain {
			allGood = allGood && a != nil && a.Exit != nil && a.Exit.Code == 0
		}
	}
	phase, message, over := outcome(pod, f)
	if !over {
		if f.Deletion == nil || !certain {
			return
		}
		phase, message = v1.PodFailed, ""
		if allGood && len(pod.Spec.Containers) > 0 {
			phase = v1.PodSucceeded
		}
	}
	f.Ended = &Ended{Phase: phase, Message: message, At: now}
	if f.Evicted != nil {
		f.Ended.Reason = f.Evicted.Reason
	}
}

// expire ends a pod that has been active for as long as it may. kubelet counts
// from status.startTime.
func expire(pod *v1.Pod, f *Facts, now time.Time) {
	t, limited := expiry(pod, f)
	if _, _, over := outcome(pod, f); over || !limited || now.Before(t) || f.Deletion != nil || f.Ended != nil {
		return
	}
	f.Evicted = &Eviction{At: now, Reason: reasonDeadline, Message: "Pod was active on the node longer than the specified deadline"}
}

// expiry returns when the pod has been active for as long as it may.
func expiry(pod *v1.Pod, f *Facts) (t time.Time, limited bool) {
	s := pod.Spec.ActiveDeadlineSeconds
	if s == nil || f.Accepted.IsZero() {
		return time.Time{}, false
	}
	return f.Accepted.Add(time.Duration(*s) * time.Second), true
}

// restartAll begins a new round if a container exited in a way that restarts
// all of its pod (KEP-5532).
func restartAll(pod *v1.Pod, f *Facts) {
	if f.Deletion != nil || f.Ended != nil || f.Evicted != nil {
		return
	}
	for _, m := range members(pod) {
		a := f.Containers[m.Name].Current
		if a.in(f.Sandbox.Generation) && a.Exit != nil && (a.Probed.Failed == nil || !restart.AfterStop(pod, m.Container)) && restart.All(m.Container, a.Exit.Code) {
			f.Sandbox.Generation++
			f.Sandbox.Rounds++
			return
		}
	}
}

// Reject returns f with the pod not taken on, in kubelet's words.
func Reject(f Facts, reason, message string, now time.Time) Facts {
	f = clone(f)
	f.Ended = &Ended{Phase: v1.PodFailed, Reason: reason, Message: "Pod was rejected: " + message, At: stamp(now), Rejected: true}
	f.Sandbox.TornDown = true
	return f
}

// Evict returns f with the pod to be ended by the node: its containers are
// stopped within a second, as kubelet does, and it is Failed for good. A pod that
// is over already stays as it is.
func Evict(f Facts, message string, now time.Time) Facts {
	if f.Evicted != nil || f.Ended != nil {
		return f
	}
	f = clone(f)
	f.Evicted = &Eviction{At: stamp(now), Reason: reasonEvicted, Message: message}
	return f
}

// RequestDeletion returns f with the pod's deletion asked for. A further
// request can only bring the deadline nearer.
func RequestDeletion(f Facts, grace time.Duration, reason string, now time.Time) Facts {
	f, now, grace = clone(f), stamp(now), max(grace, 0)
	if f.Deletion == nil {
		f.Deletion = &Deletion{At: now, Grace: grace, Reason: reason}
		return f
	}
	d := f.Deletion
	switch rest := now.Add(grace).Sub(d.At); {
	case grace == 0:
		d.Grace = 0
	case rest < d.Grace:
		d.Grace = max(rest, 1) // 0 is "at once", which was not asked for
	}
	return f
}

// Gone tells whether all that is left of a deleted pod is its record, so that
// OpForget is all there is to do.
func Gone(f Facts, seen Seen) bool {
	return f.Deletion != nil && f.Sandbox.TornDown && !seen.RuntimeDown && len(seen.Containers) == 0
}
