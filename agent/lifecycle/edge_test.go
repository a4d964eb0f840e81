package lifecycle

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/lifecycle/podstatus"
	"github.com/davit-agent/davit/runtime"
)

// up returns a world in which everything of a pod without init containers runs.
func up(t *testing.T, policy v1.RestartPolicy, names ...string) *world {
	t.Helper()
	w := newWorld(t, newPod(policy, names...))
	w.idle()
	return w
}

func TestAbsenceMeansNothingWhileTheRuntimeIsDown(t *testing.T) {
	w := up(t, always, "a")
	f := Observe(w.pod, w.facts, Seen{BootID: w.bootID(), RuntimeDown: true}, w.now)
	if a := f.Containers["a"].Current; !a.running() || f.Sandbox.Generation != 0 {
		t.Errorf("%+v %+v", f.Sandbox, a)
	}
	f = Observe(w.pod, RequestDeletion(f, 0, "test", w.now), Seen{BootID: w.bootID(), RuntimeDown: true}, w.now)
	if f.Ended != nil {
		t.Errorf("ended: %+v", f.Ended)
	}
	// A pod of which nothing is recorded may have a container all the same.
	fresh := RequestDeletion(Accept(w.pod, "b", epoch), 0, "test", epoch)
	if f = Observe(w.pod, fresh, Seen{BootID: "b", RuntimeDown: true}, epoch); f.Ended != nil {
		t.Errorf("a deleted pod ended unseen: %+v", f.Ended)
	}
}

func TestRebootIsKnownWithoutTheRuntime(t *testing.T) {
	w := up(t, always, "a")
	seen := Seen{BootID: "other", RuntimeDown: true}
	f := Observe(w.pod, w.facts, seen, w.now)
	a := f.Containers["a"].Current
	if a.Exit == nil || a.Exit.Code != 137 || a.Exit.Reason != "ContainerStatusUnknown" || a.Removed {
		t.Errorf("%+v %+v", a, a.Exit)
	}
	if f.Sandbox.Generation != 1 || !f.Sandbox.ReadyAt.IsZero() || f.BootID != "other" {
		t.Errorf("%+v", f.Sandbox)
	}
	if f = Observe(w.pod, f, seen, w.now); f.Sandbox.Generation != 1 {
		t.Errorf("one reboot counts as %d", f.Sandbox.Generation)
	}
	if f = Observe(w.pod, f, Seen{BootID: "other"}, w.now); !f.Containers["a"].Current.Removed {
		t.Error("not there and not known to be removed")
	}
}

func TestNoAdoptionByAPodThatIsOver(t *testing.T) {
	w := up(t, never, "s:s1", "a")
	w.cont("s1").stubborn = true
	w.exits("a", 0)
	w.idle() // s1 still runs, so the pod has not ended
	id := runtime.ContainerID("u-1", "a", 1)
	seen := w.seen()
	seen.Containers = append(seen.Containers, runtime.Container{
		ContainerRef: runtime.ContainerRef{Name: "a", Attempt: 1, ID: id}, State: runtime.StateCreated, CreatedAt: w.now,
	})
	f := Observe(w.pod, w.facts, seen, w.now)
	if f.Containers["a"].Current.Number != 0 {
		t.Fatalf("adopted: %+v", f.Containers["a"].Current)
	}
	plan := Decide(Input{Pod: w.pod, Facts: f, Seen: seen, Now: w.now})
	if len(plan.Steps) != 1 || plan.Steps[0].Op != OpRemove || plan.Steps[0].ID != id {
		t.Errorf("%+v", plan.Steps)
	}
}

func TestNoAdoptionOfASidecarOfAPodThatIsOver(t *testing.T) {
	w := up(t, never, "s:s1", "s:s2", "a")
	w.cont("s1").stubborn = true
	w.cont("s2").stubborn = true
	w.exits("a", 0)
	w.idle()
	w.exits("s2", 0)
	w.idle()
	seen := w.seen()
	seen.Containers = append(seen.Containers, runtime.Container{
		ContainerRef: runtime.ContainerRef{Name: "s2", Attempt: 1, ID: runtime.ContainerID("u-1", "s2", 1)}, State: runtime.StateCreated,
	})
	if f := Observe(w.pod, w.facts, seen, w.now); f.Containers["s2"].Current.Number != 0 {
		t.Errorf("adopted: %+v", f.Containers["s2"].Current)
	}
}

func TestStepThatEndsThePod(t *testing.T) {
	w := newWorld(t, newPod(never, "a"))
	for _, s := range Decide(w.input()).Steps {
		r := Result{}
		if s.Op == OpStart {
			r = Result{Reason: "StartError", Message: "no such file", Final: true}
		}
		w.facts = Apply(w.pod, w.facts, s, r, w.now)
	}
	if s := w.status(); s.Phase != v1.PodFailed || w.facts.Ended == nil {
		t.Errorf("phase %s before the next look", s.Phase)
	}
}

func TestNotEndedWhileSomethingIsLeft(t *testing.T) {
	w := newWorld(t, newPod(always, "a"))
	failing(OpStart, "a", errBefore)(w)
	w.idle()
	deleted(0)(w)
	f := Observe(w.pod, w.facts, w.seen(), w.now)
	if f.Ended != nil {
		t.Errorf("ended with a container: %+v", f.Ended)
	}
}

// A running container whose task is gone has ended, whatever the runtime makes
// of the remains.
func TestRemainsOfARunningContainer(t *testing.T) {
	for _, state := range []runtime.State{runtime.StateCreated, runtime.StateUnknown} {
		w := up(t, always, "a")
		w.cont("a").State = state
		f := Observe(w.pod, w.facts, w.seen(), w.now)
		if x := f.Containers["a"].Current.Exit; x == nil || x.Code != 137 {
			t.Errorf("%s: exit %+v", state, x)
		}
	}
}

func TestEdges(t *testing.T) {
	play(t, []scenario{
		{"no crash-loop back-off into a new sandbox", newPod(always, "a"), []act{
			{nil, "setup, create a/0, start a/0", ""},
			{exits("a", 1), "remove a/0, create a/1, start a/1", ""},
			{(*world).loseSandbox, "stop a/1, remove a/1, setup, create a/2, start a/2", "Running a=runningx2"},
			{exits("a", 1), "remove a/2", "Running a=CrashLoopBackOffx2"},
		}},
		{"the grace of a stop is not that of a stop long ago", newPod(onFailure, "s:s1", "a", "b"), []act{
			{nil, "setup, create s1/0, start s1/0, create a/0, start a/0, create b/0, start b/0", ""},
			{func(w *world) { w.cont("a").stubborn = true; w.loseSandbox() }, "stop a/0, stop b/0, remove b/0", ""},
			{exits("a", 0), "stop s1/0, remove a/0, remove s1/0, setup, create s1/1, start s1/1, create b/1, start b/1", ""},
			{func(w *world) { w.pass(time.Hour); w.cont("s1").stubborn = true; w.exits("b", 0) }, "stop s1/1, remove b/1", ""},
			{after(30*time.Second - 1), "", ""},
			{after(1), "kill s1/1, remove s1/1, teardown", "Succeeded s1=Error(137)x1 a=Completed(0) b=Completed(0)x1"},
		}},
		{"what is not restarted any more does not wait", newPod(always, "a", "b"), []act{
			{nil, "setup, create a/0, start a/0, create b/0, start b/0", ""},
			{exits("a", 1), "remove a/0, create a/1, start a/1", ""},
			{exits("a", 1), "remove a/1", "Running a=CrashLoopBackOffx1 b=running"},
			{all(stubborn("b"), deleted(30*time.Second)), "stop b/0", "Running a=Error(1)x1 b=running"},
		}},
		{"a stop signal that could never be sent", newPod(always, "a"), []act{
			{nil, "setup, create a/0, start a/0", ""},
			{all(deleted(10*time.Second), func(w *world) {
				w.fault = func(s Step) fault {
					if s.Op == OpSignal && s.Signal == "" {
						return errBefore
					}
					return fine
				}
			}), "stop a/0", ""},
			{after(9 * time.Second), "stop a/0", ""},
			{after(2 * time.Second), "kill a/0, remove a/0, teardown, forget", ""},
		}},
	})
}

func TestContainerLevelRestartPolicy(t *testing.T) {
	pod := newPod(always, "a", "b")
	no := v1.ContainerRestartPolicyNever
	pod.Spec.Containers[0].RestartPolicy = &no
	play(t, []scenario{{"never beside always", pod, []act{
		{nil, "setup, create a/0, start a/0, create b/0, start b/0", ""},
		{exits("a", 1), "remove a/0", "Running a=Error(1) b=running"},
		{exits("b", 1), "remove b/0, create b/1, start b/1", ""},
	}}})
}

// A sidecar that never ran keeps the pod Pending, one that ran does not.
func TestPhaseOfWaitingSidecar(t *testing.T) {
	w := up(t, always, "s:s1", "a")
	s := w.status()
	s.InitContainerStatuses[0].State = v1.ContainerState{Waiting: &v1.ContainerStateWaiting{}}
	if got := podstatus.Phase(w.pod, &s); got != v1.PodPending {
		t.Errorf("phase %s", got)
	}
	s.InitContainerStatuses[0].LastTerminationState.Terminated = &v1.ContainerStateTerminated{}
	if got := podstatus.Phase(w.pod, &s); got != v1.PodRunning {
		t.Errorf("phase %s", got)
	}
}
