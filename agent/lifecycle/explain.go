package lifecycle

import (
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/lifecycle/explain"
	"github.com/davit-agent/davit/agent/lifecycle/retry"
)

// Explanation tells why a pod is where it is, what it waits for, what happens
// next and how it got there.
type Explanation struct {
	Phase v1.PodPhase `json:"phase"`
	Why   string      `json:"why"` // in one sentence
	// Since is when the node took the pod on.
	Since time.Time `json:"since,omitzero"`
	// Waits is what the pod waits for; empty: for nothing. The pod's own come
	// first, then the containers' in the order of the spec.
	Waits []explain.Wait `json:"waits,omitempty"`
	// Next is what happens when nothing else does, ordered by time; empty:
	// nothing until something changes.
	Next       []explain.Coming    `json:"next,omitempty"`
	Containers []explain.Container `json:"containers"` // in the order of the spec, init containers first
	Deletion   *explain.Dying      `json:"deletion,omitempty"`
	Evicted    *Eviction           `json:"evicted,omitempty"`
	Ended      *Ended              `json:"ended,omitempty"`
}

// ReasonAdmission is the reason of a sandbox's failure when the pod could not even
// be accepted.
const ReasonAdmission = "FailedAdmission"

// Explain tells why the pod is where it is and what happens next.
func Explain(in Input) Explanation {
	p, status := decide(in), Status(in)
	e := Explanation{
		Phase: status.Phase, Since: in.Facts.Accepted, Containers: explainContainers(in, status),
		Evicted: copyOf(in.Facts.Evicted), Ended: copyOf(in.Facts.Ended),
	}
	if d := in.Facts.Deletion; d != nil {
		e.Deletion = &explain.Dying{Since: d.At, Until: d.At.Add(d.Grace), Reason: d.Reason}
	}
	e.Waits = append(waitsOf(in, p.plan.Again), stuck(in)...)
	if len(e.Waits) == 0 || e.Waits[0].Cause != explain.Admission { // else no plan is carried out
		e.Next = coming(p, e.Waits)
	}
	e.Why = e.why(in.Pod, status)
	return e
}

// waitsOf returns what the pod and its containers wait for. again is the plan's.
func waitsOf(in Input, again time.Time) []explain.Wait {
	f := &in.Facts
	_, _, over := outcome(in.Pod, f)
	switch {
	case in.Seen.RuntimeDown:
		return []explain.Wait{{Cause: explain.RuntimeDown, Detail: "the container runtime does not answer", Until: again}}
	case f.Deletion != nil:
		return append(stopping(in, again, "the pod is deleted: "+f.Deletion.Reason), failedSignals(in)...)
	case f.Ended == nil && f.Evicted != nil:
		return append(stopping(in, again, "the node evicts the pod: "+f.Evicted.Message), failedSignals(in)...)
	case over || f.Ended != nil:
		return append(stopping(in, again, "the pod is over"), failedSignals(in)...)
	case f.Sandbox.ReadyAt.IsZero():
		if x := f.Sandbox.Failure; x != nil && x.Reason == ReasonAdmission {
			return []explain.Wait{{Cause: explain.Admission, Detail: x.Message}}
		} else if x != nil {
			return []explain.Wait{{Cause: explain.Setup, Detail: x.Message, Tries: x.Count, Until: in.Seen.changes().Setup(x)}}
		}
		return stopping(in, again, "its sandbox was lost")
	}
	var ws []explain.Wait
	for _, m := range members(in.Pod) {
		if w, ok := waitOf(in, m); ok {
			ws = append(ws, w)
		}
	}
	return ws
}

// stopping tells which containers still run that should not.
func stopping(in Input, until time.Time, why string) []explain.Wait {
	var alive []string
	for _, m := range members(in.Pod) {
		a := in.Facts.Containers[m.Name].Current
		if !a.running() {
			continue
		}
		alive = append(alive, m.Name)
		if h := a.PreStop; h != nil && h.Ended.IsZero() && a.TermAt.IsZero() {
			why += "; the preStop hook of container " + m.Name + " runs"
		}
	}
	if len(alive) == 0 {
		return nil
	}
	return []explain.Wait{{Cause: explain.Stopping, For: alive, Detail: why, Until: until}}
}

func failedSignals(in Input) []explain.Wait {
	var ws []explain.Wait
	for _, m := range members(in.Pod) {
		if cf := in.Facts.Containers[m.Name]; cf.Failure != nil && cf.Current.running() {
			ws = append(ws, explain.Wait{Cause: explain.Signal, Container: m.Name, Detail: cf.Failure.Message, Tries: cf.Failure.Count, Until: retry.Signal(cf.Failure)})
		}
	}
	return ws
}

// waitOf tells what m waits for, in a pod that should live.
func waitOf(in Input, m member) (explain.Wait, bool) {
	f, now := &in.Facts, stamp(in.Now)
	cf := f.Containers[m.Name]
	a := cf.Current
	w := explain.Wait{Container: m.Name}
	if a.running() {
		w.Cause, w.Detail = runningWait(m, a)
		return w, w.Cause != ""
	}
	if !a.pending() && !wanted(in.Pod, f, m) {
		return explain.Wait{}, false
	}
	if how, pulling := in.Seen.Pulling[m.Name]; pulling {
		w.Cause, w.Detail = explain.Pulling, how
		return w, true
	}
	if x := cf.Failure; x != nil {
		w.Cause, w.Detail, w.Tries, w.Until = failureCause(x, a), x.Reason+": "+x.Message, x.Count, in.Seen.changes().Create(x)
		if w.Cause == explain.Start {
			w.Until = retry.Start(x)
		}
		return w, true
	}
	if until := f.crashUntil(m); a != nil && a.Exit != nil && until.After(now) {
		w.Cause, w.Until, w.Tries = explain.CrashLoop, until, cf.RestartCount+1
		w.Detail = "it " + ended(a.Exit)
		return w, true
	}
	if before, ok := blocker(in, m); ok {
		w.Cause, w.For = explain.Init, []string{before.Name}
		w.Detail = fmt.Sprintf("%s %s %s", before.kind, before.Name, progress(f.Containers[before.Name].Current, before.kind))
		return w, true
	}
	return explain.Wait{}, false
}

// runningWait tells what m, which runs, waits for; "": nothing.
func runningWait(m member, a *Attempt) (explain.Cause, string) {
	switch x := a.Probed.Failed; {
	case x != nil:
		return explain.Unhealthy, "it is stopped: " + x.Message
	case a.startFailed():
		return explain.Unhealthy, "it is stopped: " + a.PostStart.Failure
	case !m.settled(a):
		return explain.Hook, "its postStart hook has not ended yet"
	case !m.started(a):
		return explain.Probe, "its startup probe has not succeeded yet"
	case m.kind != kindInit && m.ReadinessProbe != nil && !a.Probed.Ready:
		return explain.Probe, "its readiness probe does not succeed"
	}
	return "", ""
}

// ended tells people of an exit.
func ended(x *Exit) string {
	s := fmt.Sprintf("ended with code %d (%s)", x.Code, x.Reason)
	if x.Message != "" {
		s += ": " + x.Message
	}
	return s
}

// progress tells how far an init container or sidecar is.
func progress(a *Attempt, k kind) string {
	switch {
	case a.running() && k == kindInit:
		return "still runs"
	case a.running():
		return "has not passed its startup probe or postStart hook yet"
	case a == nil || a.Exit == nil:
		return "has not started yet"
	}
	return ended(a.Exit)
}

func failureCause(x *Failure, a *Attempt) explain.Cause {
	switch {
	case x.PullFailed():
		return explain.PullFailed
	case x.Reason == retry.ReasonNeverPull:
		return explain.ImageMissing
	case x.Reason == "InvalidImageName":
		return explain.ImageName
	case x.Reason == "CreateContainerConfigError":
		return explain.Config
	case a.pending() && !a.Starting.IsZero():
		return explain.Start
	}
	return explain.Create
}

// blocker returns the init container or sidecar for which m has to wait.
func blocker(in Input, m member) (member, bool) {
	p := planner{in: in, f: in.Facts}
	front, gen := p.front(), in.Facts.Sandbox.Generation
	for i, before := range inits(in.Pod) {
		a := in.Facts.Containers[before.Name].Current
		switch {
		case before.Name == m.Name:
			return member{}, false
		case i < front, before.kind == kindSidecar && before.started(a):
		case before.kind == kindInit && a.in(gen) && a.Exit != nil && a.Exit.Code == 0:
		default:
			return before, true
		}
	}
	return member{}, false
}

// Describe tells people what a step does, and why.
func (s Step) Describe() string {
	what := string(s.Op)
	if s.Signal != "" {
		what += " " + strings.TrimPrefix(s.Signal, "SIG")
	}
	if s.Container != "" {
		what = fmt.Sprintf("%s %s (attempt %d)", what, s.Container, s.Attempt)
	}
	return what + ", for " + s.Why
}

// coming returns what p plans, and what it waits for in terms of what happens
// then.
func coming(p *planner, waits []explain.Wait) []explain.Coming {
	var out []explain.Coming
	for _, s := range p.plan.Steps {
		out = append(out, explain.Coming{At: p.now, What: s.Describe(), Container: s.Container})
	}
	acts := map[time.Time]bool{}
	for _, w := range waits {
		if act := w.Act(); act != "" && w.Until.After(p.now) {
			out = append(out, explain.Coming{At: w.Until, What: act, Container: w.Container})
			acts[w.Until] = true
		}
	}
	for _, t := range p.waits {
		if !t.until.IsZero() && !acts[t.until] {
			out = append(out, explain.Coming{At: t.until, What: "the pod is looked at again: " + t.why})
		}
	}
	slices.SortStableFunc(out, func(a, b explain.Coming) int { return a.At.Compare(b.At) })
	return out
}

// why is the one sentence.
func (e *Explanation) why(pod *v1.Pod, s v1.PodStatus) string {
	if len(e.Waits) > 0 {
		return e.Waits[0].Sentence()
	}
	switch {
	case e.Deletion != nil:
		return "the pod is deleted (" + e.Deletion.Reason + "), and nothing of it runs any more"
	case e.Ended != nil && e.Ended.Reason != "":
		return fmt.Sprintf("the pod is over: %s: %s", e.Ended.Reason, e.Ended.Message)
	case e.Ended != nil && e.Ended.Phase == v1.PodSucceeded:
		return "the pod is over: all its containers have ended with code 0"
	case e.Ended != nil:
		return "the pod is over: " + e.failures()
	case len(e.Next) > 0 && !e.Next[0].At.IsZero() && s.Phase == v1.PodPending:
		return "the pod is being started"
	}
	for _, c := range s.Conditions {
		if c.Type == v1.PodReady && c.Status != v1.ConditionTrue && c.Message != "" {
			return "the pod is not ready: " + c.Message
		}
	}
	if n := len(pod.Spec.Containers); n != 1 {
		return fmt.Sprintf("all %d containers run", n)
	}
	return "its container runs"
}

// failures tells which containers failed.
func (e *Explanation) failures() string {
	var out []string
	for _, c := range e.Containers {
		if len(c.Ends) > 0 && c.Ends[0].Code != 0 {
			out = append(out, fmt.Sprintf("%s %s ended with code %d (%s)", c.Kind, c.Name, c.Ends[0].Code, c.Ends[0].Reason))
		}
	}
	if len(out) == 0 {
		return e.Ended.Message
	}
	return strings.Join(out, ", ")
}

// String names the kind for people.
func (k kind) String() string {
	return [...]string{"container", "init container", "sidecar", "ephemeral container"}[k]
}

func explainContainers(in Input, s v1.PodStatus) []explain.Container {
	byName := map[string]v1.ContainerStatus{}
	for _, c := range slices.Concat(s.InitContainerStatuses, s.ContainerStatuses, s.EphemeralContainerStatuses) {
		byName[c.Name] = c
	}
	out := []explain.Container{}
	for _, m := range members(in.Pod) {
		c := explain.Container{Name: m.Name, Kind: m.kind.String(), Restarts: byName[m.Name].RestartCount}
		switch st := byName[m.Name].State; {
		case st.Running != nil:
			c.State, c.Since = "running", st.Running.StartedAt.Time
		case st.Terminated != nil:
			c.State, c.Reason, c.Message, c.Since = "terminated", st.Terminated.Reason, st.Terminated.Message, st.Terminated.FinishedAt.Time
		case st.Waiting != nil:
			c.State, c.Reason, c.Message = "waiting", st.Waiting.Reason, st.Waiting.Message
		}
		cf := in.Facts.Containers[m.Name]
		for _, a := range []*Attempt{cf.Current, cf.Last} {
			if a != nil && a.Exit != nil {
				c.Ends = append(c.Ends, explain.End{Attempt: a.Number, Code: a.Exit.Code, Reason: a.Exit.Reason, Message: a.Exit.Message, Started: a.StartedAt, At: a.Exit.At})
			}
		}
		out = append(out, c)
	}
	return out
}
