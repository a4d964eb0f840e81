package lifecycle

import (
	"fmt"
	"slices"
	"time"

	"github.com/davit-agent/davit/agent/lifecycle/restart"
	"github.com/davit-agent/davit/agent/lifecycle/retry"
	"github.com/davit-agent/davit/runtime"
)

// Decide returns what to do now. Its steps build on one another: each is right
// if those before it succeeded. The plan is empty when nothing is to be done
// before Again or the next change that is seen.
func Decide(in Input) Plan { return decide(in).plan }

// planner makes a plan. Every step that it plans is applied to f as a success
// at once, so that the plan goes as far as can be told beforehand.
type planner struct {
	in      Input
	f       Facts // a clone
	now     time.Time
	plan    Plan
	removed map[string]bool // IDs that the plan removes
	hooks   map[hookID]bool // that the plan begins
	waits   []pause         // why Again, for people
}

// hookID names a hook of an attempt.
type hookID struct {
	id   string
	kind HookKind
}

// pause is something that is waited for; until is zero if a wake ends it.
type pause struct {
	until time.Time
	why   string
}

func decide(in Input) *planner {
	p := &planner{in: in, f: clone(in.Facts), now: stamp(in.Now), removed: make(map[string]bool), hooks: make(map[hookID]bool)}
	_, _, over := outcome(in.Pod, &p.f)
	switch {
	case in.Seen.RuntimeDown:
		p.wait(p.now.Add(runtimeDownAgain), "the container runtime does not answer")
	case p.f.Deletion != nil:
		if p.windDown(p.deletionRules()) {
			if !p.f.Sandbox.TornDown {
				p.do(Step{Op: OpTeardown, Why: "the pod is deleted and nothing of it runs"})
			}
			p.do(Step{Op: OpForget, Why: "nothing of the deleted pod is left"})
		}
	case over || p.f.Ended != nil:
		if p.windDown(p.endRules()) && !p.f.Sandbox.TornDown {
			p.do(Step{Op: OpTeardown, Why: "the pod has ended"})
		}
	default:
		p.run()
	}
	return p
}

func (p *planner) do(s Step) {
	p.plan.Steps = append(p.plan.Steps, s)
	apply(p.in.Pod, &p.f, s, Result{}, p.now)
}

// doTo plans a step on m's current attempt.
func (p *planner) doTo(op Op, m member, signal, why string) {
	a := p.f.Containers[m.Name].Current
	if op == OpRemove {
		p.removed[a.ID] = true
	}
	p.do(Step{Op: op, Container: m.Name, Attempt: a.Number, ID: a.ID, Signal: signal, Why: why})
}

// wait has the pod decided on again at t, unless that is past.
func (p *planner) wait(t time.Time, why string) {
	if !t.After(p.now) {
		return
	}
	if p.plan.Again.IsZero() || t.Before(p.plan.Again) {
		p.plan.Again = t
	}
	if w := (pause{t, why}); !slices.Contains(p.waits, w) {
		p.waits = append(p.waits, w)
	}
}

// run brings a pod that should live towards all of it running.
func (p *planner) run() {
	if t, ok := expiry(p.in.Pod, &p.f); ok {
		p.wait(t, "activeDeadlineSeconds ends the pod")
	}
	if !p.leaveOld() {
		p.sweep()
		return
	}
	if p.f.Sandbox.ReadyAt.IsZero() {
		p.sweep() // no container comes over from a sandbox before this
		if t := p.in.Seen.changes().Setup(p.f.Sandbox.Failure); t.After(p.now) {
			p.wait(t, "setting up the pod failed: "+p.f.Sandbox.Failure.Message)
			return
		}
		p.do(Step{Op: OpSetup, Why: "the pod has no sandbox"})
	}
	// Removing comes after what can be started without it, so that a container
	// that cannot be removed holds up nothing but its own next attempt.
	p.advance()
	if p.sweep() {
		p.advance()
	}
}

// leaveOld stops and removes what is left of a lost sandbox, or of the round
// before, and reports whether nothing of it runs any more.
func (p *planner) leaveOld() bool {
	gen, why := p.f.Sandbox.Generation, "its sandbox is lost"
	if p.f.Sandbox.Rounds > 0 {
		why = "all containers of the pod are restarted"
	}
	old := func(m member, a *Attempt) bool {
		return a.Generation != gen && (m.kind != kindEphemeral || p.f.Sandbox.lost(a))
	}
	rules := p.stopRules(why)
	if p.f.Sandbox.Rounds > 0 { // as kubelet: no preStop hook, and the least time after the signal
		rules.deadline = p.now
	}
	if p.stop(rules, old) {
		return false
	}
	for _, m := range members(p.in.Pod) {
		if a := p.f.Containers[m.Name].Current; a != nil && old(m, a) && !a.Removed {
			p.doTo(OpRemove, m, "", why)
		}
	}
	return true
}

// advance starts what may be started now: ephemeral containers, the init
// containers in their order, then the main containers. A postStart hook holds up
// what stands after its container.
func (p *planner) advance() {
	for _, m := range ephemerals(p.in.Pod) {
		p.ensure(m)
	}
	front := p.front()
	for i, m := range inits(p.in.Pod) {
		switch {
		case i < front && m.kind == kindInit: // has completed
		case i < front:
			p.ensure(m) // nothing waits for a sidecar twice
		case !p.passed(m):
			return
		}
	}
	for _, m := range mains(p.in.Pod) {
		p.ensure(m)
		if a := p.f.Containers[m.Name].Current; a.running() && m.hooked(PostStart) && (a.PostStart == nil || a.PostStart.Ended.IsZero()) {
			return
		}
	}
}

// front returns the index of the init container that initialisation has got to
// in this sandbox, or their number once there is a main container in it.
func (p *planner) front() int {
	gen, front := p.f.Sandbox.Generation, 0
	all := inits(p.in.Pod)
	for i, m := range all {
		if p.f.Containers[m.Name].Current.in(gen) {
			front = i
		}
	}
	for _, m := range mains(p.in.Pod) {
		if p.f.Containers[m.Name].Current.in(gen) {
			return len(all)
		}
	}
	return front
}

// passed brings the init container or sidecar m on its way and reports whether
// what stands after it may go on.
func (p *planner) passed(m member) bool {
	if m.kind == kindSidecar {
		if p.ensure(m) && m.started(p.f.Containers[m.Name].Current) {
			return true
		}
		if m.settled(p.f.Containers[m.Name].Current) {
			p.waits = append(p.waits, pause{why: "the startup probe of sidecar " + m.Name + " has not succeeded yet"})
		}
		return false
	}
	a := p.f.Containers[m.Name].Current
	if a.in(p.f.Sandbox.Generation) && a.Exit != nil && a.Exit.Code == 0 {
		return true
	}
	p.ensure(m)
	return false
}

// ensure brings m towards running and reports whether it runs.
func (p *planner) ensure(m member) bool {
	cf := p.f.Containers[m.Name]
	a := cf.Current
	switch {
	case a.running():
		return p.keep(m, a)
	case a.pending():
		return p.start(m, cf)
	case !wanted(p.in.Pod, &p.f, m):
		return false
	case a != nil && !a.Removed:
		p.backedOff(m, cf) // the sweep removes it first
		return false
	case p.backedOff(m, cf), p.pulling(m):
		return false
	}
	p.create(m, a.next(), "it should run")
	p.doTo(OpStart, m, "", "it should run")
	return p.keep(m, p.f.Containers[m.Name].Current)
}

// keep runs the postStart hook of m, which runs, and stops what has failed it or
// a probe. It reports whether m is to go on and its hook is done.
func (p *planner) keep(m member, a *Attempt) bool {
	switch {
	case a.stopsAlone():
		p.halt(m, p.ownRules(m, a), true)
	case !m.settled(a):
		p.hook(m, PostStart, time.Time{}, "it has started")
	default:
		return true
	}
	return false
}

// hook begins a hook, or waits for its end.
func (p *planner) hook(m member, kind HookKind, deadline time.Time, why string) {
	a := p.f.Containers[m.Name].Current
	if id := (hookID{a.ID, kind}); !p.hooks[id] && !p.in.Seen.hooking(a.ID, kind) {
		p.hooks[id] = true
		p.do(Step{Op: OpHook, Container: m.Name, Attempt: a.Number, ID: a.ID, Hook: kind, Deadline: deadline, Why: why})
	}
	p.waits = append(p.waits, pause{why: fmt.Sprintf("the %s hook of container %s runs", kind, m.Name)})
}

// start takes up an attempt that is not known to have a process.
func (p *planner) start(m member, cf ContainerFacts) bool {
	created := !cf.Current.Starting.IsZero()
	t := p.in.Seen.changes().Create(cf.Failure)
	if created {
		t = retry.Start(cf.Failure)
	}
	if t.After(p.now) {
		p.wait(t, fmt.Sprintf("starting container %s failed: %s", m.Name, cf.Failure.Message))
		return false
	}
	if !created && p.pulling(m) {
		return false
	}
	if !created {
		// Create is idempotent; its success records that the start is meant.
		p.create(m, cf.Current.Number, "it was created but is not recorded to be started")
	}
	p.doTo(OpStart, m, "", "it is created but not started")
	return p.keep(m, p.f.Containers[m.Name].Current)
}

func (p *planner) create(m member, number uint32, why string) {
	id := runtime.ContainerID(string(p.in.Pod.UID), m.Name, number)
	p.do(Step{Op: OpCreate, Container: m.Name, Attempt: number, ID: id, Why: why})
}

// backedOff tells whether m's next attempt has to wait.
func (p *planner) backedOff(m member, cf ContainerFacts) bool {
	crash := p.f.crashUntil(m)
	create := p.in.Seen.changes().Create(cf.Failure)
	if create.After(p.now) {
		p.wait(create, fmt.Sprintf("creating container %s failed: %s", m.Name, cf.Failure.Message))
		if cf.Failure.PullFailed() {
			p.wait(cf.Failure.At.Add(pullErrorShown), reasonPullBackOff+" is reported for container "+m.Name)
		}
	}
	if a := cf.Current; crash.After(p.now) && a.Exit != nil && a.startFailure() != nil {
		p.wait(a.Exit.At.Add(startErrorShown), reasonCrashLoop+" is reported for container "+m.Name)
	}
	p.wait(crash, fmt.Sprintf("back-off %s of container %s", cf.BackOff.Delay, m.Name))
	return create.After(p.now) || crash.After(p.now)
}

// crashUntil returns until when m backs off after a crash. Who restarts all of its
// pod over and over backs off, too; those that are restarted with it do not.
func (f *Facts) crashUntil(m member) time.Time {
	cf := f.Containers[m.Name]
	a := cf.Current
	if a.in(f.Sandbox.Generation) || a != nil && a.Exit != nil && !f.Sandbox.lost(a) && restart.All(m.Container, a.Exit.Code) {
		return cf.BackOff.Until
	}
	return time.Time{}
}

// pulling tells whether m's image is being pulled, which ends with a wake.
func (p *planner) pulling(m member) bool {
	how, ok := p.in.Seen.Pulling[m.Name]
	if ok {
		p.waits = append(p.waits, pause{why: fmt.Sprintf("container %s waits for its image: %s", m.Name, how)})
	}
	return ok
}

// sweep removes what has exited and is recorded, and what is not known, and
// reports whether a container got free for its next attempt.
func (p *planner) sweep() (freed bool) {
	current := make(map[string]string)
	for _, m := range members(p.in.Pod) {
		a := p.f.Containers[m.Name].Current
		if a == nil {
			continue
		}
		if a.Exit != nil && !a.Removed {
			p.doTo(OpRemove, m, "", "it has exited, which is recorded")
			freed = true
		}
		if !a.Removed {
			current[m.Name] = a.ID
		}
	}
	for _, c := range p.in.Seen.Containers {
		if c.ID == current[c.Name] || p.removed[c.ID] {
			continue
		}
		p.removed[c.ID] = true
		p.do(Step{Op: OpRemove, Container: c.Name, Attempt: c.Attempt, ID: c.ID, Why: "it is no container that the pod should have"})
	}
	return freed
}
