package lifecycle

import (
	"time"

	v1 "k8s.io/api/core/v1"
)

// kind tells what a container's end and restart mean for its pod.
type kind int

const (
	kindMain    kind = iota // in spec.containers
	kindInit                // runs to completion before what stands after it
	kindSidecar             // an init container with restartPolicy Always
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
		if c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways {
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

// members returns all containers of the spec: inits, then mains.
func members(pod *v1.Pod) []member { return append(inits(pod), mains(pod)...) }

// restartable tells whether m is run again, sooner or later, after it exited
// with code while its pod lives.
func restartable(pod *v1.Pod, m member, code int32) bool {
	if m.kind == kindSidecar {
		return true
	}
	policy := pod.Spec.RestartPolicy
	if m.RestartPolicy != nil {
		policy = v1.RestartPolicy(*m.RestartPolicy)
	}
	switch {
	case policy == v1.RestartPolicyNever:
		return false
	case m.kind == kindInit, policy == v1.RestartPolicyOnFailure:
		return code != 0
	}
	return true
}

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
	case m.kind != kindMain && !a.in(f.Sandbox.Generation):
		return true // initialisation is repeated in a new sandbox
	}
	return restartable(pod, m, a.Exit.Code)
}
