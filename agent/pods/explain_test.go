package pods

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/lifecycle"
	"github.com/davit-agent/davit/agent/lifecycle/explain"
	"github.com/davit-agent/davit/agent/pods/record"
)

func (w *world) explain(t *testing.T, uid string) Explained {
	t.Helper()
	e, ok := w.a.p.Explain(uid)
	if !ok {
		t.Fatalf("nothing is known of %s", uid)
	}
	return e
}

func TestExplain(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.start(t)
		if _, ok := w.a.p.Explain("u1"); ok {
			t.Error("a pod that there is not is explained")
		}
		const ref = "example.com/one:1"
		w.publishes(ref, time.Minute)
		pod := toolPod("web", "u1", "ignore-term")
		pod.Spec.Containers[0].Image = ref
		w.want(pod)
		w.await(t, "the pull", func() bool { return w.waiting("u1") == "ContainerCreating: half of it" })
		synctest.Wait()
		e := w.explain(t, "u1")
		if len(e.Waits) != 1 || e.Waits[0].Cause != explain.Pulling || e.Waits[0].Detail != "half of it" || e.Step != nil || e.Successor != "" {
			t.Errorf("while it pulls: %+v", e)
		}
		w.awaitPhase(t, "u1", v1.PodRunning)
		synctest.Wait()
		if e := w.explain(t, "u1"); e.Why != "its container runs" || len(e.Waits)+len(e.Next) != 0 || e.Phase != v1.PodRunning {
			t.Errorf("while it runs: %+v", e)
		}
		next := toolPod("web", "u2")
		w.want(next)
		time.Sleep(2 * time.Second) // of 5 s of grace
		e = w.explain(t, "u1")
		if len(e.Waits) != 1 || e.Waits[0].Cause != explain.Stopping || !slices.Equal(e.Waits[0].For, []string{"a"}) || e.Successor != "u2" {
			t.Errorf("while it stops: %+v", e)
		}
		if left := time.Until(e.Next[0].At); left > 3*time.Second || left < 2*time.Second {
			t.Errorf("it is to be killed in %v", left)
		}
		w.awaitPhase(t, "u2", v1.PodRunning)
		if _, ok := w.a.p.Explain("u1"); ok {
			t.Error("the pod that is gone is explained")
		}
	})
}

// What hangs is told while it hangs.
func TestExplainWhatIsUnderWay(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.fail(fault{op: "start", nth: 1, hang: true})
		w.start(t)
		w.want(toolPod("web", "u1"))
		time.Sleep(stepTimeout / 2)
		e := w.explain(t, "u1")
		if e.Step == nil || e.Step.Op != lifecycle.OpStart || e.Step.Container != "a" || time.Since(e.Began) < stepTimeout/4 {
			t.Errorf("%+v, began %v", e.Step, e.Began)
		}
		w.awaitPhase(t, "u1", v1.PodRunning)
		synctest.Wait()
		if e := w.explain(t, "u1"); e.Step != nil {
			t.Errorf("%+v is over", e.Step)
		}
	})
}

func TestExplainFailures(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.pool = 0
		w.start(t)
		w.want(toolPod("none", "u1"))
		time.Sleep(time.Minute)
		e := w.explain(t, "u1")
		if len(e.Waits) != 1 || e.Waits[0].Cause != explain.Admission || len(e.Next) != 0 || !strings.HasPrefix(e.Why, "the node cannot take the pod on, ") {
			t.Errorf("without an address: %+v", e)
		}
	})
	bubble(t, func(t *testing.T, w *world) {
		w.start(t)
		w.want(toolPod("web", "u1", "exit", "3"))
		w.await(t, "the back-off", func() bool { return strings.HasPrefix(w.waiting("u1"), "CrashLoopBackOff") })
		synctest.Wait()
		e := w.explain(t, "u1")
		if len(e.Waits) != 1 || e.Waits[0].Cause != explain.CrashLoop || len(e.Next) != 1 || e.Containers[0].Ends[0].Code != 3 {
			t.Errorf("in a crash loop: %+v", e)
		}
	})
}

// A pod whose record cannot be read is wanted, but nobody works on it.
func TestExplainUnstarted(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.start(t)
		bad := toolPod("bad-n1", "u1")
		bad.Spec.NodeName = "n1"
		w.want(bad)
		w.awaitPhase(t, "u1", v1.PodRunning)
		if _, why, ok := w.a.p.Unstarted("default", "bad"); ok {
			t.Errorf("of one that runs: %s", why)
		}
		w.stop()
		if err := os.WriteFile(filepath.Join(w.recordDir("u1"), record.FactsFile), []byte(`{`), 0o600); err != nil {
			t.Fatal(err)
		}
		w.start(t)
		time.Sleep(time.Minute)
		for _, name := range []string{"bad", "bad-n1"} {
			if d, why, ok := w.a.p.Unstarted("default", name); !ok || d.Origin == "" || !strings.Contains(why, "cannot be read") {
				t.Errorf("%v, %q, %v", d, why, ok)
			}
		}
		if _, _, ok := w.a.p.Unstarted("other", "bad"); ok {
			t.Error("there is none in the other namespace")
		}
	})
}
