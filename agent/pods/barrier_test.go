package pods

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/lifecycle"
	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/fake"
)

// called tells whether the node has seen this call.
func (w *world) called(call string) bool { return slices.Contains(w.node.Calls(), call) }

// containers (in models_test.go) reads the record before each Start and Delete;
// here the writing of it fails, and the process dies on either side of a call.

func TestNothingStartsBeforeItIsOnRecord(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.fail(fault{op: "create", err: errors.New("injected")})
		w.start(t)
		w.want(toolPod("web", "u1"))
		w.await(t, "a failed create", func() bool { return w.facts("u1").Containers["a"].Failure != nil })
		w.block("u1")
		w.heal()
		w.await(t, "a create", func() bool { return w.called("create u1/a/0") })
		time.Sleep(10 * time.Minute)
		if w.called("start u1/a/0") {
			t.Fatal("it was started though its record could not be written")
		}
		w.unblock("u1")
		w.awaitPhase(t, "u1", v1.PodRunning)
	})
}

func TestNothingIsDeletedBeforeItsExitIsOnRecord(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.start(t)
		w.want(toolPod("web", "u1"))
		w.awaitPhase(t, "u1", v1.PodRunning)
		w.block("u1")
		w.node.End(w.running("u1")[0], runtime.Exit{Code: 42})
		time.Sleep(10 * time.Minute)
		if w.called("delete u1/a/0") || w.facts("u1").Containers["a"].Current.Exit != nil {
			t.Fatal("its task was deleted though its exit could not be written")
		}
		if x := w.status("u1").ContainerStatuses[0]; x.State.Terminated == nil && x.LastTerminationState.Terminated == nil {
			t.Errorf("the exit is not reported: %+v", x)
		}
		w.unblock("u1")
		w.await(t, "its restart", func() bool { return len(w.running("u1")) == 1 })
		if x := w.status("u1").ContainerStatuses[0]; x.RestartCount != 1 || x.LastTerminationState.Terminated.ExitCode != 42 {
			t.Errorf("%+v", x)
		}
	})
}

// A deletion needs no disk: it is often what makes room.
func TestDeletionGoesOnWithoutTheDisk(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.start(t)
		w.want(toolPod("web", "u1"))
		w.awaitPhase(t, "u1", v1.PodRunning)
		w.block("u1")
		w.unwant("u1")
		w.awaitGone(t, "u1")
	})
}

// Killed on either side of any call of a pod's life, davit takes it up where it
// was: no process runs twice for one attempt, none is counted that did not run,
// and the exit is told as it was.
func TestKilledAtEveryCall(t *testing.T) {
	for _, after := range []bool{false, true} {
		for n := 1; ; n++ {
			var reached bool
			bubble(t, func(t *testing.T, w *world) {
				reached = w.lifeWithDeathAt(t, n, after)
				if t.Failed() {
					t.Logf("killed at call %d, after its effect: %v", n, after)
				}
			})
			if !reached {
				if n < 30 {
					t.Errorf("a pod's life took %d calls: the test has lost its subject", n-1)
				}
				break
			}
		}
	}
}

// lifeWithDeathAt leads a pod through its life with one exit, killing davit at
// its nth call; false: there were fewer.
func (w *world) lifeWithDeathAt(t *testing.T, n int, after bool) (reached bool) {
	restart := func() {
		if w.a.dead.Load() {
			reached = true
			w.stop()
			w.start(t)
		}
	}
	w.fail(fault{op: "*", nth: n, kill: true, after: after})
	w.start(t)
	w.want(toolPod("web", "u1"))
	w.await(t, "its start", func() bool { restart(); return w.phase("u1") == v1.PodRunning })
	if x := w.status("u1").ContainerStatuses[0]; x.RestartCount != 0 {
		t.Errorf("%d restarts of a container that never ended", x.RestartCount)
	}
	w.node.End(w.running("u1")[0], runtime.Exit{Code: 42})
	w.await(t, "its restart", func() bool {
		restart()
		return w.phase("u1") == v1.PodRunning && w.status("u1").ContainerStatuses[0].RestartCount == 1 && len(w.running("u1")) == 1
	})
	last := w.status("u1").ContainerStatuses[0].LastTerminationState.Terminated
	if last == nil || last.ExitCode != 42 {
		t.Errorf("last termination %+v", last)
	}
	w.unwant("u1")
	w.await(t, "its end", func() bool { restart(); return len(w.leftOf("")) == 0 && w.status("u1") == nil })
	return reached
}

// The exit is on record when Delete is called, so it is known afterwards
// whatever the daemon does.
func TestExitOutlivesDavitAndDaemon(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.start(t)
		w.want(toolPod("web", "u1"))
		w.awaitPhase(t, "u1", v1.PodRunning)
		w.fail(fault{op: "delete", nth: 1, kill: true})
		w.node.End(w.running("u1")[0], runtime.Exit{Code: 42})
		<-w.a.done
		w.a.done <- nil
		if x := w.facts("u1").Containers["a"].Current.Exit; x == nil || x.Code != 42 {
			t.Fatalf("on record is %+v", x)
		}
		w.stop()
		w.node.StopDaemon()
		w.node.StartDaemon(fake.LoseStopped)
		w.start(t)
		w.await(t, "its restart", func() bool { return len(w.running("u1")) == 1 })
		if x := w.status("u1").ContainerStatuses[0]; x.LastTerminationState.Terminated.ExitCode != 42 {
			t.Errorf("%+v", x)
		}
	})
}

func TestTerminationMessageIsOnRecord(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.start(t)
		w.want(toolPod("web", "u1"))
		w.awaitPhase(t, "u1", v1.PodRunning)
		path := filepath.Join(w.recordDir("u1"), "containers", "a", "termination-log.0")
		if err := os.WriteFile(path, []byte(strings.Repeat("x", 5000)+"\xffout of cheese"), 0o600); err != nil {
			t.Fatal(err)
		}
		w.node.End(w.running("u1")[0], runtime.Exit{Code: 1})
		w.await(t, "its restart", func() bool { return len(w.running("u1")) == 1 })
		m := w.status("u1").ContainerStatuses[0].LastTerminationState.Terminated.Message
		if !strings.HasPrefix(m, "xxx") || len(m) > maxTerminationMessage || !strings.Contains(m, "x\uFFFDout of") {
			t.Errorf("%d bytes: %.40q", len(m), m)
		}
		if got := w.facts("u1").Containers["a"].Last.Exit.Message; got != m {
			t.Errorf("on record is %.40q", got)
		}
	})
}

// The addresses of a pod that goes are given to the next only when no record
// has them any more: davit might be killed in between.
func TestAddressIsNotOnTwoRecords(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.pool = 1
		w.start(t)
		w.want(toolPod("old", "u1"))
		w.awaitPhase(t, "u1", v1.PodRunning)
		w.want(toolPod("new", "u2"))
		hold := make(chan struct{})
		w.fail(fault{op: "unlink", nth: 1, wait: hold})
		w.unwant("u1")
		time.Sleep(time.Minute) // u2 asks for an address every 10 s
		synctest.Wait()
		for _, uid := range []string{"u1", "u2"} {
			if f := w.facts(uid); w.recorded(uid) && holdsAddresses(f) != (uid == "u1") {
				t.Errorf("while u1 is on its way %s has %v on record (torn down: %v)", uid, f.PodIPs, f.Sandbox.TornDown)
			}
		}
		close(hold)
		w.awaitPhase(t, "u2", v1.PodRunning)
	})
}

// A pod that has ended keeps its record and gives its address back.
func TestEndedPodGivesItsAddressBack(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.pool = 1
		w.start(t)
		job := toolPod("job", "u1", "exit", "0", "5s")
		job.Spec.RestartPolicy = v1.RestartPolicyNever
		w.want(job)
		w.awaitPhase(t, "u1", v1.PodSucceeded)
		w.want(toolPod("web", "u2"))
		w.awaitPhase(t, "u2", v1.PodRunning)
		w.restart(t) // and the two do not quarrel when they are taken up
		w.awaitPhase(t, "u2", v1.PodRunning)
		if f := w.facts("u1"); f.Ended == nil || f.Ended.Phase != v1.PodSucceeded || holdsAddresses(f) {
			t.Errorf("%+v", f)
		}
		if w.owners()[w.addrsOf("u2")[0]] != "u2" {
			t.Errorf("%v", w.owners())
		}
	})
}

func TestHoldsAddresses(t *testing.T) {
	ips := []netip.Addr{netip.MustParseAddr("10.85.0.2"), netip.MustParseAddr("fd00::2")}
	for _, c := range []struct {
		f    lifecycle.Facts
		want bool
	}{
		{lifecycle.Facts{}, false},
		{lifecycle.Facts{PodIPs: ips}, true},
		{lifecycle.Facts{PodIPs: ips, Ended: &lifecycle.Ended{}}, true}, // its attachment may still be there
		{lifecycle.Facts{PodIPs: ips, Ended: &lifecycle.Ended{}, Sandbox: lifecycle.SandboxFacts{TornDown: true}}, false},
	} {
		if got := holdsAddresses(c.f); got != c.want {
			t.Errorf("%+v: %v", c.f, got)
		}
	}
}
