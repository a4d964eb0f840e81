package lifecycle

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"github.com/davit-agent/davit/runtime"
)

func drawPod(t *rapid.T) *v1.Pod {
	policies := []v1.RestartPolicy{v1.RestartPolicyAlways, v1.RestartPolicyOnFailure, v1.RestartPolicyNever}
	var names []string
	for i := range rapid.IntRange(0, 3).Draw(t, "inits") {
		names = append(names, rapid.SampledFrom([]string{"i", "s"}).Draw(t, "kind")+fmt.Sprintf(":init%d", i))
	}
	for i := range rapid.IntRange(1, 3).Draw(t, "mains") {
		names = append(names, fmt.Sprintf("main%d", i))
	}
	pod := newPod(rapid.SampledFrom(policies).Draw(t, "policy"), names...)
	grace := rapid.SampledFrom([]int64{0, 1, 30}).Draw(t, "grace")
	pod.Spec.TerminationGracePeriodSeconds = &grace
	one := func(name string) bool { return rapid.IntRange(0, 3).Draw(t, name) == 0 }
	for _, m := range members(pod) {
		if m.kind != kindInit {
			drawExtras(t, m.Container)
		}
	}
	if one("deadline") {
		s := rapid.SampledFrom([]int64{1, 30, 3600}).Draw(t, "seconds")
		pod.Spec.ActiveDeadlineSeconds = &s
	}
	if one("ephemeral") {
		pod.Spec.EphemeralContainers = []v1.EphemeralContainer{{EphemeralContainerCommon: v1.EphemeralContainerCommon{Name: "debug"}}}
	}
	return pod
}

// drawExtras gives a container hooks, probes and rules.
func drawExtras(t *rapid.T, c *v1.Container) {
	one := func(name string) bool { return rapid.IntRange(0, 3).Draw(t, name) == 0 }
	handler := &v1.LifecycleHandler{Exec: &v1.ExecAction{Command: []string{"true"}}}
	if one("postStart") {
		c.Lifecycle = &v1.Lifecycle{PostStart: handler}
	}
	if one("preStop") {
		if c.Lifecycle == nil {
			c.Lifecycle = &v1.Lifecycle{}
		}
		c.Lifecycle.PreStop = handler
	}
	probe := func(name string) *v1.Probe {
		if !one(name) {
			return nil
		}
		return &v1.Probe{}
	}
	c.StartupProbe, c.LivenessProbe, c.ReadinessProbe = probe("startup"), probe("liveness"), probe("readiness")
	if c.LivenessProbe != nil && one("probe grace") {
		s := int64(5)
		c.LivenessProbe.TerminationGracePeriodSeconds = &s
	}
	if c.RestartPolicy == nil && one("rules") {
		never := v1.ContainerRestartPolicyNever
		c.RestartPolicy = &never
		c.RestartPolicyRules = []v1.ContainerRestartRule{{
			Action: rapid.SampledFrom([]v1.ContainerRestartRuleAction{v1.ContainerRestartRuleActionRestart, v1.ContainerRestartRuleActionRestartAllContainers}).Draw(t, "action"),
			ExitCodes: &v1.ContainerRestartRuleOnExitCodes{
				Operator: v1.ContainerRestartRuleOnExitCodesOpIn, Values: []int32{42}},
		}}
	}
}

// drawHealth is something that the probes of a container may come to.
func drawHealth(t *rapid.T, w *world, c *simContainer) Health {
	m, _ := w.kindOf(c.Name)
	a := w.facts.Containers[c.Name].Current
	h := Health{
		ID:      c.ID,
		Started: m.StartupProbe == nil || a != nil && a.Probed.Started || rapid.Bool().Draw(t, "started"),
		Ready:   m.ReadinessProbe == nil || rapid.Bool().Draw(t, "ready"),
	}
	fails := rapid.IntRange(0, 4).Draw(t, "fails") == 0
	switch {
	case fails && m.StartupProbe != nil && !h.Started:
		h.Failed = &Unhealthy{Probe: "startup", Message: "it failed", At: w.now}
	case fails && m.LivenessProbe != nil && h.Started:
		h.Failed = &Unhealthy{Probe: "liveness", Message: "it failed", At: w.now}
	}
	return h
}

// monitor checks what has to hold of a row of statuses.
type monitor struct {
	ended    v1.PodPhase
	restarts map[string]int32
}

func (m *monitor) check(t *rapid.T, w *world) {
	s := w.status()
	switch {
	case m.ended != "" && s.Phase != m.ended:
		t.Fatalf("phase went from %s to %s", m.ended, s.Phase)
	case s.Phase == v1.PodSucceeded || s.Phase == v1.PodFailed:
		m.ended = s.Phase
		if w.live(nil) {
			t.Fatalf("%s, but containers run", s.Phase)
		}
	case s.Phase != v1.PodPending && s.Phase != v1.PodRunning:
		t.Fatalf("phase %q", s.Phase)
	}
	for _, c := range append(s.InitContainerStatuses, s.ContainerStatuses...) {
		n := 0
		for _, set := range []bool{c.State.Running != nil, c.State.Waiting != nil, c.State.Terminated != nil} {
			if set {
				n++
			}
		}
		if n != 1 {
			t.Fatalf("container %s has %d states", c.Name, n)
		}
		if c.RestartCount < m.restarts[c.Name] {
			t.Fatalf("restartCount of %s fell from %d to %d", c.Name, m.restarts[c.Name], c.RestartCount)
		}
		m.restarts[c.Name] = c.RestartCount
	}
}

// event does one random thing to the world.
func event(t *rapid.T, w *world) {
	pick := func(state runtime.State) *simContainer {
		var cs []*simContainer
		for _, c := range w.sorted() {
			if c.State == state {
				cs = append(cs, c)
			}
		}
		if len(cs) == 0 {
			return nil
		}
		return rapid.SampledFrom(cs).Draw(t, "container")
	}
	switch rapid.SampledFrom([]string{
		"turn", "turn", "turn", "turn", "turn", "turn", "exit", "exit", "pass", "pass", "stubborn",
		"daemon", "down", "sandbox", "reboot", "delete", "crash", "save", "oom", "evict", "hook", "hook", "probe", "probe", "absent", "pulled", "renewed",
	}).Draw(t, "event") {
	case "exit":
		if c := pick(runtime.StateRunning); c != nil {
			w.exit(c, rapid.SampledFrom([]int32{0, 0, 1, 42}).Draw(t, "code"))
		}
	case "oom":
		if c := pick(runtime.StateRunning); c != nil {
			w.exit(c, 137)
			c.Exit.OOMKilled = true
		}
	case "pass":
		w.pass(rapid.SampledFrom([]time.Duration{time.Second, 10 * time.Second, time.Minute, 11 * time.Minute}).Draw(t, "time"))
	case "stubborn":
		if c := pick(runtime.StateRunning); c != nil {
			c.stubborn = true
		}
	case "daemon":
		w.restartDaemon()
	case "down":
		w.down = !w.down
	case "sandbox":
		w.loseSandbox()
	case "reboot":
		if rapid.IntRange(0, 2).Draw(t, "rare") == 0 {
			w.reboot()
		}
	case "delete":
		if rapid.IntRange(0, 4).Draw(t, "rare") == 0 {
			grace := rapid.SampledFrom([]time.Duration{0, time.Second, 30 * time.Second}).Draw(t, "grace")
			w.facts = RequestDeletion(w.facts, grace, "test", w.now)
			w.save()
		}
	case "hook":
		if rapid.IntRange(0, 3).Draw(t, "fails") == 0 {
			endHooks(w, "it failed")
		} else {
			endHooks(w, "")
		}
	case "probe":
		if c := pick(runtime.StateRunning); c != nil {
			w.health[c.ID] = drawHealth(t, w, c)
		}
	case "evict":
		if rapid.IntRange(0, 9).Draw(t, "rare") == 0 {
			w.facts = Evict(w.facts, "test", w.now)
			w.save()
		}
	case "absent":
		absent(rapid.SampledFrom(members(w.pod)).Draw(t, "image").Name)(w)
	case "pulled":
		pulled(rapid.SampledFrom(members(w.pod)).Draw(t, "image").Name)(w)
	case "renewed":
		w.objectsAt, w.imagesAt = w.now, w.now
	case "crash":
		w.crash()
	case "save":
		w.save()
	default:
		w.turn()
	}
}

func drawFault(t *rapid.T) func(Step) fault {
	return func(Step) fault {
		return rapid.SampledFrom([]fault{
			fine, fine, fine, fine, fine, fine, fine, fine,
			errBefore, errAfter, errFinal, crashBefore, crashAfter,
		}).Draw(t, "fault")
	}
}

// TestConverges drives pods through random lives on a node where everything
// fails, then takes the faults away: each has to reach what it should be, and
// after that no plan does anything.
func TestConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, drawPod(t))
		m := &monitor{restarts: map[string]int32{}}
		w.fault = drawFault(t)
		for range rapid.IntRange(0, 60).Draw(t, "events") {
			if w.forgotten {
				return
			}
			event(t, w)
			// What is reported is on record: a crash may forget the rest.
			w.facts = Observe(w.pod, w.facts, w.seen(), w.now)
			w.save()
			m.check(t, w)
		}
		w.fault, w.down = nil, false
		converge(t, w, m)
	})
}

// TestConvergesFromOldRecords is TestConverges with a record that is only made
// durable where the contract demands it, so that kill -9 takes away as much as
// it ever can.
func TestConvergesFromOldRecords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, drawPod(t))
		w.fault = drawFault(t)
		for range rapid.IntRange(0, 60).Draw(t, "events") {
			if w.forgotten {
				return
			}
			event(t, w)
		}
		w.fault, w.down = nil, false
		converge(t, w, &monitor{restarts: map[string]int32{}})
	})
}

func converge(t *rapid.T, w *world, m *monitor) {
	w.log = nil
	clear(w.absent)
	clear(w.pulling)
	for range 300 {
		if w.forgotten {
			break
		}
		plan := w.turn()
		m.check(t, w)
		switch {
		case len(plan.Steps) > 0:
		case endHooks(w, ""), pass(w):
		case !plan.Again.IsZero():
			w.now = plan.Again
		case !finishInit(w):
			checkDesired(t, w)
			return
		}
	}
	if !w.forgotten {
		t.Fatalf("no rest after 300 turns: %s\n%s", strings.Join(w.log, ", "), toJSON(w.facts))
	}
	if w.partly || len(w.conts) > 0 {
		t.Fatalf("forgotten with something left")
	}
}

// endHooks ends all hooks that run, and reports whether there were any.
func endHooks(w *world, failure string) (any bool) {
	for _, h := range w.hooks {
		if !h.Done {
			h.Done, h.Failure, any = true, failure, true
		}
	}
	return any
}

// pass has all startup and readiness probes succeed from now on, and reports
// whether that is not on record of one yet.
func pass(w *world) (any bool) {
	for _, p := range Probings(w.pod, w.facts) {
		w.health[p.ID] = Health{ID: p.ID, Started: true, Ready: true}
		recorded := w.facts.Containers[p.Container].Current.Probed
		any = any || !recorded.Started || !recorded.Ready
	}
	return any
}

// finishInit has a running init container complete.
func finishInit(w *world) bool {
	for _, m := range inits(w.pod) {
		for _, c := range w.conts {
			if c.Name == m.Name && m.kind == kindInit && c.State == runtime.StateRunning {
				w.exit(c, 0)
				return true
			}
		}
	}
	return false
}

func checkDesired(t *rapid.T, w *world) {
	s := w.status()
	switch {
	case w.facts.Deletion != nil:
		t.Fatalf("a deleted pod rests: %v", Explain(w.input()))
	case s.Phase == v1.PodSucceeded || s.Phase == v1.PodFailed:
		if w.partly || len(w.conts) > 0 {
			t.Fatalf("%s with something left", s.Phase)
		}
		return
	case s.Phase != v1.PodRunning:
		t.Fatalf("at rest in phase %s: %s", s.Phase, toJSON(w.facts))
	}
	for _, m := range members(w.pod) {
		a := w.facts.Containers[m.Name].Current
		if w.live(func(c *simContainer) bool { return c.Name == m.Name }) {
			continue
		}
		done := a != nil && a.Exit != nil && !wanted(w.pod, &w.facts, m)
		if m.kind == kindInit && slices.ContainsFunc(mains(w.pod), func(m member) bool {
			return w.facts.Containers[m.Name].Current.in(w.facts.Sandbox.Generation)
		}) {
			continue // how it ended may be lost, but that a main container was made tells that it did
		}
		if !done || m.kind == kindSidecar {
			t.Fatalf("%s does not run: %s", m.Name, toJSON(w.facts))
		}
	}
	if len(w.conts) != countLive(w) {
		t.Fatalf("something that does not run is left: %v", w.conts)
	}
}

func countLive(w *world) (n int) {
	for _, c := range w.conts {
		if c.State == runtime.StateRunning {
			n++
		}
	}
	return n
}
