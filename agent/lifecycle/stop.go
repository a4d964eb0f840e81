package lifecycle

import (
	"github.com/davit-agent/davit/agent/lifecycle/restart"
	"slices"
	"time"

	"github.com/davit-agent/davit/agent/lifecycle/retry"
)

// stopRules tell by when and how containers have to stop.
type stopRules struct {
	deadline time.Time // SIGKILL from then on
	atOnce   bool      // no stop signal: that was asked for
	why      string
}

// deletionRules are those of the pod's deletion.
func (p *planner) deletionRules() stopRules {
	d := p.f.Deletion
	r := stopRules{deadline: d.At.Add(d.Grace), atOnce: d.Grace <= 0, why: "the pod is deleted"}
	// A stop that was under way is not drawn out.
	if t := p.stopBegan(); !t.IsZero() && t.Before(d.At) {
		if end := t.Add(specGrace(p.in.Pod)); end.Before(r.deadline) {
			r.deadline = end
		}
	}
	return r
}

// stopRules are those of a stop that nobody asked for: the pod's own grace,
// counted from the first stop signal.
func (p *planner) stopRules(why string) stopRules {
	began := p.stopBegan()
	if began.IsZero() {
		began = p.now
	}
	grace := specGrace(p.in.Pod)
	return stopRules{deadline: began.Add(grace), why: why}
}

// endRules are those of a pod that is over: its own grace, or hardly any if the
// node evicts it.
func (p *planner) endRules() stopRules {
	e := p.f.Evicted
	switch {
	case e == nil:
		return p.stopRules("the pod is over")
	case e.Reason == reasonDeadline:
		return p.stopRules("the pod's activeDeadlineSeconds are over")
	}
	return stopRules{deadline: e.At.Add(min(evictGrace, specGrace(p.in.Pod))), why: "the node evicts the pod"}
}

// stopsAlone tells whether a is stopped for a fault of its own while its pod
// lives.
func (a *Attempt) stopsAlone() bool { return a.Probed.Failed != nil || a.startFailed() }

// stopBegan returns when the stop of a began, with its preStop hook or with its
// stop signal; zero: it has not.
func (a *Attempt) stopBegan() time.Time {
	if a == nil {
		return time.Time{}
	}
	if h := a.PreStop; h != nil && (a.TermAt.IsZero() || h.Began.Before(a.TermAt)) {
		return h.Began
	}
	return a.TermAt
}

// ownRules are those of a container that stops alone: the grace of its probe,
// or the pod's.
func (p *planner) ownRules(m member, a *Attempt) stopRules {
	grace, why := specGrace(p.in.Pod), ""
	if x := a.Probed.Failed; x != nil {
		why = x.Probe + " probe failed"
		probe := m.LivenessProbe
		if x.Probe == "startup" {
			probe = m.StartupProbe
		}
		if probe != nil && probe.TerminationGracePeriodSeconds != nil && !p.last(m) {
			grace = time.Duration(*probe.TerminationGracePeriodSeconds) * time.Second
		}
	} else {
		why = "its postStart hook failed"
	}
	began := a.stopBegan()
	if began.IsZero() {
		began = p.now
	}
	return stopRules{deadline: began.Add(grace), why: why}
}

// last tells whether m is not started again and no other main container goes on:
// then it is the pod that is stopped.
func (p *planner) last(m member) bool {
	if m.kind != kindMain || restart.AfterStop(p.in.Pod, m.Container) {
		return false
	}
	return !slices.ContainsFunc(mains(p.in.Pod), func(o member) bool {
		a := p.f.Containers[o.Name].Current
		return o.Name != m.Name && (a.running() && !a.stopsAlone() || wanted(p.in.Pod, &p.f, o))
	})
}

// ended tells whether the stop of a was that of its pod: nothing else went on.
func (p *planner) ended(m member, a *Attempt) bool {
	t := a.stopBegan()
	return !t.IsZero() && p.last(m) && !slices.ContainsFunc(mains(p.in.Pod), func(o member) bool {
		x := p.f.Containers[o.Name].Current
		return o.Name != m.Name && (x == nil || x.Exit == nil || x.Exit.At.After(t))
	})
}

// stopBegan returns when the first hook or stop signal was sent in the sandbox to which
// the oldest running container belongs; zero: none was.
func (p *planner) stopBegan() (began time.Time) {
	var alive bool
	var gen uint32
	for _, m := range members(p.in.Pod) {
		if a := p.f.Containers[m.Name].Current; m.kind != kindEphemeral && a.running() && (!alive || a.Generation < gen) {
			alive, gen = true, a.Generation
		}
	}
	for _, m := range members(p.in.Pod) {
		a := p.f.Containers[m.Name].Current
		if !a.in(gen) || a.stopsAlone() && !p.ended(m, a) {
			continue
		}
		if t := a.stopBegan(); !t.IsZero() && (began.IsZero() || t.Before(began)) {
			began = t
		}
	}
	return began
}

// windDown stops what runs and removes all else, and reports whether nothing is
// left.
func (p *planner) windDown(r stopRules) bool {
	alive := p.stop(r, func(member, *Attempt) bool { return true })
	for _, m := range members(p.in.Pod) {
		if p.f.Containers[m.Name].Current.pending() {
			p.doTo(OpRemove, m, "", r.why)
		}
	}
	p.sweep()
	return !alive
}

// stop takes the running containers that which selects one step further towards
// their end, and reports whether there are any: main and init containers all at
// once, sidecars one after another in reverse order when no main container is
// left, all within one grace.
func (p *planner) stop(r stopRules, which func(member, *Attempt) bool) (alive bool) {
	var waiting bool // what a sidecar has to outlive still runs
	halt := func(m member, turn bool) bool {
		a := p.f.Containers[m.Name].Current
		if !a.running() || !which(m, a) {
			return false
		}
		alive = true
		p.halt(m, r, turn)
		return true
	}
	for _, m := range ephemerals(p.in.Pod) {
		halt(m, true)
	}
	for _, m := range mains(p.in.Pod) {
		waiting = halt(m, true) || waiting
	}
	before := inits(p.in.Pod)
	slices.Reverse(before)
	for _, m := range before {
		if m.kind == kindInit {
			halt(m, true)
			continue
		}
		waiting = halt(m, !waiting || !p.now.Before(r.deadline)) || waiting
	}
	return alive
}

// halt signals the running container m, as far as that is due.
func (p *planner) halt(m member, r stopRules, turn bool) {
	if r.atOnce {
		p.kill(m, r)
		return
	}
	cf := p.f.Containers[m.Name]
	if a := cf.Current; a.stopsAlone() {
		if own := p.ownRules(m, a); own.deadline.Before(r.deadline) {
			r.deadline = own.deadline
		}
	}
	if p.preStop(m, r) {
		return
	}
	if cf.Current.TermAt.IsZero() {
		late := !p.now.Before(r.deadline)
		switch {
		case !turn:
			p.wait(r.deadline, "container "+m.Name+" is stopped after others")
			return
		case late && cf.Failure != nil: // the stop signal could not be sent in time
			p.kill(m, r)
			return
		case !p.signal(m, "", r.why):
			p.wait(r.deadline, "container "+m.Name+" will be killed")
			return
		}
	}
	// Whoever got its signal late has a moment, too.
	t := p.f.Containers[m.Name].Current.TermAt.Add(minimumGrace)
	if t.Before(r.deadline) {
		t = r.deadline
	}
	if t.After(p.now) {
		p.wait(t, "container "+m.Name+" is given time to stop")
		return
	}
	p.kill(m, r)
}

// preStop runs m's preStop hook, if it has one and there is time, and reports
// whether the stop signal has to wait for it. Sidecars' hooks run at once, like
// all others.
func (p *planner) preStop(m member, r stopRules) (wait bool) {
	a := p.f.Containers[m.Name].Current
	if !m.hooked(PreStop) || !a.TermAt.IsZero() || !p.now.Before(r.deadline) {
		return false
	}
	if h := a.PreStop; h != nil && !h.Ended.IsZero() {
		return false
	}
	p.hook(m, PreStop, r.deadline, r.why)
	p.wait(r.deadline, "the preStop hook of container "+m.Name+" is given time")
	return true
}

// kill sends SIGKILL, and again if that did not help.
func (p *planner) kill(m member, r stopRules) {
	if at := p.f.Containers[m.Name].Current.KillAt; at.IsZero() || !p.now.Before(at.Add(killAgain)) {
		if !p.signal(m, sigKill, r.why+" and its time is up") {
			return
		}
	}
	p.wait(p.f.Containers[m.Name].Current.KillAt.Add(killAgain), "container "+m.Name+" was killed")
}

// signal plans a signal, unless the last one failed a moment ago.
func (p *planner) signal(m member, sig, why string) bool {
	if x := p.f.Containers[m.Name].Failure; x != nil {
		if t := retry.Signal(x); t.After(p.now) {
			p.wait(t, "signalling container "+m.Name+" failed: "+x.Message)
			return false
		}
	}
	p.doTo(OpSignal, m, sig, why)
	return true
}
