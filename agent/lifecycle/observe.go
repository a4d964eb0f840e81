package lifecycle

import (
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/lifecycle/podstatus"
	"github.com/davit-agent/davit/runtime"
)

const (
	messageTerminated = "The container could not be located when the pod was terminated"
	messageLost       = "The pod's sandbox was lost after its containers had started, and its restart policy is Never"
)

// Accept returns the first facts of a pod.
func Accept(pod *v1.Pod, bootID string, now time.Time) Facts {
	f := Facts{Format: runtime.FormatVersion, BootID: bootID, Accepted: stamp(now)}
	for _, c := range pod.Status.Conditions {
		if podstatus.Ours(c.Type) { // their transition times are kept
			f.Conditions = append(f.Conditions, c)
		}
	}
	return f
}

// Observe returns f with seen folded in: starts, exits, losses, adoptions.
func Observe(pod *v1.Pod, f Facts, seen Seen, now time.Time) Facts {
	f, now = clone(f), stamp(now)
	rebooted := observeSandbox(pod, &f, seen)
	byName := make(map[string][]*runtime.Container)
	for i := range seen.Containers {
		c := &seen.Containers[i]
		byName[c.Name] = append(byName[c.Name], c)
	}
	absent := absence{certain: !seen.RuntimeDown, rebooted: rebooted}
	for _, m := range members(pod) {
		cf, known := f.Containers[m.Name]
		if known && cf.Current != nil {
			f.put(m.Name, observeAttempt(cf, find(byName[m.Name], cf.Current.Number), absent, now))
		}
		if c := find(byName[m.Name], f.Containers[m.Name].Current.next()); c != nil && adoptable(pod, &f, m, c) {
			cf = adopt(f.Containers[m.Name], c, f.Sandbox.Generation)
			f.put(m.Name, observeAttempt(cf, c, absent, now))
		}
	}
	observeHealth(&f, seen, now)
	expire(pod, &f, now)
	restartAll(pod, &f)
	settle(pod, &f, !seen.RuntimeDown, now)
	return f
}

// observeHealth folds in what probes and hooks have come to. What has failed
// for good stays so for the attempt.
func observeHealth(f *Facts, seen Seen, now time.Time) {
	for name, h := range seen.Health {
		if a := f.Containers[name].Current; a.running() && a.ID == h.ID {
			a.Probed.Started = a.Probed.Started || h.Started
			a.Probed.Ready = h.Ready
			if a.Probed.Failed == nil {
				a.Probed.Failed = copyOf(h.Failed)
			}
		}
	}
	for _, cf := range f.Containers {
		for _, h := range seen.Hooks {
			if a := cf.Current; a != nil && a.ID == h.ID {
				a.begin(h.Kind, now)
				if r := a.hook(h.Kind); h.Done && r.Ended.IsZero() {
					r.Ended, r.Failure = now, h.Failure
				}
			}
		}
	}
}

// observeSandbox notes the loss of the sandbox, which starts a new generation,
// and tells whether the machine was rebooted since.
func observeSandbox(pod *v1.Pod, f *Facts, seen Seen) (rebooted bool) {
	rebooted = f.BootID != "" && seen.BootID != "" && f.BootID != seen.BootID
	if seen.BootID != "" {
		f.BootID = seen.BootID
	}
	used := !f.Sandbox.ReadyAt.IsZero()
	// With the runtime away nothing could be done about a lost namespace, and
	// what looks like one may be the same trouble: it is looked at again later.
	lost := used && !seen.Sandbox && !seen.RuntimeDown
	for _, m := range members(pod) {
		used = used || f.Containers[m.Name].Current != nil
	}
	if f.Ended != nil || !lost && !(rebooted && used) {
		return rebooted
	}
	f.Sandbox = SandboxFacts{Generation: f.Sandbox.Generation + 1, Used: f.Sandbox.Used}
	for name, cf := range f.Containers {
		cf.BackOff = BackOff{}
		f.Containers[name] = cf
	}
	return rebooted
}

func find(cs []*runtime.Container, number uint32) *runtime.Container {
	for _, c := range cs {
		if c.Attempt == number {
			return c
		}
	}
	return nil
}

// absence is what it means that a container was not seen.
type absence struct {
	certain  bool // it is not there
	rebooted bool // whatever ran is dead
}

// observeAttempt folds c, which is cf's current attempt as it was seen or nil,
// into cf.
func observeAttempt(cf ContainerFacts, c *runtime.Container, absent absence, now time.Time) ContainerFacts {
	a := cloneAttempt(cf.Current)
	cf.Current = a
	if a.Exit != nil || a.Removed {
		a.Removed = a.Removed || c == nil && absent.certain
		return cf
	}
	unknown := &Exit{Code: codeUnknown, At: now, Reason: reasonStatusUnknown, Message: messageTerminated}
	switch {
	case c == nil:
		if a.begun() && (absent.certain || absent.rebooted) {
			a.Exit, a.Removed = unknown, absent.certain
		}
	case c.State == runtime.StateRunning:
		if a.StartedAt.IsZero() {
			a.StartedAt, cf.Failure = stampOr(c.StartedAt, now), nil
		}
		if a.Starting.IsZero() {
			a.Starting = a.StartedAt
		}
	case c.State == runtime.StateExited:
		if a.StartedAt.IsZero() && !c.StartedAt.IsZero() {
			a.StartedAt = stamp(c.StartedAt)
		}
		a.Exit = exitOf(c, unknown, now)
	case c.State == runtime.StateCreated && a.StartedAt.IsZero() && !absent.rebooted:
		// Not started yet; that Starting is set only tells that it was meant.
	default:
		if a.begun() {
			a.Exit = unknown
		}
	}
	if a.Exit != nil {
		cf.Failure = nil
		cf.BackOff = afterExit(cf.BackOff, a)
	}
	return cf
}

func exitOf(c *runtime.Container, unknown *Exit, now time.Time) *Exit {
	if c.Exit == nil {
		return unknown
	}
	x := &Exit{Code: c.Exit.Code, At: stampOr(c.Exit.At, now), Reason: reasonError}
	switch {
	case c.Exit.OOMKilled:
		x.Reason = reasonOOMKilled
	case x.Code == 0:
		x.Reason = reasonCompleted
	}
	return x
}

func stampOr(t, now time.Time) time.Time {
	if t.IsZero() {
		return now
	}
	return stamp(t)
}

// adoptable tells whether a container that bears the number of m's next attempt
// is that attempt: made by a davit that did not live to record it. One that does
// not run and was made for a sandbox that is not recorded is not worth it.
func adoptable(pod *v1.Pod, f *Facts, m member, c *runtime.Container) bool {
	if _, _, over := outcome(pod, f); over || f.Ended != nil {
		return false
	}
	return wanted(pod, f, m) && (!f.Sandbox.ReadyAt.IsZero() || c.State == runtime.StateRunning)
}

func adopt(cf ContainerFacts, c *runtime.Container, gen uint32) ContainerFacts {
	return succeed(cf, &Attempt{
		Number:     c.Attempt,
		ID:         c.ID,
		Generation: gen,
		Image:      c.ImageName,
		ImageID:    c.ImageID,
		CreatedAt:  stamp(c.CreatedAt),
	})
}

// succeed makes a the current attempt in place of the one before.
func succeed(cf ContainerFacts, a *Attempt) ContainerFacts {
	if before := cf.Current; before != nil {
		if before.Exit != nil {
			cf.Last = before
		}
		cf.RestartCount++
	}
	cf.Current = a
	return cf
}

// WithMessage returns f with the termination message of the named container's
// current attempt set, if it has exited and has no message yet. The worker
// calls it with what it read before the exit is made durable.
func WithMessage(f Facts, container, message string) Facts {
	cf := f.Containers[container]
	if message == "" || cf.Current == nil || cf.Current.Exit == nil || cf.Current.Exit.Message != "" {
		return f
	}
	f = clone(f)
	f.Containers[container].Current.Exit.Message = message
	return f
}
