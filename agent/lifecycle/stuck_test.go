package lifecycle

import (
	"strings"
	"testing"
	"time"

	"github.com/davit-agent/davit/agent/lifecycle/explain"
)

// What hangs is named in the status and in the explanation, and no longer than
// that lasts.
func TestStuckIsNamed(t *testing.T) {
	w := newWorld(t, newPod(always, "a", "b"))
	w.idle()
	in := w.input()
	for i := range in.Seen.Containers {
		if in.Seen.Containers[i].Name == "b" {
			in.Seen.Containers[i].Stuck = "its shim (pid 7) does not answer"
		}
	}
	const text = "container b is stuck: its shim (pid 7) does not answer"
	if got := Status(in).Message; got != text {
		t.Errorf("status says %q, want %q", got, text)
	}
	e := Explain(in)
	if len(e.Waits) != 1 || e.Waits[0].Cause != explain.Stuck || e.Waits[0].Container != "b" || e.Why != text {
		t.Errorf("explained as %q with %+v", e.Why, e.Waits)
	}
	if got := Status(w.input()).Message; got != "" {
		t.Errorf("afterwards the status says %q", got)
	}
}

// A step of a pod's end that fails is on record until it succeeds.
func TestCleanupThatFailsIsNamed(t *testing.T) {
	pod := newPod(always, "a")
	f := RequestDeletion(Accept(pod, "boot", epoch), time.Second, "gone", epoch)
	failure := Result{Reason: "FailedKillPod", Message: "unmounting /x hangs"}
	for _, op := range []Op{OpRemove, OpTeardown, OpForget} {
		step := Step{Op: op, Container: "a"}
		g := Apply(pod, f, step, failure, epoch)
		g = Apply(pod, g, step, failure, epoch.Add(time.Second))
		in := Input{Pod: pod, Facts: g, Now: epoch.Add(time.Second)}
		if s := Status(in); s.Message != "the pod cannot be cleaned up: unmounting /x hangs" || s.Reason != "TeardownStuck" {
			t.Errorf("%s: status says %s: %q", op, s.Reason, s.Message)
		}
		e := Explain(in)
		if n := len(e.Waits); n == 0 || e.Waits[n-1].Cause != explain.Cleanup || e.Waits[n-1].Tries != 2 || !strings.Contains(e.Waits[n-1].Detail, "unmounting /x") {
			t.Errorf("%s: explained with %+v", op, e.Waits)
		}
		if g = Apply(pod, g, step, Result{}, epoch); g.Cleanup != nil {
			t.Errorf("%s: after its success there is still %+v", op, g.Cleanup)
		}
	}
}
