package pods

import (
	"os"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
)

// within fails unless it comes to that within some minutes.
func within(t *testing.T, w *world, what string, is func() bool) {
	t.Helper()
	began := time.Now()
	w.await(t, what, is)
	if took := time.Since(began); took > 5*time.Minute {
		t.Errorf("%s: that took %v", what, took)
	}
}

// What is left of a pod that was never accepted cannot be removed: the node comes
// up all the same.
func TestALeftoverThatHangsHoldsUpNobody(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		if err := os.MkdirAll(w.recordDir("x1"), 0o700); err != nil {
			t.Fatal(err)
		}
		w.fail(fault{op: "teardown", nth: 1, hang: true})
		w.start(t)
		w.want(toolPod("web", "u1"))
		within(t, w, "the pod runs", func() bool { return w.phase("u1") == v1.PodRunning })
		within(t, w, "the leftover is gone", func() bool { return len(w.leftOf("x1")) == 0 })
	})
}

// One orphan that cannot be removed does not keep others.
func TestAnOrphanThatHangsHoldsUpNoOther(t *testing.T) {
	for _, op := range []string{"delete", "detach", "remove"} {
		t.Run(op, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.start(t)
				w.want(toolPod("web", "u1"))
				w.awaitPhase(t, "u1", v1.PodRunning)
				w.stop()
				w.orphan(t, "x1")
				w.orphan(t, "x2")
				w.fail(fault{op: op, nth: 1, hang: true})
				w.start(t)
				within(t, w, "the orphans are gone", func() bool { return len(w.leftOf("x1"))+len(w.leftOf("x2")) == 0 })
			})
		})
	}
}
