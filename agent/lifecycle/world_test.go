package lifecycle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/davit-agent/davit/runtime"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// world is a strict model of a node with one pod: the worker's record of it,
// the runtime and the sandbox. It refuses what the real thing would refuse and
// fails on what must not happen.
type world struct {
	t         fataler
	pod       *v1.Pod
	now       time.Time
	facts     Facts  // in the worker's memory
	disk      []byte // as last made durable
	boot      int
	sandbox   bool // intact
	partly    bool // something of the sandbox is there
	era       int  // of sandboxes: counts losses
	down      bool // the runtime does not answer
	forgotten bool
	conts     map[string]*simContainer
	inited    map[string]int // container -> era+1 in which it last did its part in initialisation
	started   map[string]int // container -> processes started, ever
	log       []string       // steps done since the last call of steps
	fault     func(Step) fault
	absent    map[string]bool      // containers whose image is not there
	pulling   map[string]string    // those whose image is being pulled
	hooks     map[hookID]*HookSeen // begun by this process
	health    map[string]Health    // by ID
	objectsAt time.Time            // when ConfigMaps and Secrets changed
	imagesAt  time.Time
}

type fataler interface {
	Helper()
	Fatalf(string, ...any)
}

// fault is what goes wrong with one step.
type fault int

const (
	fine        fault = iota
	errBefore         // an error, and nothing was done
	errAfter          // an error, but it was done
	errFinal          // of OpStart: ErrStart
	crashBefore       // kill -9
	crashAfter
)

type simContainer struct {
	runtime.Container
	era      int
	stubborn bool // ignores the stop signal
	undead   bool // ignores SIGKILL, too (a hung mount)
	termed   bool
}

func newWorld(t fataler, pod *v1.Pod) *world {
	w := &world{
		t: t, pod: pod, now: epoch, boot: 1,
		hooks: map[hookID]*HookSeen{}, health: map[string]Health{},
		absent: map[string]bool{}, pulling: map[string]string{},
		conts: map[string]*simContainer{}, inited: map[string]int{}, started: map[string]int{},
	}
	w.facts = Accept(pod, w.bootID(), w.now)
	w.save()
	return w
}

func (w *world) bootID() string { return fmt.Sprintf("boot-%d", w.boot) }

func (w *world) save() {
	w.t.Helper()
	b := toJSON(w.facts)
	var back Facts
	if err := json.Unmarshal(b, &back); err != nil {
		w.t.Fatalf("decoding facts: %v\n%s", err, b)
	}
	if again := toJSON(back); !bytes.Equal(b, again) {
		w.t.Fatalf("facts change in JSON:\n%s\n%s", b, again)
	}
	w.disk = b
}

// crash is kill -9 of the agent and its next start.
func (w *world) crash() {
	w.facts = Facts{}
	clear(w.pulling) // the pulls went with the process
	clear(w.hooks)
	clear(w.health)
	if err := json.Unmarshal(w.disk, &w.facts); err != nil {
		w.t.Fatalf("decoding facts: %v", err)
	}
}

func (w *world) durable() Facts {
	var f Facts
	if err := json.Unmarshal(w.disk, &f); err != nil {
		w.t.Fatalf("decoding facts: %v", err)
	}
	return f
}

func toJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func (w *world) seen() Seen {
	s := Seen{BootID: w.bootID(), RuntimeDown: w.down, Sandbox: w.sandbox,
		Pulling: w.pulling, ObjectsAt: w.objectsAt, ImagesAt: w.imagesAt}
	for _, id := range slices.SortedFunc(maps.Keys(w.hooks), func(a, b hookID) int {
		return strings.Compare(a.id+string(a.kind), b.id+string(b.kind))
	}) {
		s.Hooks = append(s.Hooks, *w.hooks[id])
	}
	for _, p := range Probings(w.pod, w.facts) {
		h, ok := w.health[p.ID]
		if !ok {
			m, _ := w.kindOf(p.Container)
			h = Health{ID: p.ID, Started: p.Started || m.StartupProbe == nil, Ready: p.Ready}
		}
		if s.Health == nil {
			s.Health = map[string]Health{}
		}
		s.Health[p.Container] = h
	}
	for _, c := range w.sorted() {
		if w.down && c.State != runtime.StateRunning && c.State != runtime.StateExited {
			continue // unknown to whoever asks the shims
		}
		s.Containers = append(s.Containers, c.Container)
	}
	return s
}

func (w *world) sorted() []*simContainer {
	var cs []*simContainer
	for _, c := range w.conts {
		cs = append(cs, c)
	}
	slices.SortFunc(cs, func(a, b *simContainer) int {
		if n := a.CreatedAt.Compare(b.CreatedAt); n != 0 {
			return n
		}
		return strings.Compare(a.ID, b.ID)
	})
	return cs
}

func (w *world) input() Input {
	return Input{Pod: w.pod, Facts: w.facts, Seen: w.seen(), Now: w.now}
}

// turn is one turn of a worker. It returns the plan.
func (w *world) turn() Plan {
	w.t.Helper()
	before := toJSON(w.facts)
	facts := Observe(w.pod, w.facts, w.seen(), w.now)
	if !bytes.Equal(before, toJSON(w.facts)) {
		w.t.Fatalf("Observe changed its input")
	}
	w.facts = facts
	in := w.input()
	before = toJSON(in.Facts)
	plan := Decide(in)
	if !bytes.Equal(before, toJSON(in.Facts)) {
		w.t.Fatalf("Decide changed its input")
	}
	if !plan.Again.IsZero() && !plan.Again.After(w.now) {
		w.t.Fatalf("Again %v is not after now %v", plan.Again, w.now)
	}
	w.checkExplained(in, plan)
	for _, s := range plan.Steps {
		if !w.do(s) {
			break
		}
	}
	w.report()
	return plan
}

// do does one step of a plan and tells whether the plan goes on.
func (w *world) do(s Step) bool {
	w.t.Helper()
	if s.Op == OpSetup || s.Op == OpStart || s.Op == OpRemove {
		w.save()
	}
	how := fine
	if w.fault != nil {
		how = w.fault(s)
	}
	if how == errFinal && s.Op != OpStart {
		how = errBefore
	}
	w.log = append(w.log, line(s))
	if how == crashBefore {
		w.crash()
		return false
	}
	var r Result
	w.check(s)
	if s.Op == OpCreate && how == fine && w.absent[s.Container] {
		if w.pulling[s.Container] != "" {
			w.t.Fatalf("%s while its image is being pulled", line(s))
		}
		w.pulling[s.Container] = "1 of 2 layers"
		before := toJSON(w.facts)
		w.facts = Apply(w.pod, w.facts, s, Result{Pending: true}, w.now)
		if !bytes.Equal(before, toJSON(w.facts)) {
			w.t.Fatalf("a pull that has begun changes the facts")
		}
		return false
	}
	if how != errBefore && how != errFinal {
		w.effect(s)
		r.Image, r.ImageID = "example.test/"+s.Container, "sha256:1"
	}
	if how == crashAfter {
		w.crash()
		return false
	}
	switch {
	case how == errFinal:
		r = Result{Reason: "StartError", Message: "no such file", Final: true}
	case how != fine:
		r = Result{Reason: failReason(s.Op), Message: "it went wrong"}
	}
	before := toJSON(w.facts)
	facts := Apply(w.pod, w.facts, s, r, w.now)
	if !bytes.Equal(before, toJSON(w.facts)) {
		w.t.Fatalf("Apply changed its input")
	}
	w.facts = facts
	return how == fine
}

func failReason(op Op) string {
	switch op {
	case OpCreate:
		return "ErrImagePull"
	case OpStart:
		return "RunContainerError"
	}
	return "Failed"
}

func line(s Step) string {
	switch {
	case s.Op == OpSignal && s.Signal == "":
		return fmt.Sprintf("stop %s/%d", s.Container, s.Attempt)
	case s.Op == OpSignal:
		return fmt.Sprintf("kill %s/%d", s.Container, s.Attempt)
	case s.Op == OpHook:
		return fmt.Sprintf("%s %s/%d", s.Hook, s.Container, s.Attempt)
	case s.Container != "":
		return fmt.Sprintf("%s %s/%d", s.Op, s.Container, s.Attempt)
	}
	return string(s.Op)
}

// effect does what the step does.
func (w *world) effect(s Step) {
	c := w.conts[s.ID]
	switch s.Op {
	case OpSetup:
		w.sandbox, w.partly = true, true
	case OpTeardown:
		w.sandbox, w.partly = false, false
	case OpForget:
		w.forgotten = true
	case OpCreate:
		if c == nil {
			w.conts[s.ID] = &simContainer{era: w.era, Container: runtime.Container{
				ContainerRef: runtime.ContainerRef{Name: s.Container, Attempt: s.Attempt, ID: s.ID},
				State:        runtime.StateCreated, CreatedAt: w.now,
			}}
		}
	case OpStart:
		c.State, c.StartedAt = runtime.StateRunning, w.now
		w.started[s.Container]++
		if m, _ := w.kindOf(s.Container); m.kind == kindSidecar {
			w.inited[s.Container] = w.era + 1
		}
	case OpHook:
		w.hooks[hookID{s.ID, s.Hook}] = &HookSeen{ID: s.ID, Kind: s.Hook}
	case OpSignal:
		c.termed = true
		if c.State == runtime.StateRunning && !c.undead && (s.Signal == sigKill || !c.stubborn) {
			code := int32(143)
			if s.Signal == sigKill {
				code = 137
			}
			w.exit(c, code)
		}
	case OpRemove:
		delete(w.conts, s.ID)
	}
}

func (w *world) exit(c *simContainer, code int32) {
	c.State, c.Exit = runtime.StateExited, &runtime.Exit{Code: code, At: w.now}
	if m, _ := w.kindOf(c.Name); m.kind == kindInit && code == 0 && c.era == w.era {
		w.inited[c.Name] = w.era + 1
	}
}

// restartDaemon is a restart of containerd that loses stopped tasks.
func (w *world) restartDaemon() {
	for _, c := range w.conts {
		if c.State != runtime.StateRunning {
			c.State, c.Exit = runtime.StateUnknown, nil
		}
	}
}

func (w *world) loseSandbox() {
	if w.sandbox {
		w.sandbox = false
		w.era++
	}
}

func (w *world) reboot() {
	w.boot++
	w.down = false
	if w.sandbox {
		w.loseSandbox()
	} else {
		w.era++
	}
	for _, c := range w.conts {
		c.State, c.Exit, c.StartedAt = runtime.StateUnknown, nil, time.Time{}
	}
	w.crash()
}

// report makes the pod's status, keeps its conditions and checks it against the
// one before.
func (w *world) report() v1.PodStatus {
	w.t.Helper()
	before := toJSON(w.facts)
	s := Status(w.input())
	if !bytes.Equal(before, toJSON(w.facts)) {
		w.t.Fatalf("Status changed its input")
	}
	if again := Status(w.input()); !bytes.Equal(toJSON(s), toJSON(again)) {
		w.t.Fatalf("Status is no function")
	}
	w.facts.Conditions = s.Conditions
	return s
}

func (w *world) status() v1.PodStatus { return Status(w.input()) }

// --- what scenarios are written with ---

// idle takes turns until nothing is to be done, and returns the steps done.
func (w *world) idle() string {
	w.t.Helper()
	w.log = nil
	for range 50 {
		if len(w.turn().Steps) == 0 || w.forgotten {
			return strings.Join(w.log, ", ")
		}
	}
	w.t.Fatalf("no end of steps: %s", strings.Join(w.log, ", "))
	return ""
}

func (w *world) pass(d time.Duration) { w.now = w.now.Add(d) }

// cont returns the newest container of that name.
func (w *world) cont(name string) *simContainer {
	w.t.Helper()
	var newest *simContainer
	for _, c := range w.conts {
		if c.Name == name && (newest == nil || c.Attempt > newest.Attempt) {
			newest = c
		}
	}
	if newest == nil {
		w.t.Fatalf("there is no container %s", name)
	}
	return newest
}

// exits has the named container exit.
func (w *world) exits(name string, code int32) {
	w.t.Helper()
	c := w.cont(name)
	if c.State != runtime.StateRunning {
		w.t.Fatalf("%s does not run", name)
	}
	w.exit(c, code)
}

// hookEnds has the newest container's hook end, with failure "" in success.
func (w *world) hookEnds(name string, kind HookKind, failure string) {
	w.t.Helper()
	h := w.hooks[hookID{w.cont(name).ID, kind}]
	if h == nil || h.Done {
		w.t.Fatalf("no %s hook of %s runs", kind, name)
	}
	h.Done, h.Failure = true, failure
}

// probed sets what the probes of the newest container have come to.
func (w *world) probed(name string, h Health) {
	h.ID = w.cont(name).ID
	w.health[h.ID] = h
}

// newPod returns a pod of containers given as "i:name" (init), "s:name"
// (sidecar) and "name" (main).
func newPod(policy v1.RestartPolicy, names ...string) *v1.Pod {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default", UID: "u-1"}}
	p.Spec.RestartPolicy = policy
	always := v1.ContainerRestartPolicyAlways
	for _, n := range names {
		k, name, ok := strings.Cut(n, ":")
		if !ok {
			p.Spec.Containers = append(p.Spec.Containers, v1.Container{Name: n, Image: n + ":1"})
			continue
		}
		c := v1.Container{Name: name, Image: name + ":1"}
		if k == "s" {
			c.RestartPolicy = &always
		}
		p.Spec.InitContainers = append(p.Spec.InitContainers, c)
	}
	return p
}
