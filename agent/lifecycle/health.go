package lifecycle

import (
	"time"

	v1 "k8s.io/api/core/v1"
)

// Probing is a running attempt of a container that has probes, with what is
// recorded of them: where whoever probes has to begin.
type Probing struct {
	Container string
	ID        string    // of the attempt
	StartedAt time.Time // initialDelaySeconds counts from it
	Started   bool      // its startup probe has succeeded, or it has none
	Ready     bool      // as its readiness probe has it
	// Stopping: it is being stopped; only its readiness is still of interest.
	Stopping bool
}

// Probings returns what of the pod is to be probed, in the order of the spec.
// A container whose postStart hook runs has not started yet, as kubelet has it.
func Probings(pod *v1.Pod, f Facts) []Probing {
	var out []Probing
	_, _, over := outcome(pod, &f)
	stopping := over || f.Deletion != nil || f.Ended != nil
	for _, m := range members(pod) {
		a := f.Containers[m.Name].Current
		if m.StartupProbe == nil && m.LivenessProbe == nil && m.ReadinessProbe == nil || !a.running() || m.starting(a) {
			continue
		}
		out = append(out, Probing{
			Container: m.Name, ID: a.ID, StartedAt: a.StartedAt,
			Started: m.started(a), Ready: a.Probed.Ready,
			Stopping: stopping || a.stopsAlone() || !a.stopBegan().IsZero(),
		})
	}
	return out
}

// Health is what the probes of one attempt have come to.
type Health struct {
	ID      string // of the attempt
	Started bool   // the startup probe has succeeded, or there is none
	Ready   bool   // the readiness probe's result; true where there is none, once Started
	// Failed is set when the liveness or the startup probe has failed as often
	// as it may: the attempt is to be stopped.
	Failed *Unhealthy
}

// Unhealthy is a probe that has failed for good.
type Unhealthy struct {
	Probe   string    `json:"probe"` // liveness or startup
	Message string    `json:"message"`
	At      time.Time `json:"at"`
}

// HookKind is one of the two hooks of a container's lifecycle.
type HookKind string

// The hooks.
const (
	PostStart HookKind = "postStart"
	PreStop   HookKind = "preStop"
)

// HookSeen is a hook of one attempt that was begun by this process.
type HookSeen struct {
	ID   string // of the attempt
	Kind HookKind
	Done bool
	// Failure is why it failed, in kubelet's words; "" while it runs, and when
	// it succeeded.
	Failure string
}
