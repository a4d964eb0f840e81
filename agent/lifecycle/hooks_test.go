package lifecycle

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
)

// with changes the container of that name in pod.
func with(pod *v1.Pod, name string, change func(*v1.Container)) *v1.Pod {
	for _, m := range members(pod) {
		if m.Name == name {
			change(m.Container)
		}
	}
	return pod
}

var someHandler = &v1.LifecycleHandler{Exec: &v1.ExecAction{Command: []string{"true"}}}

func postStart(c *v1.Container) { c.Lifecycle = &v1.Lifecycle{PostStart: someHandler} }
func preStop(c *v1.Container)   { c.Lifecycle = &v1.Lifecycle{PreStop: someHandler} }
func startup(c *v1.Container)   { c.StartupProbe = &v1.Probe{} }
func readiness(c *v1.Container) { c.ReadinessProbe = &v1.Probe{} }

func liveness(grace int64) func(*v1.Container) {
	return func(c *v1.Container) {
		c.LivenessProbe = &v1.Probe{}
		if grace >= 0 {
			c.LivenessProbe.TerminationGracePeriodSeconds = &grace
		}
	}
}

func hookEnds(name string, kind HookKind, failure string) func(*world) {
	return func(w *world) { w.t.Helper(); w.hookEnds(name, kind, failure) }
}

func probed(name string, h Health) func(*world) {
	return func(w *world) { w.t.Helper(); w.probed(name, h) }
}

func fails(name, probe string) func(*world) {
	return func(w *world) {
		w.probed(name, Health{Started: probe != "startup", Ready: true, Failed: &Unhealthy{Probe: probe, Message: "no", At: w.now}})
	}
}

func crash(w *world) { w.save(); w.crash() }

func TestPostStart(t *testing.T) {
	pod := func(policy v1.RestartPolicy) *v1.Pod { return with(newPod(policy, "a", "b"), "a", postStart) }
	const begun = "setup, create a/0, start a/0, postStart a/0"
	play(t, []scenario{
		{"holds up what stands after it", pod(always), []act{
			{nil, begun, "Pending a=ContainerCreating b=ContainerCreating"},
			{after(time.Hour), "", "Pending a=ContainerCreating b=ContainerCreating"},
			{hookEnds("a", PostStart, ""), "create b/0, start b/0", "Running a=running b=running"},
			{crash, "", "Running a=running b=running"},
		}},
		{"is begun again by the next process", pod(always), []act{
			{nil, begun, ""},
			{crash, "postStart a/0", "Pending a=ContainerCreating b=ContainerCreating"},
			{hookEnds("a", PostStart, ""), "create b/0, start b/0", "Running a=running b=running"},
		}},
		{"fails", withGrace(pod(always), 5), []act{
			{nil, begun, ""},
			{all(stubborn("a"), hookEnds("a", PostStart, "it failed")), "stop a/0, create b/0, start b/0", "Pending a=ContainerCreating b=running"},
			{after(5 * time.Second), "kill a/0, remove a/0, create a/1, start a/1, postStart a/1", ""},
			{hookEnds("a", PostStart, "it failed"), "stop a/1, remove a/1", "Running a=PostStartHookErrorx1 b=running"},
			{after(5 * time.Second), "", "Running a=CrashLoopBackOffx1 b=running"},
			{after(5 * time.Second), "create a/2, start a/2, postStart a/2", "Running a=CrashLoopBackOffx2 b=running"},
		}},
		{"fails under Never", pod(never), []act{
			{nil, begun, ""},
			{hookEnds("a", PostStart, "it failed"), "stop a/0, create b/0, start b/0, remove a/0", "Running a=Error(143) b=running"},
			{exits("b", 0), "remove b/0, teardown", "Failed a=Error(143) b=Completed(0)"},
		}},
		{"of a sidecar holds up the next", with(newPod(always, "s:s1", "i:i1", "a"), "s1", postStart), []act{
			{nil, "setup, create s1/0, start s1/0, postStart s1/0", "Pending s1=PodInitializing i1=PodInitializing a=PodInitializing"},
			{hookEnds("s1", PostStart, ""), "create i1/0, start i1/0", ""},
		}},
		{"the container ends meanwhile", pod(always), []act{
			{nil, begun, ""},
			{exits("a", 1), "create b/0, start b/0, remove a/0, create a/1, start a/1, postStart a/1", ""},
		}},
		{"deleted meanwhile", pod(always), []act{
			{nil, begun, ""},
			{deleted(30 * time.Second), "stop a/0, remove a/0, teardown, forget", ""},
		}},
	})
}

func TestPreStop(t *testing.T) {
	pod := func() *v1.Pod { return with(newPod(always, "a"), "a", preStop) }
	const up = "setup, create a/0, start a/0"
	play(t, []scenario{
		{"comes before the stop signal", pod(), []act{
			{nil, up, ""},
			{deleted(30 * time.Second), "preStop a/0", "Running a=running"},
			{after(10 * time.Second), "", ""},
			{hookEnds("a", PreStop, ""), "stop a/0, remove a/0, teardown, forget", ""},
		}},
		{"its failure changes nothing", pod(), []act{
			{nil, up, ""},
			{deleted(30 * time.Second), "preStop a/0", ""},
			{hookEnds("a", PreStop, "it failed"), "stop a/0, remove a/0, teardown, forget", ""},
		}},
		{"shares the grace with the stop", pod(), []act{
			{all(stubborn()), up, ""},
			{all(stubborn("a"), deleted(30*time.Second)), "preStop a/0", ""},
			{all(after(20*time.Second), hookEnds("a", PreStop, "")), "stop a/0", ""},
			{after(9 * time.Second), "", ""},
			{after(time.Second), "kill a/0, remove a/0, teardown, forget", ""},
		}},
		{"hangs to the end of the grace", pod(), []act{
			{nil, up, ""},
			{all(stubborn("a"), deleted(30*time.Second)), "preStop a/0", ""},
			{after(30 * time.Second), "stop a/0", ""},
			{after(2 * time.Second), "kill a/0, remove a/0, teardown, forget", ""},
		}},
		{"is begun again by the next process, within the same grace", pod(), []act{
			{nil, up, ""},
			{all(stubborn("a"), deleted(30*time.Second)), "preStop a/0", ""},
			{all(after(10*time.Second), crash), "preStop a/0", ""},
			{after(20 * time.Second), "stop a/0", ""},
		}},
		{"not with grace 0", pod(), []act{
			{nil, up, ""},
			{deleted(0), "kill a/0, remove a/0, teardown, forget", ""},
		}},
		{"not after the container ended", pod(), []act{
			{nil, up, ""},
			{all(exits("a", 0), deleted(30*time.Second)), "remove a/0, teardown, forget", ""},
		}},
		{"of a sidecar begins at once, its signal comes last", with(newPod(always, "s:s1", "a"), "s1", preStop), []act{
			{nil, "setup, create s1/0, start s1/0, create a/0, start a/0", ""},
			{all(stubborn("a"), deleted(30*time.Second)), "stop a/0, preStop s1/0", ""},
			{hookEnds("s1", PreStop, ""), "", ""},
			{exits("a", 0), "stop s1/0, remove a/0, remove s1/0, teardown, forget", ""},
		}},
	})
}

func TestProbes(t *testing.T) {
	const up = "setup, create a/0, start a/0"
	ready := func(want bool) func(*world) {
		return func(w *world) {
			w.t.Helper()
			w.idle()
			for _, c := range w.status().ContainerStatuses {
				if c.Ready != want {
					w.t.Fatalf("container %s: ready %v", c.Name, c.Ready)
				}
			}
		}
	}
	play(t, []scenario{
		{"readiness comes and goes", with(newPod(always, "a"), "a", readiness), []act{
			{nil, up, "Running a=running"},
			{ready(false), "", ""},
			{all(probed("a", Health{Started: true, Ready: true}), ready(true)), "", ""},
			{all(crash, ready(true)), "", ""}, // before anybody has probed again
			{all(probed("a", Health{Started: true}), ready(false)), "", ""},
			{all(crash, ready(false)), "", ""},
		}},
		{"liveness fails", withGrace(with(newPod(always, "a"), "a", liveness(-1)), 7), []act{
			{nil, up, ""},
			{all(stubborn("a"), fails("a", "liveness")), "stop a/0", "Running a=running"},
			{after(6 * time.Second), "", ""},
			{after(time.Second), "kill a/0, remove a/0, create a/1, start a/1", "Running a=runningx1"},
			{fails("a", "liveness"), "stop a/1, remove a/1", "Running a=CrashLoopBackOffx1"},
		}},
		{"liveness fails, with a grace of its own", with(newPod(always, "a"), "a", liveness(3)), []act{
			{nil, up, ""},
			{all(stubborn("a"), fails("a", "liveness")), "stop a/0", ""},
			{after(3 * time.Second), "kill a/0, remove a/0, create a/1, start a/1", ""},
		}},
		{"liveness fails, and it stops well, under OnFailure", with(newPod(onFailure, "a"), "a", liveness(-1)), []act{
			{nil, up, ""},
			{all(stubborn("a"), fails("a", "liveness")), "stop a/0", ""},
			{exits("a", 0), "remove a/0, create a/1, start a/1", "Running a=runningx1"},
		}},
		{"liveness fails under Never", with(newPod(never, "a"), "a", liveness(-1)), []act{
			{nil, up, ""},
			{fails("a", "liveness"), "stop a/0, remove a/0, teardown", "Failed a=Error(143)"},
		}},
		{"liveness fails with a preStop hook", with(with(newPod(always, "a"), "a", preStop), "a", liveness(5)), []act{
			{nil, up, ""},
			{fails("a", "liveness"), "preStop a/0", "Running a=running"},
			{hookEnds("a", PreStop, ""), "stop a/0, remove a/0, create a/1, start a/1", ""},
		}},
		{"what stops alone does not shorten the grace of the others", with(newPod(always, "a", "b"), "a", liveness(5)), []act{
			{nil, "setup, create a/0, start a/0, create b/0, start b/0", ""},
			{all(stubborn("a", "b"), fails("a", "liveness")), "stop a/0", ""},
			{all(after(4*time.Second), deleted(30*time.Second)), "stop b/0", ""},
			{after(time.Second), "kill a/0, remove a/0", ""},
			{after(28 * time.Second), "", ""},
			{after(time.Second), "kill b/0, remove b/0, teardown, forget", ""},
		}},
		{"startup of a sidecar holds up the next", with(newPod(always, "s:s1", "a"), "s1", startup), []act{
			{nil, "setup, create s1/0, start s1/0", "Pending s1=running a=PodInitializing"},
			{probed("s1", Health{Started: true, Ready: true}), "create a/0, start a/0", "Running s1=running a=running"},
			{exits("s1", 1), "remove s1/0, create s1/1, start s1/1", "Running s1=runningx1 a=running"},
			{fails("s1", "startup"), "stop s1/1, remove s1/1", "Running s1=CrashLoopBackOffx1 a=running"},
		}},
	})
}

func TestProbings(t *testing.T) {
	pod := with(with(newPod(always, "a", "b"), "a", readiness), "a", postStart)
	w := newWorld(t, pod)
	w.idle()
	if got := Probings(pod, w.facts); len(got) != 0 {
		t.Errorf("probed while its postStart hook runs: %+v", got)
	}
	w.hookEnds("a", PostStart, "")
	w.probed("a", Health{Started: true, Ready: true})
	w.idle()
	w.idle()
	want := Probing{Container: "a", ID: w.cont("a").ID, StartedAt: epoch, Started: true, Ready: true}
	if got := Probings(pod, w.facts); len(got) != 1 || got[0] != want {
		t.Errorf("got %+v", got)
	}
	stubborn("a")(w)
	deleted(time.Minute)(w)
	w.idle()
	want.Stopping = true
	if got := Probings(pod, w.facts); len(got) != 1 || got[0] != want {
		t.Errorf("got %+v", got)
	}
}

func TestDeadline(t *testing.T) {
	pod := func(s int64) *v1.Pod {
		p := withGrace(newPod(always, "a"), 10)
		p.Spec.ActiveDeadlineSeconds = &s
		return p
	}
	const up = "setup, create a/0, start a/0"
	extend := func(w *world) { s := int64(100); w.pod.Spec.ActiveDeadlineSeconds = &s }
	play(t, []scenario{
		{"ends the pod with its own grace", pod(30), []act{
			{nil, up, ""},
			{after(29 * time.Second), "", "Running a=running"},
			{all(stubborn("a"), after(time.Second)), "stop a/0", "Running a=running"},
			{after(10 * time.Second), "kill a/0, remove a/0, teardown", "Failed a=Error(137)"},
			{crash, "", "Failed a=Error(137)"},
		}},
		{"may be changed", pod(30), []act{
			{nil, up, ""},
			{all(after(29*time.Second), extend), "", ""},
			{after(50 * time.Second), "", "Running a=running"},
			{after(30 * time.Second), "stop a/0, remove a/0, teardown", "Failed a=Error(143)"},
		}},
		{"before anything ran", pod(0), []act{{nil, "teardown", "Failed a=ContainerStatusUnknown(137)"}}},
	})
	w := newWorld(t, pod(0))
	w.idle()
	if s := w.status(); s.Reason != "DeadlineExceeded" || s.Message != "Pod was active on the node longer than the specified deadline" {
		t.Errorf("%s: %s", s.Reason, s.Message)
	}
}

func TestEphemeral(t *testing.T) {
	add := func(w *world) {
		w.pod.Spec.EphemeralContainers = append(w.pod.Spec.EphemeralContainers,
			v1.EphemeralContainer{EphemeralContainerCommon: v1.EphemeralContainerCommon{Name: "debug", Image: "debug:1"}})
	}
	play(t, []scenario{
		{"runs once, also before initialisation", newPod(always, "i:i1", "a"), []act{
			{nil, "setup, create i1/0, start i1/0", ""},
			{add, "create debug/0, start debug/0", "Pending i1=running a=PodInitializing"},
			{exits("debug", 3), "remove debug/0", ""},
			{after(time.Hour), "", ""},
			{crash, "", ""},
		}},
		{"does not keep a pod alive", newPod(never, "a"), []act{
			{nil, "setup, create a/0, start a/0", ""},
			{all(add, stubborn("a")), "create debug/0, start debug/0", "Running a=running"},
			{exits("a", 0), "stop debug/0, remove a/0, remove debug/0, teardown", "Succeeded a=Completed(0)"},
		}},
		{"is stopped with its pod", newPod(always, "a"), []act{
			{add, "setup, create debug/0, start debug/0, create a/0, start a/0", ""},
			{deleted(time.Minute), "stop debug/0, stop a/0, remove a/0, remove debug/0, teardown, forget", ""},
		}},
	})
}

func TestRestartRules(t *testing.T) {
	rule := func(action v1.ContainerRestartRuleAction) func(*v1.Container) {
		return func(c *v1.Container) {
			no := v1.ContainerRestartPolicyNever
			c.RestartPolicy = &no
			c.RestartPolicyRules = []v1.ContainerRestartRule{{Action: action, ExitCodes: &v1.ContainerRestartRuleOnExitCodes{
				Operator: v1.ContainerRestartRuleOnExitCodesOpIn, Values: []int32{42}}}}
		}
	}
	play(t, []scenario{
		{"one code restarts, another does not", with(newPod(never, "a"), "a", rule(v1.ContainerRestartRuleActionRestart)), []act{
			{nil, "setup, create a/0, start a/0", ""},
			{exits("a", 42), "remove a/0, create a/1, start a/1", "Running a=runningx1"},
			{exits("a", 41), "remove a/1, teardown", "Failed a=Error(41)x1"},
		}},
		{"all containers", with(newPod(never, "i:i1", "a", "b"), "a", rule(v1.ContainerRestartRuleActionRestartAllContainers)), []act{
			{nil, "setup, create i1/0, start i1/0", ""},
			{exits("i1", 0), "create a/0, start a/0, create b/0, start b/0, remove i1/0", ""},
			{exits("a", 42), "stop b/0, remove a/0, remove b/0, create i1/1, start i1/1", "Pending i1=runningx1 a=RestartingAllContainers b=RestartingAllContainers"},
			{crash, "", ""},
			{exits("i1", 0), "create a/1, start a/1, create b/1, start b/1, remove i1/1", "Running i1=Completed(0)x1 a=runningx1 b=runningx1"},
			{exits("b", 0), "remove b/1", "Running i1=Completed(0)x1 a=runningx1 b=Completed(0)x1"},
			{exits("a", 1), "remove a/1, teardown", "Failed i1=Completed(0)x1 a=Error(1)x1 b=Completed(0)x1"},
		}},
		{"all containers, over and over", with(newPod(never, "a", "b"), "a", rule(v1.ContainerRestartRuleActionRestartAllContainers)), []act{
			{nil, "setup, create a/0, start a/0, create b/0, start b/0", ""},
			{exits("a", 42), "stop b/0, remove a/0, remove b/0, create a/1, start a/1, create b/1, start b/1", ""},
			{exits("a", 42), "stop b/1, remove a/1, remove b/1, create b/2, start b/2", "Running a=RestartingAllContainersx1 b=runningx2"},
			{after(10 * time.Second), "create a/2, start a/2", "Running a=runningx2 b=runningx2"},
		}},
	})
}

// debug adds an ephemeral container.
func debug(w *world) {
	w.pod.Spec.EphemeralContainers = append(w.pod.Spec.EphemeralContainers,
		v1.EphemeralContainer{EphemeralContainerCommon: v1.EphemeralContainerCommon{Name: "debug", Image: "debug:1"}})
}

func restartsAll(c *v1.Container) {
	no := v1.ContainerRestartPolicyNever
	c.RestartPolicy = &no
	c.RestartPolicyRules = []v1.ContainerRestartRule{{Action: v1.ContainerRestartRuleActionRestartAllContainers,
		ExitCodes: &v1.ContainerRestartRuleOnExitCodes{Operator: v1.ContainerRestartRuleOnExitCodesOpIn, Values: []int32{42}}}}
}

func TestRounds(t *testing.T) {
	play(t, []scenario{
		// Neither what lives through all rounds nor a long grace holds them up.
		{"beside an ephemeral container", withGrace(with(with(newPod(always, "a", "b"), "a", restartsAll), "b", preStop), 3600), []act{
			{debug, "setup, create debug/0, start debug/0, create a/0, start a/0, create b/0, start b/0", ""},
			{exits("a", 42), "stop b/0, remove a/0, remove b/0, create a/1, start a/1, create b/1, start b/1", ""},
			{all(stubborn("b"), exits("a", 42)), "stop b/1, remove a/1", ""},
			{after(2 * time.Second), "kill b/1, remove b/1, create b/2, start b/2", "Running a=RestartingAllContainersx1 b=runningx2"},
			{after(10 * time.Second), "create a/2, start a/2", "Running a=runningx2 b=runningx2"},
		}},
		{"a victim in back-off does not wait", with(newPod(always, "a", "b"), "a", restartsAll), []act{
			{nil, "setup, create a/0, start a/0, create b/0, start b/0", ""},
			{exits("b", 1), "remove b/0, create b/1, start b/1", ""},
			{exits("b", 1), "remove b/1", "Running a=running b=CrashLoopBackOffx1"},
			{exits("a", 42), "remove a/0, create a/1, start a/1, create b/2, start b/2", "Running a=runningx1 b=runningx2"},
		}},
	})
}

func TestRulesAfterAFailedProbe(t *testing.T) {
	rule := func(c *v1.Container) {
		no := v1.ContainerRestartPolicyNever
		c.RestartPolicy, c.LivenessProbe = &no, &v1.Probe{}
		c.RestartPolicyRules = []v1.ContainerRestartRule{{Action: v1.ContainerRestartRuleActionRestart,
			ExitCodes: &v1.ContainerRestartRuleOnExitCodes{Operator: v1.ContainerRestartRuleOnExitCodesOpNotIn, Values: []int32{0}}}}
	}
	play(t, []scenario{{"count by the exit code", with(newPod(never, "a"), "a", rule), []act{
		{nil, "setup, create a/0, start a/0", ""},
		{fails("a", "liveness"), "stop a/0, remove a/0, create a/1, start a/1", "Running a=runningx1"},
	}}})
}

func TestGraceOfWhatStopsAlone(t *testing.T) {
	play(t, []scenario{
		// kubelet never goes below 2 s from the signal.
		{"none is two seconds", withGrace(with(newPod(always, "a"), "a", liveness(-1)), 0), []act{
			{nil, "setup, create a/0, start a/0", ""},
			{all(stubborn("a"), fails("a", "liveness")), "stop a/0", ""},
			{after(2 * time.Second), "kill a/0, remove a/0, create a/1, start a/1", ""},
		}},
		{"of the last one is the pod's, sidecars included", with(newPod(never, "s:s1", "a"), "a", liveness(-1)), []act{
			{nil, "setup, create s1/0, start s1/0, create a/0, start a/0", ""},
			{all(stubborn("a", "s1"), fails("a", "liveness")), "stop a/0", ""},
			{after(30 * time.Second), "kill a/0, stop s1/0, remove a/0", ""},
			{after(2 * time.Second), "kill s1/0, remove s1/0, teardown", ""},
		}},
	})
}

// Before its second attempt has started, a container is as it was.
func TestRestartWithPostStart(t *testing.T) {
	play(t, []scenario{{"", with(newPod(always, "a"), "a", postStart), []act{
		{nil, "setup, create a/0, start a/0, postStart a/0", ""},
		{hookEnds("a", PostStart, ""), "", "Running a=running"},
		{exits("a", 1), "remove a/0, create a/1, start a/1, postStart a/1", "Running a=Error(1)x1"},
		{hookEnds("a", PostStart, ""), "", "Running a=runningx1"},
	}}})
}

// An agent that dies between making an attempt and starting it leaves the status
// as it was.
func TestRestartCutBeforeItsStart(t *testing.T) {
	w := up(t, always, "a")
	w.exits("a", 1)
	cut := false
	w.fault = func(s Step) fault {
		if s.Op == OpStart && !cut {
			cut = true
			return crashBefore
		}
		return fine
	}
	for !cut {
		w.turn()
	}
	w.facts = Observe(w.pod, w.facts, w.seen(), w.now)
	if got, want := look(w.report()), "Running a=Error(1)x1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	w.idle()
	if got, want := look(w.report()), "Running a=runningx1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
