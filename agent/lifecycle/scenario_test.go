package lifecycle

import (
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/runtime"
)

const (
	always    = v1.RestartPolicyAlways
	onFailure = v1.RestartPolicyOnFailure
	never     = v1.RestartPolicyNever
)

// act is one line of a scenario: something happens, then these steps follow
// until nothing is to be done, and then the pod looks like this.
type act struct {
	do    func(*world)
	steps string
	looks string // "" is not looked at; see look
}

type scenario struct {
	name string
	pod  *v1.Pod
	acts []act
}

func play(t *testing.T, all []scenario) {
	for _, sc := range all {
		t.Run(sc.name, func(t *testing.T) {
			w := newWorld(t, sc.pod)
			for i, a := range sc.acts {
				if a.do != nil {
					a.do(w)
				}
				if got := w.idle(); got != a.steps {
					t.Fatalf("act %d: steps\n got %s\nwant %s", i, got, a.steps)
				}
				if got := look(w.report()); a.looks != "" && got != a.looks {
					t.Fatalf("act %d: looks\n got %s\nwant %s", i, got, a.looks)
				}
			}
		})
	}
}

// look is a status in short: the phase, then of each container its name, its
// state and its restart count if that is not 0.
func look(s v1.PodStatus) string {
	out := []string{string(s.Phase)}
	for _, c := range append(s.InitContainerStatuses, s.ContainerStatuses...) {
		state := "running"
		switch {
		case c.State.Waiting != nil:
			state = c.State.Waiting.Reason
		case c.State.Terminated != nil:
			state = fmt.Sprintf("%s(%d)", c.State.Terminated.Reason, c.State.Terminated.ExitCode)
		}
		if c.RestartCount > 0 {
			state += fmt.Sprintf("x%d", c.RestartCount)
		}
		out = append(out, c.Name+"="+state)
	}
	return strings.Join(out, " ")
}

func exits(name string, code int32) func(*world) {
	return func(w *world) { w.t.Helper(); w.exits(name, code) }
}

func after(d time.Duration) func(*world) { return func(w *world) { w.pass(d) } }

func all(fs ...func(*world)) func(*world) {
	return func(w *world) {
		for _, f := range fs {
			f(w)
		}
	}
}

func deleted(grace time.Duration) func(*world) {
	return func(w *world) { w.facts = RequestDeletion(w.facts, grace, "test", w.now) }
}

func stubborn(names ...string) func(*world) {
	return func(w *world) {
		for _, n := range names {
			w.cont(n).stubborn = true
		}
	}
}

func reboot(w *world) { w.save(); w.reboot() }

// failing has the next step of that kind on that container fail with r.
func failing(op Op, container string, f fault) func(*world) {
	return func(w *world) {
		w.fault = func(s Step) fault {
			if s.Op == op && s.Container == container {
				return f
			}
			return fine
		}
	}
}

func healthy(w *world) { w.fault = nil }

func withGrace(pod *v1.Pod, seconds int64) *v1.Pod {
	pod.Spec.TerminationGracePeriodSeconds = &seconds
	return pod
}

func TestStarting(t *testing.T) {
	play(t, []scenario{
		{"one container", newPod(always, "a"), []act{
			{nil, "setup, create a/0, start a/0", "Running a=running"},
		}},
		{"main containers in order", newPod(always, "b", "a"), []act{
			{nil, "setup, create b/0, start b/0, create a/0, start a/0", "Running a=running b=running"},
		}},
		{"init containers one after another", newPod(always, "i:i1", "i:i2", "a"), []act{
			{nil, "setup, create i1/0, start i1/0", "Pending i1=running i2=PodInitializing a=PodInitializing"},
			{exits("i1", 0), "create i2/0, start i2/0, remove i1/0", "Pending i1=Completed(0) i2=running a=PodInitializing"},
			{exits("i2", 0), "create a/0, start a/0, remove i2/0", "Running i1=Completed(0) i2=Completed(0) a=running"},
		}},
		{"sidecars in their place", newPod(always, "i:i1", "s:s1", "i:i2", "s:s2", "a"), []act{
			{nil, "setup, create i1/0, start i1/0", ""},
			{exits("i1", 0), "create s1/0, start s1/0, create i2/0, start i2/0, remove i1/0",
				"Pending i1=Completed(0) s1=running i2=running s2=PodInitializing a=PodInitializing"},
			{exits("s1", 1), "remove s1/0, create s1/1, start s1/1", ""},
			{exits("i2", 0), "create s2/0, start s2/0, create a/0, start a/0, remove i2/0",
				"Running i1=Completed(0) s1=runningx1 i2=Completed(0) s2=running a=running"},
		}},
		{"init fails and is run again", newPod(onFailure, "i:i1", "a"), []act{
			{nil, "setup, create i1/0, start i1/0", ""},
			{exits("i1", 1), "remove i1/0, create i1/1, start i1/1", "Pending i1=runningx1 a=PodInitializing"},
			{exits("i1", 1), "remove i1/1", "Pending i1=CrashLoopBackOffx1 a=PodInitializing"},
			{after(10 * time.Second), "create i1/2, start i1/2", ""},
			{exits("i1", 0), "create a/0, start a/0, remove i1/2", "Running i1=Completed(0)x2 a=running"},
		}},
		{"init fails for good", newPod(never, "s:s1", "i:i1", "a"), []act{
			{nil, "setup, create s1/0, start s1/0, create i1/0, start i1/0", ""},
			{exits("i1", 3), "stop s1/0, remove i1/0, remove s1/0, teardown", "Failed s1=Error(143) i1=Error(3) a=PodInitializing"},
		}},
		{"the setup fails", newPod(always, "a"), []act{
			{failing(OpSetup, "", errAfter), "setup", "Pending a=ContainerCreating"},
			{after(time.Second - 1), "", ""},
			{after(1), "setup", ""},
			{after(time.Second), "", ""},
			{after(time.Second), "setup", ""},
			{all(healthy, after(4*time.Second)), "setup, create a/0, start a/0", "Running a=running"},
		}},
	})
}

func TestRestarting(t *testing.T) {
	crash := []act{{nil, "setup, create a/0, start a/0", "Running a=running"},
		{exits("a", 1), "remove a/0, create a/1, start a/1", "Running a=runningx1"}}
	for i, d := range []time.Duration{10, 20, 40, 80, 160, 300, 300} {
		d *= time.Second
		crash = append(crash,
			act{all(after(time.Minute), exits("a", 1), after(d-1)), fmt.Sprintf("remove a/%d", i+1), fmt.Sprintf("Running a=CrashLoopBackOffx%d", i+1)},
			act{after(1), fmt.Sprintf("create a/%d, start a/%d", i+2, i+2), ""})
	}
	crash = append(crash,
		act{all(after(10*time.Minute+time.Second), exits("a", 1)), "remove a/8, create a/9, start a/9", "Running a=runningx9"},
		act{exits("a", 1), "remove a/9", "Running a=CrashLoopBackOffx9"},
		act{after(10 * time.Second), "create a/10, start a/10", ""})
	play(t, []scenario{
		{"back-off as kubelet's", newPod(always, "a"), crash},
		{"always restarts success, too", newPod(always, "a"), []act{
			{nil, "setup, create a/0, start a/0", ""},
			{exits("a", 0), "remove a/0, create a/1, start a/1", ""},
			{exits("a", 0), "remove a/1", "Running a=CrashLoopBackOffx1"},
		}},
		{"on failure", newPod(onFailure, "a", "b"), []act{
			{nil, "setup, create a/0, start a/0, create b/0, start b/0", ""},
			{exits("a", 0), "remove a/0", "Running a=Completed(0) b=running"},
			{exits("b", 1), "remove b/0, create b/1, start b/1", ""},
			{exits("b", 0), "remove b/1, teardown", "Succeeded a=Completed(0) b=Completed(0)x1"},
		}},
		{"never", newPod(never, "a", "b"), []act{
			{nil, "setup, create a/0, start a/0, create b/0, start b/0", ""},
			{exits("b", 2), "remove b/0", "Running a=running b=Error(2)"},
			{exits("a", 0), "remove a/0, teardown", "Failed a=Completed(0) b=Error(2)"},
			{after(time.Hour), "", "Failed a=Completed(0) b=Error(2)"},
		}},
		{"sidecars end with the pod, in reverse order", newPod(never, "s:s1", "s:s2", "a"), []act{
			{nil, "setup, create s1/0, start s1/0, create s2/0, start s2/0, create a/0, start a/0", ""},
			{exits("s1", 0), "remove s1/0, create s1/1, start s1/1", "Running s1=runningx1 s2=running a=running"},
			{all(stubborn("s2"), exits("a", 0)), "stop s2/0, remove a/0", "Running s1=runningx1 s2=running a=Completed(0)"},
			{after(5 * time.Second), "", ""},
			{exits("s2", 0), "stop s1/1, remove s2/0, remove s1/1, teardown", "Succeeded s1=Error(143)x1 s2=Completed(0) a=Completed(0)"},
		}},
		{"a stubborn sidecar is killed", withGrace(newPod(never, "s:s1", "s:s2", "a"), 30), []act{
			{nil, "setup, create s1/0, start s1/0, create s2/0, start s2/0, create a/0, start a/0", ""},
			{all(stubborn("s2", "s1"), exits("a", 0)), "stop s2/0, remove a/0", ""},
			{after(30 * time.Second), "kill s2/0, stop s1/0, remove s2/0", ""},
			{after(2 * time.Second), "kill s1/0, remove s1/0, teardown", "Succeeded s1=Error(137) s2=Error(137) a=Completed(0)"},
		}},
		{"out of memory", newPod(never, "a"), []act{
			{nil, "setup, create a/0, start a/0", ""},
			{func(w *world) { w.exits("a", 137); w.cont("a").Exit.OOMKilled = true }, "remove a/0, teardown", "Failed a=OOMKilled(137)"},
		}},
	})
}

func TestFailing(t *testing.T) {
	play(t, []scenario{
		{"pulling", newPod(always, "a", "b"), []act{
			{failing(OpCreate, "a", errBefore), "setup, create a/0, create b/0, start b/0", "Pending a=ErrImagePull b=running"},
			{after(5 * time.Second), "", "Pending a=ImagePullBackOff b=running"},
			{after(5 * time.Second), "create a/0", "Pending a=ErrImagePull b=running"},
			{after(19 * time.Second), "", "Pending a=ImagePullBackOff b=running"},
			{after(time.Second), "create a/0", ""},
			{all(healthy, after(40*time.Second)), "create a/0, start a/0", "Running a=running b=running"},
		}},
		{"start for good", newPod(always, "a"), []act{
			{failing(OpStart, "a", errFinal), "setup, create a/0, start a/0, remove a/0, create a/1, start a/1, remove a/1", "Running a=RunContainerErrorx1"},
			{after(5 * time.Second), "", "Running a=CrashLoopBackOffx1"},
			{all(healthy, after(5*time.Second)), "create a/2, start a/2", "Running a=runningx2"},
		}},
		{"start for good, never", newPod(never, "a"), []act{
			{failing(OpStart, "a", errFinal), "setup, create a/0, start a/0, remove a/0, teardown", "Failed a=StartError(128)"},
		}},
		{"start for now", newPod(never, "a"), []act{
			{failing(OpStart, "a", errBefore), "setup, create a/0, start a/0", "Pending a=RunContainerError"},
			{after(time.Second), "start a/0", ""},
			{all(healthy, after(2*time.Second)), "start a/0", "Running a=running"},
		}},
		{"the runtime is away", newPod(always, "a"), []act{
			{nil, "setup, create a/0, start a/0", ""},
			{func(w *world) { w.exits("a", 1); w.down = true }, "", "Running a=Error(1)"},
			{func(w *world) { w.restartDaemon(); w.down = false }, "remove a/0, create a/1, start a/1", "Running a=runningx1"},
		}},
		{"an exit that nobody saw", newPod(onFailure, "a"), []act{
			{nil, "setup, create a/0, start a/0", ""},
			{func(w *world) { w.exits("a", 0); w.restartDaemon() }, "remove a/0, create a/1, start a/1", "Running a=runningx1"},
			{func(w *world) { delete(w.conts, w.cont("a").ID) }, "", "Running a=CrashLoopBackOffx1"},
		}},
		{"a signal cannot be sent", newPod(always, "a", "b"), []act{
			{nil, "setup, create a/0, start a/0, create b/0, start b/0", ""},
			{all(deleted(30*time.Second), failing(OpSignal, "a", errBefore)), "stop a/0, stop b/0, remove b/0", ""},
			{after(time.Second), "stop a/0", ""},
			{all(healthy, after(29*time.Second)), "kill a/0, remove a/0, teardown, forget", ""},
		}},
	})
}

func TestTakingUp(t *testing.T) {
	crashing := func(op Op, container string, f fault) func(*world) {
		return func(w *world) {
			w.save()
			w.fault = func(s Step) fault {
				if s.Op == op && s.Container == container {
					w.fault = nil
					return f
				}
				return fine
			}
		}
	}
	play(t, []scenario{
		{"killed after create", newPod(never, "a"), []act{
			{crashing(OpCreate, "a", crashAfter), "setup, create a/0, remove a/0, setup, create a/0, start a/0", "Running a=running"},
		}},
		{"killed after create in a known sandbox", newPod(never, "i:i1", "a"), []act{
			{nil, "setup, create i1/0, start i1/0", ""},
			{all(exits("i1", 0), crashing(OpCreate, "a", crashAfter)), "create a/0, create a/0, start a/0, remove i1/0", "Running i1=Completed(0) a=running"},
		}},
		{"killed before start", newPod(never, "a"), []act{
			{crashing(OpStart, "a", crashBefore), "setup, create a/0, start a/0, start a/0", "Running a=running"},
		}},
		{"killed after start", newPod(never, "a"), []act{
			{crashing(OpStart, "a", crashAfter), "setup, create a/0, start a/0", "Running a=running"},
		}},
		{"killed after remove", newPod(always, "a"), []act{
			{nil, "setup, create a/0, start a/0", ""},
			{all(exits("a", 42), crashing(OpRemove, "a", crashAfter)), "remove a/0, create a/1, start a/1", "Running a=runningx1"},
		}},
		{"strays go", newPod(always, "a"), []act{
			{nil, "setup, create a/0, start a/0", ""},
			{func(w *world) {
				for name, n := range map[string]uint32{"ghost": 0, "a": 7} {
					id := runtime.ContainerID("u-1", name, n)
					w.conts[id] = &simContainer{Container: runtime.Container{
						ContainerRef: runtime.ContainerRef{Name: name, Attempt: n, ID: id}, State: runtime.StateExited, CreatedAt: epoch.Add(time.Duration(n) * time.Second),
					}}
				}
			}, "remove ghost/0, remove a/7", "Running a=running"},
		}},
	})
}

func TestLosing(t *testing.T) {
	lost := (*world).loseSandbox
	play(t, []scenario{
		{"always", newPod(always, "i:i1", "s:s1", "a"), []act{
			{nil, "setup, create i1/0, start i1/0", ""},
			{exits("i1", 0), "create s1/0, start s1/0, create a/0, start a/0, remove i1/0", ""},
			{all(stubborn("a"), lost), "stop a/0", "Running i1=Completed(0) s1=running a=running"},
			{after(30 * time.Second), "kill a/0, stop s1/0, remove s1/0, remove a/0, setup, create i1/1, start i1/1",
				"Pending i1=runningx1 s1=Error(143) a=Error(137)"},
			{exits("i1", 0), "create s1/1, start s1/1, create a/1, start a/1, remove i1/1", "Running i1=Completed(0)x1 s1=runningx1 a=runningx1"},
		}},
		{"never is not run again", newPod(never, "a", "b"), []act{
			{nil, "setup, create a/0, start a/0, create b/0, start b/0", ""},
			{lost, "stop a/0, stop b/0, remove a/0, remove b/0, teardown", "Failed a=Error(143) b=Error(143)"},
		}},
		{"never, reboot", newPod(never, "a", "b"), []act{
			{nil, "setup, create a/0, start a/0, create b/0, start b/0", ""},
			{exits("a", 0), "remove a/0", ""},
			{reboot, "remove b/0, teardown", "Failed a=Completed(0) b=ContainerStatusUnknown(137)"},
		}},
		{"never, ended before the reboot", newPod(never, "a"), []act{
			{nil, "setup, create a/0, start a/0", ""},
			{exits("a", 0), "remove a/0, teardown", "Succeeded a=Completed(0)"},
			{reboot, "", "Succeeded a=Completed(0)"},
		}},
		{"never, nothing had started", newPod(never, "a"), []act{
			{failing(OpCreate, "a", errBefore), "setup, create a/0", ""},
			{all(healthy, reboot), "setup", ""},
			{after(10 * time.Second), "create a/0, start a/0", "Running a=running"},
		}},
		{"on failure, reboot", newPod(onFailure, "i:i1", "a", "b"), []act{
			{nil, "setup, create i1/0, start i1/0", ""},
			{exits("i1", 0), "create a/0, start a/0, create b/0, start b/0, remove i1/0", ""},
			{exits("a", 0), "remove a/0", ""},
			{reboot, "remove b/0, setup, create i1/1, start i1/1", "Pending i1=runningx1 a=Completed(0) b=ContainerStatusUnknown(137)"},
			{exits("i1", 0), "create b/1, start b/1, remove i1/1", "Running i1=Completed(0)x1 a=Completed(0) b=runningx1"},
		}},
		{"created only, sandbox lost", newPod(always, "a"), []act{
			{failing(OpStart, "a", errBefore), "setup, create a/0, start a/0", ""},
			{all(healthy, lost), "remove a/0, setup", ""},
			{after(10 * time.Second), "create a/1, start a/1", "Running a=runningx1"},
		}},
		{"deleted while the sandbox is being left", newPod(always, "a"), []act{
			{nil, "setup, create a/0, start a/0", ""},
			{all(stubborn("a"), lost), "stop a/0", ""},
			{all(after(20*time.Second), deleted(time.Minute)), "", ""},
			{after(10 * time.Second), "kill a/0, remove a/0, teardown, forget", ""},
		}},
	})
}

func TestDeleting(t *testing.T) {
	up := act{nil, "setup, create s1/0, start s1/0, create s2/0, start s2/0, create a/0, start a/0, create b/0, start b/0", ""}
	pod := func() *v1.Pod { return newPod(always, "s:s1", "s:s2", "a", "b") }
	play(t, []scenario{
		{"in order", pod(), []act{up,
			{all(stubborn("a"), deleted(30*time.Second)), "stop a/0, stop b/0, remove b/0", "Running s1=running s2=running a=running b=Error(143)"},
			{after(3 * time.Second), "", ""},
			{exits("a", 0), "stop s2/0, remove a/0, stop s1/0, remove s2/0, remove s1/0, teardown, forget", "Failed s1=Error(143) s2=Error(143) a=Completed(0) b=Error(143)"},
		}},
		{"at the deadline", pod(), []act{up,
			{all(stubborn("a", "b", "s1", "s2"), deleted(30*time.Second)), "stop a/0, stop b/0", ""},
			{after(30*time.Second - 1), "", ""},
			{after(1), "kill a/0, kill b/0, stop s2/0, stop s1/0, remove a/0, remove b/0", ""},
			{after(2 * time.Second), "kill s2/0, kill s1/0, remove s1/0, remove s2/0, teardown, forget", ""},
		}},
		{"at once", pod(), []act{up,
			{all(stubborn("a"), deleted(0)), "kill a/0, kill b/0, kill s2/0, kill s1/0, remove s1/0, remove s2/0, remove a/0, remove b/0, teardown, forget", ""},
		}},
		{"a second of grace is two", newPod(always, "a"), []act{
			{nil, "setup, create a/0, start a/0", ""},
			{all(stubborn("a"), deleted(time.Second)), "stop a/0", ""},
			{after(2*time.Second - 1), "", ""},
			{after(1), "kill a/0, remove a/0, teardown, forget", ""},
		}},
		{"again and shorter, never longer", newPod(always, "a"), []act{
			{nil, "setup, create a/0, start a/0", ""},
			{all(stubborn("a"), deleted(time.Minute)), "stop a/0", ""},
			{all(after(10*time.Second), deleted(time.Hour)), "", ""},
			{all(after(10*time.Second), deleted(5*time.Second)), "", ""},
			{after(5 * time.Second), "kill a/0, remove a/0, teardown, forget", ""},
		}},
		{"then at once", newPod(always, "a"), []act{
			{nil, "setup, create a/0, start a/0", ""},
			{all(stubborn("a"), deleted(time.Minute)), "stop a/0", ""},
			{deleted(0), "kill a/0, remove a/0, teardown, forget", ""},
		}},
		{"a kill that does not help is repeated", newPod(always, "a"), []act{
			{nil, "setup, create a/0, start a/0", ""},
			{func(w *world) { w.cont("a").undead = true; deleted(0)(w) }, "kill a/0", ""},
			{after(9 * time.Second), "", ""},
			{after(time.Second), "kill a/0", ""},
			{func(w *world) { w.cont("a").undead = false; w.pass(10 * time.Second) }, "kill a/0, remove a/0, teardown, forget", ""},
		}},
		{"in back-off", newPod(always, "a"), []act{
			{nil, "setup, create a/0, start a/0", ""},
			{exits("a", 1), "remove a/0, create a/1, start a/1", ""},
			{exits("a", 1), "remove a/1", "Running a=CrashLoopBackOffx1"},
			{deleted(30 * time.Second), "teardown, forget", "Failed a=Error(1)x1"},
		}},
		{"before anything", newPod(always, "a"), []act{
			{deleted(30 * time.Second), "teardown, forget", "Failed a=ContainerStatusUnknown(137)"},
		}},
		{"created, not started", newPod(always, "a"), []act{
			{failing(OpStart, "a", errBefore), "setup, create a/0, start a/0", ""},
			{deleted(30 * time.Second), "remove a/0, teardown, forget", ""},
		}},
		{"while initialising", newPod(always, "i:i1", "a"), []act{
			{nil, "setup, create i1/0, start i1/0", ""},
			{deleted(30 * time.Second), "stop i1/0, remove i1/0, teardown, forget", "Failed i1=Error(143) a=PodInitializing"},
		}},
		{"after the end", newPod(never, "a"), []act{
			{nil, "setup, create a/0, start a/0", ""},
			{exits("a", 0), "remove a/0, teardown", ""},
			{deleted(30 * time.Second), "forget", "Succeeded a=Completed(0)"},
		}},
		{"all main containers succeed", newPod(always, "a"), []act{
			{nil, "setup, create a/0, start a/0", ""},
			{all(stubborn("a"), deleted(30*time.Second)), "stop a/0", ""},
			{exits("a", 0), "remove a/0, teardown, forget", "Succeeded a=Completed(0)"},
		}},
		{"the runtime is away", newPod(always, "a"), []act{
			{nil, "setup, create a/0, start a/0", ""},
			{func(w *world) { w.down = true; deleted(0)(w) }, "", "Running a=running"},
			{func(w *world) { w.down = false }, "kill a/0, remove a/0, teardown, forget", ""},
		}},
	})
}
