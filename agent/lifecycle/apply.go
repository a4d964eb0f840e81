package lifecycle

import (
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/lifecycle/retry"
)

const sigKill = "SIGKILL"

// Apply returns f with what became of s folded in. Failures of OpSetup,
// OpCreate, OpStart and OpSignal are recorded, which sets the time of the next
// try; those of the other steps are not, and the caller waits a little before
// it decides afresh.
func Apply(pod *v1.Pod, f Facts, s Step, r Result, now time.Time) Facts {
	f, now = clone(f), stamp(now)
	apply(pod, &f, s, r, now)
	return f
}

// apply is Apply in place; f must be a clone.
func apply(pod *v1.Pod, f *Facts, s Step, r Result, now time.Time) {
	if r.Pending {
		return
	}
	ok := r.Reason == ""
	switch s.Op {
	case OpRemove, OpTeardown, OpForget:
		if before := f.Cleanup; ok {
			f.Cleanup = nil
		} else {
			f.Cleanup = retry.After(before, r.Reason, r.Message, now)
		}
	}
	switch s.Op {
	case OpSetup:
		f.Sandbox.TornDown = false
		if !ok {
			f.Sandbox.Failure = retry.After(f.Sandbox.Failure, r.Reason, r.Message, now)
			return
		}
		f.Sandbox.ReadyAt, f.Sandbox.Failure, f.Sandbox.Used = now, nil, true
	case OpTeardown:
		if ok {
			f.Sandbox.ReadyAt, f.Sandbox.Failure, f.Sandbox.TornDown = time.Time{}, nil, true
		}
	case OpCreate:
		f.put(s.Container, applyCreate(f.Containers[s.Container], f.Sandbox.Generation, s, r, now))
	case OpStart, OpHook, OpSignal, OpRemove:
		cf := f.Containers[s.Container]
		if cf.Current == nil || cf.Current.Number != s.Attempt {
			return // a stray
		}
		f.put(s.Container, applyAttempt(cf, s, r, now))
		settle(pod, f, true, now)
	}
}

func applyCreate(cf ContainerFacts, gen uint32, s Step, r Result, now time.Time) ContainerFacts {
	if r.Reason != "" {
		cf.Failure = retry.After(cf.Failure, r.Reason, r.Message, now)
		return cf
	}
	cf.Failure = nil
	if cf.Current == nil || cf.Current.Number != s.Attempt {
		cf = succeed(cf, &Attempt{Number: s.Attempt, ID: s.ID, Generation: gen, CreatedAt: now})
	}
	a := cf.Current
	a.Starting = now
	if r.Image != "" {
		a.Image = r.Image
	}
	if r.ImageID != "" {
		a.ImageID = r.ImageID
	}
	if r.User != nil {
		a.User = r.User
	}
	return cf
}

func applyAttempt(cf ContainerFacts, s Step, r Result, now time.Time) ContainerFacts {
	a, ok := cf.Current, r.Reason == ""
	switch {
	case s.Op == OpStart && a.Exit != nil:
	case s.Op == OpStart && ok:
		cf.Failure = nil
		if a.Starting.IsZero() {
			a.Starting = now
		}
		if a.StartedAt.IsZero() {
			a.StartedAt = now
		}
	case s.Op == OpStart && r.Final:
		a.Exit = &Exit{Code: codeStartError, At: now, Reason: reasonStartError, Message: r.Message}
		cf.Failure = nil
		cf.BackOff = afterExit(cf.BackOff, a)
	case s.Op == OpHook:
		if ok {
			a.begin(s.Hook, now)
		}
	case s.Op == OpRemove:
		a.Removed = a.Removed || ok
	case !ok: // OpStart or OpSignal
		cf.Failure = retry.After(cf.Failure, r.Reason, r.Message, now)
	case s.Signal == sigKill:
		a.KillAt, cf.Failure = now, nil
	default:
		a.TermAt, cf.Failure = now, nil
	}
	return cf
}
