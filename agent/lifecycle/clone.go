package lifecycle

import (
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
)

// clone returns a copy of f that shares nothing with it that can be changed.
func clone(f Facts) Facts {
	f.PodIPs = slices.Clone(f.PodIPs)
	f.HostIPs = slices.Clone(f.HostIPs)
	f.Sandbox.Failure = copyOf(f.Sandbox.Failure)
	containers := make(map[string]ContainerFacts, len(f.Containers))
	for name, c := range f.Containers {
		c.Current, c.Last = cloneAttempt(c.Current), cloneAttempt(c.Last)
		c.Failure = copyOf(c.Failure)
		containers[name] = c
	}
	f.Containers = nil
	if len(containers) > 0 {
		f.Containers = containers
	}
	f.Deletion = copyOf(f.Deletion)
	f.Ended = copyOf(f.Ended)
	f.Evicted = copyOf(f.Evicted)
	f.Cleanup = copyOf(f.Cleanup)
	f.Conditions = cloneConditions(f.Conditions)
	return f
}

func cloneAttempt(a *Attempt) *Attempt {
	a = copyOf(a)
	if a != nil {
		a.Exit = copyOf(a.Exit)
		a.PostStart, a.PreStop = copyOf(a.PostStart), copyOf(a.PreStop)
		a.Probed.Failed = copyOf(a.Probed.Failed)
		if a.User = copyOf(a.User); a.User != nil {
			a.User.Groups = slices.Clone(a.User.Groups)
		}
	}
	return a
}

func cloneConditions(cs []v1.PodCondition) []v1.PodCondition {
	return slices.Clone(cs) // its elements hold values only
}

func copyOf[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

// put stores c; f must be a clone.
func (f *Facts) put(name string, c ContainerFacts) {
	if f.Containers == nil {
		f.Containers = make(map[string]ContainerFacts)
	}
	f.Containers[name] = c
}

// stamp is t as it comes back from JSON: in UTC and without a monotonic reading.
func stamp(t time.Time) time.Time { return t.UTC().Round(0) }
