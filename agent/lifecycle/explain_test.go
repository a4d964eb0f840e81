package lifecycle

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/davit-agent/davit/agent/lifecycle/explain"
)

// inShort is an explanation in a few words: why, the waits, what comes.
func inShort(w *world) string {
	e := Explain(w.input())
	out := []string{e.Why}
	at := func(t time.Time) string {
		if t.IsZero() {
			return "-"
		}
		return t.Sub(w.now).String()
	}
	for _, x := range e.Waits {
		out = append(out, fmt.Sprintf("  waits %s %s for=%s tries=%d %s", x.Cause, x.Container, strings.Join(x.For, "+"), x.Tries, at(x.Until)))
	}
	for _, n := range e.Next {
		out = append(out, fmt.Sprintf("  %s %s", at(n.At), n.What))
	}
	return strings.Join(out, "\n")
}

func wantShort(t *testing.T, w *world, lines ...string) {
	t.Helper()
	if got, want := inShort(w), strings.Join(lines, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestExplainStart(t *testing.T) {
	w := newWorld(t, newPod(always, "a"))
	wantShort(t, w, "the pod is being started",
		"  0s setup, for the pod has no sandbox", "  0s create a (attempt 0), for it should run", "  0s start a (attempt 0), for it should run")
	w.idle()
	wantShort(t, w, "its container runs")
	e := Explain(w.input())
	if c := e.Containers[0]; c.State != "running" || !c.Since.Equal(epoch) || c.Kind != "container" || len(c.Ends) != 0 || !e.Since.Equal(epoch) {
		t.Errorf("%+v", e)
	}
}

func TestExplainCrashLoop(t *testing.T) {
	w := newWorld(t, newPod(always, "a"))
	w.idle()
	w.exits("a", 1)
	w.idle()
	w.pass(3 * time.Second)
	w.exits("a", 7)
	w.idle()
	w.pass(4 * time.Second)
	wantShort(t, w, "container a does not keep running: it ended with code 7 (Error)",
		"  waits CrashLoop a for= tries=2 6s", "  6s container a is started again")
	c := Explain(w.input()).Containers[0]
	if len(c.Ends) != 2 || c.Ends[0].Code != 7 || c.Ends[1].Code != 1 || c.Ends[0].Attempt != 1 || c.Reason != "CrashLoopBackOff" || c.Restarts != 1 {
		t.Errorf("%+v", c)
	}
}

func TestExplainInit(t *testing.T) {
	w := newWorld(t, newPod(always, "i:i1", "s:s1", "a"))
	w.idle()
	wantShort(t, w, "container s1 waits: init container i1 still runs",
		"  waits Init s1 for=i1 tries=0 -", "  waits Init a for=i1 tries=0 -")
	w.exits("i1", 1) // restarts at once
	w.idle()
	w.exits("i1", 3)
	w.idle()
	wantShort(t, w, "container i1 does not keep running: it ended with code 3 (Error)",
		"  waits CrashLoop i1 for= tries=2 10s", "  waits Init s1 for=i1 tries=0 -", "  waits Init a for=i1 tries=0 -", "  10s container i1 is started again")
	w.pass(10 * time.Second)
	w.idle()
	w.exits("i1", 0)
	w.idle()
	wantShort(t, w, "its container runs")
}

func TestExplainImages(t *testing.T) {
	w := newWorld(t, newPod(always, "a"))
	absent("a")(w)
	w.idle()
	wantShort(t, w, "container a waits for its image: 1 of 2 layers", "  waits Pulling a for= tries=0 -")
	pulled("a")(w)
	failing(OpCreate, "a", errBefore)(w)
	w.idle()
	e := Explain(w.input())
	if len(e.Waits) != 1 || e.Waits[0].Cause != explain.PullFailed || e.Waits[0].Tries != 1 || e.Waits[0].Until.Sub(w.now) != 10*time.Second {
		t.Errorf("%+v", e.Waits)
	}
	if n := e.Next[len(e.Next)-1]; n.What != "the image of container a is pulled again" || !strings.Contains(e.Why, "container a cannot run: ErrImagePull: ") {
		t.Errorf("why %q, next %+v", e.Why, e.Next)
	}
	for reason, want := range map[string]explain.Cause{
		"ErrImageNeverPull": explain.ImageMissing, "InvalidImageName": explain.ImageName, "CreateContainerConfigError": explain.Config, "CreateContainerError": explain.Create,
	} {
		in := w.input()
		in.Facts = Apply(in.Pod, in.Facts, Step{Op: OpCreate, Container: "a"}, Result{Reason: reason, Message: "why"}, w.now)
		e := Explain(in)
		if x := e.Waits[0]; x.Cause != want || x.Detail != reason+": why" || len(e.Next) != 1 || !strings.HasPrefix(e.Next[0].What, "creating container a is tried again") {
			t.Errorf("%s: %+v, next %+v", reason, x, e.Next)
		}
	}
}

func TestExplainSetup(t *testing.T) {
	w := newWorld(t, newPod(always, "a"))
	failing(OpSetup, "", errBefore)(w)
	w.idle()
	e := Explain(w.input())
	if len(e.Waits) != 1 || e.Waits[0].Cause != explain.Setup || e.Waits[0].Until.Sub(w.now) != time.Second ||
		len(e.Next) != 1 || e.Next[0].What != "setting up the pod is tried again, sooner if a ConfigMap or Secret changes" || !strings.HasPrefix(e.Why, "setting up the pod failed: ") {
		t.Errorf("%+v", e)
	}
	w.down = true
	wantShort(t, w, "the container runtime does not answer", "  waits RuntimeDown  for= tries=0 10s", "  10s the container runtime is asked again")
}

func TestExplainEnd(t *testing.T) {
	w := newWorld(t, newPod(always, "s:s1", "a"))
	w.idle()
	stubborn("a")(w)
	deleted(30 * time.Second)(w)
	w.idle()
	w.pass(10 * time.Second)
	wantShort(t, w, "the pod is deleted: test; still running: s1, a",
		"  waits Stopping  for=s1+a tries=0 20s", "  20s what still runs then is killed, after 2 s more if it has had no signal yet: s1, a")
	if d := Explain(w.input()).Deletion; d == nil || d.Until.Sub(d.Since) != 30*time.Second {
		t.Errorf("deletion %+v", d)
	}

	w = newWorld(t, newPod(never, "a", "b"))
	w.idle()
	w.exits("a", 2)
	w.exits("b", 0)
	w.idle()
	wantShort(t, w, "the pod is over: container a ended with code 2 (Error)")
	w = newWorld(t, newPod(never, "a"))
	w.idle()
	w.exits("a", 0)
	w.idle()
	wantShort(t, w, "the pod is over: all its containers have ended with code 0")
	w = newWorld(t, newPod(always, "a"))
	w.idle()
	evicted(w)
	wantShort(t, w, "the node evicts the pod: too much; still running: a", "  waits Stopping  for=a tries=0 2s",
		"  0s signal a (attempt 0), for the node evicts the pod", "  2s what still runs then is killed, after 2 s more if it has had no signal yet: a")
	w.idle()
	wantShort(t, w, "the pod is over: Evicted: too much")
}

// checkExplained holds an explanation to the plan: what is due is told as due,
// nothing comes later than the plan looks again, and what waits is not running.
func (w *world) checkExplained(in Input, plan Plan) {
	w.t.Helper()
	e := Explain(in)
	if e.Why == "" {
		w.t.Fatalf("the pod is not explained: %s", toJSON(e))
	}
	for i, s := range plan.Steps {
		if i >= len(e.Next) || e.Next[i].What != s.Describe() || e.Next[i].At.After(in.Now) {
			w.t.Fatalf("step %d, %s, is not told: %s", i, s.Describe(), toJSON(e.Next))
		}
	}
	for i, n := range e.Next {
		if i >= len(plan.Steps) && !n.At.After(in.Now) {
			w.t.Fatalf("%q is told as due and is no step", n.What)
		}
	}
	if first := len(plan.Steps); !plan.Again.IsZero() && (first >= len(e.Next) || e.Next[first].At.After(plan.Again)) {
		w.t.Fatalf("the plan looks again at %v, the next that is told: %s", plan.Again, toJSON(e.Next))
	}
	for _, x := range e.Waits {
		if slices.Contains([]explain.Cause{explain.Signal, explain.Hook, explain.Probe, explain.Unhealthy}, x.Cause) {
			continue // these are of what runs
		}
		if x.Container != "" && in.Facts.Containers[x.Container].Current.running() {
			w.t.Fatalf("container %s runs and waits: %s", x.Container, toJSON(x))
		}
	}
}
