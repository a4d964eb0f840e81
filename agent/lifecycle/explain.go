package lifecycle

import (
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
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
	Waits []Wait `json:"waits,omitempty"`
	// Next is what happens when nothing else does, ordered by time; empty:
	// nothing until something changes.
	Next       []Coming               `json:"next,omitempty"`
	Containers []ContainerExplanation `json:"containers"` // in the order of the spec, init containers first
	Deletion   *Dying                 `json:"deletion,omitempty"`
	Evicted    *Eviction              `json:"evicted,omitempty"`
	Ended      *Ended                 `json:"ended,omitempty"`
}

// Dying is a deletion under way.
type Dying struct {
	Since  time.Time `json:"since"` // it was asked for
	Until  time.Time `json:"until"` // what runs then is killed
	Reason string    `json:"reason"`
}

// Cause is why something waits.
type Cause string

// The causes.
const (
	CauseRuntimeDown  Cause = "RuntimeDown"  // the container runtime does not answer
	CauseStopping     Cause = "Stopping"     // what has to stop still runs
	CauseAdmission    Cause = "Admission"    // the node cannot take the pod on: too many pods, no address, no disk
	CauseSetup        Cause = "Setup"        // volumes, namespaces or network cannot be made
	CausePulling      Cause = "Pulling"      // the image is on its way
	CausePullFailed   Cause = "PullFailed"   // the image could not be pulled
	CauseImageMissing Cause = "ImageMissing" // the image is not here and may not be pulled
	CauseImageName    Cause = "ImageName"    // the image's name does not parse
	CauseConfig       Cause = "Config"       // a ConfigMap, a Secret or a key of it is missing
	CauseCreate       Cause = "Create"       // creating the container fails
	CauseStart        Cause = "Start"        // starting it fails
	CauseSignal       Cause = "Signal"       // it cannot be signalled
	CauseCrashLoop    Cause = "CrashLoop"    // it ended more than once
	CauseInit         Cause = "Init"         // an init container or sidecar before it is not that far
)

// ReasonAdmission is the reason of a sandbox's failure when the pod could not even
// be accepted.
const ReasonAdmission = "FailedAdmission"

// Wait is one thing that is waited for.
type Wait struct {
	Cause     Cause     `json:"cause"`
	Container string    `json:"container,omitempty"` // who waits; "": the pod
	For       []string  `json:"for,omitempty"`       // the containers it waits for
	Detail    string    `json:"detail"`
	Tries     int32     `json:"tries,omitempty"` // that failed in a row
	Until     time.Time `json:"until,omitzero"`  // when it is tried again, or forced; zero: when it happens
}

// Coming is something that will happen.
type Coming struct {
	At        time.Time `json:"at"` // not after now: it is due
	What      string    `json:"what"`
	Container string    `json:"container,omitempty"`
}

// ContainerExplanation is the same of one container.
type ContainerExplanation struct {
	Name     string    `json:"name"`
	Kind     string    `json:"kind"`  // container, init container or sidecar
	State    string    `json:"state"` // waiting, running or terminated
	Reason   string    `json:"reason,omitempty"`
	Message  string    `json:"message,omitempty"`
	Since    time.Time `json:"since,omitzero"` // it runs, or has ended
	Restarts int32     `json:"restarts,omitempty"`
	// Ends is how its last attempts ended, newest first; two at most are known.
	Ends []End `json:"ends,omitempty"`
}

// End is how one attempt to run a container ended.
type End struct {
	Attempt uint32    `json:"attempt"`
	Code    int32     `json:"code"`
	Reason  string    `json:"reason"`
	Message string    `json:"message,omitempty"`
	Started time.Time `json:"started,omitzero"`
	At      time.Time `json:"at"`
}

// Explain tells why the pod is where it is and what happens next.
func Explain(in Input) Explanation {
	p, status := decide(in), Status(in)
	e := Explanation{
		Phase: status.Phase, Since: in.Facts.Accepted, Containers: explainContainers(in, status),
		Evicted: copyOf(in.Facts.Evicted), Ended: copyOf(in.Facts.Ended),
	}
	if d := in.Facts.Deletion; d != nil {
		e.Deletion = &Dying{Since: d.At, Until: d.At.Add(d.Grace), Reason: d.Reason}
	}
	e.Waits = waitsOf(in, p.plan.Again)
	if len(e.Waits) == 0 || e.Waits[0].Cause != CauseAdmission { // else no plan is carried out
		e.Next = coming(p, e.Waits)
	}
	e.Why = e.why(in.Pod, status)
	return e
}

// waitsOf returns what the pod and its containers wait for. again is the plan's.
func waitsOf(in Input, again time.Time) []Wait {
	f := &in.Facts
	_, _, over := outcome(in.Pod, f)
	switch {
	case in.Seen.RuntimeDown:
		return []Wait{{Cause: CauseRuntimeDown, Detail: "the container runtime does not answer", Until: again}}
	case f.Deletion != nil:
		return append(stopping(in, again, "the pod is deleted: "+f.Deletion.Reason), failedSignals(in)...)
	case f.Ended == nil && f.Evicted != nil:
		return append(stopping(in, again, "the node evicts the pod: "+f.Evicted.Message), failedSignals(in)...)
	case over || f.Ended != nil:
		return append(stopping(in, again, "the pod is over"), failedSignals(in)...)
	case f.Sandbox.ReadyAt.IsZero():
		if x := f.Sandbox.Failure; x != nil && x.Reason == ReasonAdmission {
			return []Wait{{Cause: CauseAdmission, Detail: x.Message}}
		} else if x != nil {
			return []Wait{{Cause: CauseSetup, Detail: x.Message, Tries: x.Count, Until: in.Seen.retrySetup(x)}}
		}
		return stopping(in, again, "its sandbox was lost")
	}
	var ws []Wait
	for _, m := range members(in.Pod) {
		if w, ok := waitOf(in, m); ok {
			ws = append(ws, w)
		}
	}
	return ws
}

// stopping tells which containers still run that should not.
func stopping(in Input, until time.Time, why string) []Wait {
	var alive []string
	for _, m := range members(in.Pod) {
		if in.Facts.Containers[m.Name].Current.running() {
			alive = append(alive, m.Name)
		}
	}
	if len(alive) == 0 {
		return nil
	}
	return []Wait{{Cause: CauseStopping, For: alive, Detail: why, Until: until}}
}

func failedSignals(in Input) []Wait {
	var ws []Wait
	for _, m := range members(in.Pod) {
		if cf := in.Facts.Containers[m.Name]; cf.Failure != nil && cf.Current.running() {
			ws = append(ws, Wait{Cause: CauseSignal, Container: m.Name, Detail: cf.Failure.Message, Tries: cf.Failure.Count, Until: retrySignal(cf.Failure)})
		}
	}
	return ws
}

// waitOf tells what m waits for, in a pod that should live.
func waitOf(in Input, m member) (Wait, bool) {
	f, now := &in.Facts, stamp(in.Now)
	cf := f.Containers[m.Name]
	a := cf.Current
	if a.running() || !a.pending() && !wanted(in.Pod, f, m) {
		return Wait{}, false
	}
	w := Wait{Container: m.Name}
	if how, pulling := in.Seen.Pulling[m.Name]; pulling {
		w.Cause, w.Detail = CausePulling, how
		return w, true
	}
	if x := cf.Failure; x != nil {
		w.Cause, w.Detail, w.Tries, w.Until = failureCause(x, a), x.Reason+": "+x.Message, x.Count, in.Seen.retryCreate(x)
		if w.Cause == CauseStart {
			w.Until = retryStart(x)
		}
		return w, true
	}
	if until := cf.BackOff.Until; a.in(f.Sandbox.Generation) && a.Exit != nil && until.After(now) {
		w.Cause, w.Until, w.Tries = CauseCrashLoop, until, cf.RestartCount+1
		w.Detail = "it " + ended(a.Exit)
		return w, true
	}
	if before, ok := blocker(in, m); ok {
		w.Cause, w.For = CauseInit, []string{before.Name}
		w.Detail = fmt.Sprintf("%s %s %s", before.kind, before.Name, progress(f.Containers[before.Name].Current, before.kind))
		return w, true
	}
	return Wait{}, false
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
	case a == nil || a.Exit == nil:
		return "has not started yet"
	}
	return ended(a.Exit)
}

func failureCause(x *Failure, a *Attempt) Cause {
	switch {
	case x.pullFailed():
		return CausePullFailed
	case x.Reason == reasonNeverPull:
		return CauseImageMissing
	case x.Reason == "InvalidImageName":
		return CauseImageName
	case x.Reason == "CreateContainerConfigError":
		return CauseConfig
	case a.pending() && !a.Starting.IsZero():
		return CauseStart
	}
	return CauseCreate
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
		case i < front, before.kind == kindSidecar && a.running():
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
func coming(p *planner, waits []Wait) []Coming {
	var out []Coming
	for _, s := range p.plan.Steps {
		out = append(out, Coming{At: p.now, What: s.Describe(), Container: s.Container})
	}
	acts := map[time.Time]bool{}
	for _, w := range waits {
		if act := w.act(); act != "" && w.Until.After(p.now) {
			out = append(out, Coming{At: w.Until, What: act, Container: w.Container})
			acts[w.Until] = true
		}
	}
	for _, t := range p.waits {
		if !t.until.IsZero() && !acts[t.until] {
			out = append(out, Coming{At: t.until, What: "the pod is looked at again: " + t.why})
		}
	}
	slices.SortStableFunc(out, func(a, b Coming) int { return a.At.Compare(b.At) })
	return out
}

const whenChanged = ", sooner if a ConfigMap or Secret changes"

// act tells what happens when the wait is over.
func (w Wait) act() string {
	switch w.Cause {
	case CauseRuntimeDown:
		return "the container runtime is asked again"
	case CauseStopping:
		return "what still runs then is killed: " + strings.Join(w.For, ", ")
	case CauseSetup:
		return "setting up the pod is tried again" + whenChanged
	case CausePullFailed:
		return "the image of container " + w.Container + " is pulled again"
	case CauseConfig:
		return "creating container " + w.Container + " is tried again" + whenChanged
	case CauseImageMissing:
		return "creating container " + w.Container + " is tried again, sooner if the image is loaded"
	case CauseImageName, CauseCreate:
		return "creating container " + w.Container + " is tried again"
	case CauseStart:
		return "starting container " + w.Container + " is tried again"
	case CauseSignal:
		return "container " + w.Container + " is signalled again"
	case CauseCrashLoop:
		return "container " + w.Container + " is started again"
	}
	return ""
}

// why is the one sentence.
func (e *Explanation) why(pod *v1.Pod, s v1.PodStatus) string {
	if len(e.Waits) > 0 {
		return e.Waits[0].sentence()
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

func (w Wait) sentence() string {
	who := "the pod"
	if w.Container != "" {
		who = "container " + w.Container
	}
	switch w.Cause {
	case CauseRuntimeDown:
		return w.Detail
	case CauseStopping:
		return fmt.Sprintf("%s; still running: %s", w.Detail, strings.Join(w.For, ", "))
	case CauseAdmission:
		return "the node cannot take the pod on, and tries again every few seconds: " + w.Detail
	case CauseSetup:
		return "setting up the pod failed: " + w.Detail
	case CausePulling:
		return who + " waits for its image: " + w.Detail
	case CauseCrashLoop:
		return who + " does not keep running: " + w.Detail
	case CauseInit:
		return fmt.Sprintf("%s waits: %s", who, w.Detail)
	}
	return who + " cannot run: " + w.Detail
}

// String names the kind for people.
func (k kind) String() string { return [...]string{"container", "init container", "sidecar"}[k] }

func explainContainers(in Input, s v1.PodStatus) []ContainerExplanation {
	byName := map[string]v1.ContainerStatus{}
	for _, c := range append(slices.Clone(s.InitContainerStatuses), s.ContainerStatuses...) {
		byName[c.Name] = c
	}
	out := []ContainerExplanation{}
	for _, m := range members(in.Pod) {
		c := ContainerExplanation{Name: m.Name, Kind: m.kind.String(), Restarts: byName[m.Name].RestartCount}
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
				c.Ends = append(c.Ends, End{Attempt: a.Number, Code: a.Exit.Code, Reason: a.Exit.Reason, Message: a.Exit.Message, Started: a.StartedAt, At: a.Exit.At})
			}
		}
		out = append(out, c)
	}
	return out
}
