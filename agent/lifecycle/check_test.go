package lifecycle

import (
	"slices"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/runtime"
)

func (w *world) kindOf(name string) (member, int) {
	w.t.Helper()
	for i, m := range members(w.pod) {
		if m.Name == name {
			return m, i
		}
	}
	w.t.Fatalf("there is no container %q", name)
	return member{}, 0
}

// live tells whether some container of the pod runs.
func (w *world) live(which func(*simContainer) bool) bool {
	for _, c := range w.conts {
		if c.State == runtime.StateRunning && (which == nil || which(c)) {
			return true
		}
	}
	return false
}

// check fails on a step that must not be taken in this state of the world.
func (w *world) check(s Step) {
	w.t.Helper()
	c := w.conts[s.ID]
	if s.Op != OpSetup && s.Op != OpTeardown && s.Op != OpForget && s.Op != OpRemove {
		if want := runtime.ContainerID(string(w.pod.UID), s.Container, s.Attempt); s.ID != want {
			w.t.Fatalf("%s: ID %s", line(s), s.ID)
		}
	}
	if w.down {
		w.t.Fatalf("%s with the runtime down", line(s))
	}
	switch s.Op {
	case OpSetup:
		if w.live(func(c *simContainer) bool { return c.era != w.era }) {
			w.t.Fatalf("setup while containers of the lost sandbox run")
		}
		w.mustLive(s)
	case OpCreate:
		w.mustLive(s)
		w.kindOf(s.Container)
		if !w.sandbox {
			w.t.Fatalf("%s without a sandbox", line(s))
		}
		for _, o := range w.conts {
			if o.Name == s.Container && o.ID != s.ID {
				w.t.Fatalf("%s beside attempt %d", line(s), o.Attempt)
			}
		}
		m, at := w.kindOf(s.Container)
		for i, before := range inits(w.pod) {
			// Once a main container was made, nothing waits for a sidecar again.
			first := i < at && m.kind != kindEphemeral && !slices.ContainsFunc(members(w.pod), func(m member) bool {
				return w.facts.Containers[m.Name].Current.in(w.facts.Sandbox.Generation) && slices.ContainsFunc(members(w.pod)[i+1:], func(o member) bool { return o.Name == m.Name && o.kind != kindEphemeral })
			})
			if b := w.facts.Containers[before.Name].Current; first && c == nil && before.kind == kindSidecar && b.running() && !before.started(b) {
				w.t.Fatalf("%s before sidecar %s has started", line(s), before.Name)
			}
		}
	case OpStart:
		w.mustLive(s)
		w.checkStart(s, c)
	case OpSignal:
		if c == nil {
			w.t.Fatalf("%s: there is no such container", line(s))
		}
		if c.State == runtime.StateRunning {
			w.mayDie(s, c)
		}
	case OpRemove:
		w.checkRemove(s, c)
	case OpTeardown, OpForget:
		if len(w.conts) > 0 {
			w.t.Fatalf("%s with containers left", s.Op)
		}
		if s.Op == OpForget && (w.partly || w.facts.Deletion == nil) {
			w.t.Fatalf("forget too early")
		}
		if s.Op == OpTeardown && w.facts.Deletion == nil && w.facts.Ended == nil {
			w.t.Fatalf("teardown of a pod that lives")
		}
	}
}

func (w *world) mustLive(s Step) {
	w.t.Helper()
	if w.facts.Deletion != nil || w.facts.Ended != nil {
		w.t.Fatalf("%s for a pod that is deleted or has ended", line(s))
	}
}

func (w *world) checkStart(s Step, c *simContainer) {
	w.t.Helper()
	if c == nil || c.State != runtime.StateCreated && c.State != runtime.StateUnknown {
		w.t.Fatalf("%s: no such container to start: %+v", line(s), c)
	}
	if !w.sandbox || c.era != w.era {
		w.t.Fatalf("%s into a sandbox that is lost", line(s))
	}
	d := w.durable().Containers[s.Container].Current
	if d == nil || d.Number != s.Attempt || d.Starting.IsZero() {
		w.t.Fatalf("%s: that it starts is not durable", line(s))
	}
	m, at := w.kindOf(s.Container)
	policy := w.pod.Spec.RestartPolicy
	if m.kind == kindEphemeral && w.started[s.Container] > 0 {
		w.t.Fatalf("%s: started a second time", line(s))
	}
	if m.kind == kindEphemeral {
		return
	}
	if len(m.RestartPolicyRules) == 0 && w.facts.Sandbox.Rounds == 0 && policy == v1.RestartPolicyNever && m.kind != kindSidecar && w.started[s.Container] > 0 {
		w.t.Fatalf("%s: started a second time", line(s))
	}
	for i, before := range inits(w.pod) {
		if i >= at {
			break
		}
		if w.inited[before.Name] != w.era+1 {
			w.t.Fatalf("%s before %s has done its part", line(s), before.Name)
		}
	}
}

// mayDie fails if c should go on running.
func (w *world) mayDie(s Step, c *simContainer) {
	w.t.Helper()
	f := &w.facts
	if f.Deletion != nil || f.Ended != nil || f.Evicted != nil || c.era != w.era || !w.sandbox {
		return
	}
	if a := f.Containers[c.Name].Current; a != nil && a.ID == c.ID && (a.stopsAlone() || a.Generation != f.Sandbox.Generation) {
		return
	}
	m, _ := w.kindOf(c.Name)
	if _, _, over := outcome(w.pod, f); m.kind == kindEphemeral && over {
		return
	}
	if m.kind == kindSidecar {
		// It may be stopped when what it serves is over.
		if _, _, over := outcome(w.pod, f); over {
			return
		}
		if w.pod.Spec.RestartPolicy != v1.RestartPolicyAlways && !w.live(func(o *simContainer) bool {
			m, _ := w.kindOf(o.Name)
			return m.kind != kindSidecar && m.kind != kindEphemeral
		}) {
			return
		}
	}
	w.t.Fatalf("%s: it should live", line(s))
}

func (w *world) checkRemove(s Step, c *simContainer) {
	w.t.Helper()
	if c == nil || c.State == runtime.StateCreated {
		return
	}
	if c.State == runtime.StateRunning {
		w.t.Fatalf("%s while it runs", line(s))
	}
	d := w.durable().Containers[s.Container].Current
	if d == nil || d.Number != s.Attempt {
		return
	}
	if c.State == runtime.StateExited && d.Exit == nil {
		w.t.Fatalf("%s before its exit is durable", line(s))
	}
}
