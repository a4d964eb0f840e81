package lifecycle

import (
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/lifecycle/restart"
)

// kind tells what a container's end and restart mean for its pod.
type kind int

const (
	kindMain      kind = iota // in spec.containers
	kindInit                  // runs to completion before what stands after it
	kindSidecar               // an init container with restartPolicy Always
	kindEphemeral             // added to a running pod; runs once
)

// member is a container of the spec with its kind.
type member struct {
	*v1.Container
	kind kind
}

// inits returns the init containers and sidecars in the order of the spec.
func inits(pod *v1.Pod) []member {
	ms := make([]member, 0, len(pod.Spec.InitContainers))
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		k := kindInit
		if restart.Sidecar(c) {
			k = kindSidecar
		}
		ms = append(ms, member{c, k})
	}
	return ms
}

// mains returns the main containers in the order of the spec.
func mains(pod *v1.Pod) []member {
	ms := make([]member, 0, len(pod.Spec.Containers))
	for i := range pod.Spec.Containers {
		ms = append(ms, member{&pod.Spec.Containers[i], kindMain})
	}
	return ms
}

// ephemerals returns the ephemeral containers in the order of the spec.
func ephemerals(pod *v1.Pod) []member {
	var ms []member
	for i := range pod.Spec.EphemeralContainers {
		ms = append(ms, member{(*v1.Container)(&pod.Spec.EphemeralContainers[i].EphemeralContainerCommon), kindEphemeral})
	}
	return ms
}

// members returns all containers of the spec: inits, then mains, then ephemeral
// ones.
func members(pod *v1.Pod) []member {
	return append(append(inits(pod), mains(pod)...), ephemerals(pod)...)
}

// restartable tells whether m is run again, sooner or later, after a, its
// current attempt, exited while its pod lives.
func restartable(pod *v1.Pod, m member, a *Attempt) bool {
	switch {
	case m.kind == kindEphemeral:
		return false
	case m.kind == kindSidecar:
		return true
	case m.kind == kindInit && a.Exit.Code == 0:
		return false
	case a.Probed.Failed != nil && restart.AfterStop(pod, m.Container):
		return true
	}
	return restart.AfterExit(pod, m.Container, a.Exit.Code)
}

// startFailed: its postStart hook failed, so it is to be stopped.
func (a *Attempt) startFailed() bool { return a.PostStart != nil && a.PostStart.Failure != "" }

// specGrace is the pod's own grace period, for stops that nobody asked for.
func specGrace(pod *v1.Pod) time.Duration {
	if s := pod.Spec.TerminationGracePeriodSeconds; s != nil {
		return time.Duration(*s) * time.Second
	}
	return v1.DefaultTerminationGracePeriodSeconds * time.Second
}

// running: its process was started and has not been seen to end.
func (a *Attempt) running() bool {
	return a != nil && a.Exit == nil && !a.Removed && !a.StartedAt.IsZero()
}

// pending: there is a container, but as far as is known no process yet.
func (a *Attempt) pending() bool {
	return a != nil && a.Exit == nil && !a.Removed && a.StartedAt.IsZero()
}

// void: removed before it was ever started.
func (a *Attempt) void() bool { return a != nil && a.Exit == nil && a.Removed }

// begun: its process was meant to exist, so it may have.
func (a *Attempt) begun() bool {
	return a != nil && !a.void() && (!a.Starting.IsZero() || !a.StartedAt.IsZero())
}

// ran: its process existed, or there will be no telling any more.
func (a *Attempt) ran() bool { return a != nil && (a.Exit != nil || !a.StartedAt.IsZero()) }

// in: it belongs to the sandbox of generation gen.
func (a *Attempt) in(gen uint32) bool { return a != nil && !a.void() && a.Generation == gen }

// next is the number of the attempt that follows a.
func (a *Attempt) next() uint32 {
	if a == nil {
		return 0
	}
	return a.Number + 1
}

// wanted tells whether m is to get an attempt after its current one, now or
// later, provided that the pod lives.
func wanted(pod *v1.Pod, f *Facts, m member) bool {
	a := f.Containers[m.Name].Current
	switch {
	case a == nil || a.void():
		return true
	case a.Exit == nil:
		return false
	case m.kind == kindEphemeral:
		return false
	case !a.in(f.Sandbox.Generation) && (m.kind != kindMain || !f.Sandbox.lost(a)):
		return true // initialisation is repeated in a new sandbox, and all is when a rule says so
	}
	return restartable(pod, m, a)
}

// lost tells whether the sandbox of a was lost.
func (s *SandboxFacts) lost(a *Attempt) bool { return a.Generation < s.Generation-s.Rounds }

// used tells whether the pod ever had a sandbox. Records of before Used was there
// tell by what ran.
func (s *SandboxFacts) used(pod *v1.Pod, f *Facts) bool {
	if s.Used || !s.ReadyAt.IsZero() || s.Generation > 0 {
		return true
	}
	return slices.ContainsFunc(members(pod), func(m member) bool { return f.Containers[m.Name].Current != nil })
}

// settled: it runs, and its postStart hook, if any, has succeeded.
func (m member) settled(a *Attempt) bool {
	return a.running() && (!m.hooked(PostStart) || a.PostStart != nil && !a.PostStart.Ended.IsZero() && a.PostStart.Failure == "")
}

// hooked tells whether m has a hook of that kind.
func (m member) hooked(kind HookKind) bool {
	switch l := m.Lifecycle; {
	case l == nil:
		return false
	case kind == PostStart:
		return l.PostStart != nil
	default:
		return l.PreStop != nil
	}
}

// hook returns the record of a hook; nil: it was not begun.
func (a *Attempt) hook(kind HookKind) *Hook {
	if kind == PostStart {
		return a.PostStart
	}
	return a.PreStop
}

// begin notes that a hook was begun, unless that is on record.
func (a *Attempt) begin(kind HookKind, now time.Time) {
	if a.hook(kind) != nil {
		return
	}
	if h := (&Hook{Began: now}); kind == PostStart {
		a.PostStart = h
	} else {
		a.PreStop = h
	}
}

// started: it is settled and its startup probe, if any, has succeeded.
func (m member) started(a *Attempt) bool {
	return m.settled(a) && (m.StartupProbe == nil || a.Probed.Started)
}
