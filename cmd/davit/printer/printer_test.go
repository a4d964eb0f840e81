package printer

import (
	"bytes"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

var now = time.Unix(1_700_000_000, 0)

func running(name string, ready bool) v1.ContainerStatus {
	return v1.ContainerStatus{Name: name, Ready: ready, Started: ptr.To(true),
		State: v1.ContainerState{Running: &v1.ContainerStateRunning{}}}
}

func waiting(name, reason string) v1.ContainerStatus {
	return v1.ContainerStatus{Name: name, State: v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: reason}}}
}

func ended(name, reason string, code, signal int32) v1.ContainerStatus {
	return v1.ContainerStatus{Name: name, State: v1.ContainerState{
		Terminated: &v1.ContainerStateTerminated{Reason: reason, ExitCode: code, Signal: signal}}}
}

func restarted(c v1.ContainerStatus, n int32, ago time.Duration) v1.ContainerStatus {
	c.RestartCount = n
	c.LastTerminationState.Terminated = &v1.ContainerStateTerminated{FinishedAt: metav1.NewTime(now.Add(-ago))}
	return c
}

func cond(typ v1.PodConditionType, status v1.ConditionStatus, reason string) v1.PodCondition {
	return v1.PodCondition{Type: typ, Status: status, Reason: reason}
}

// pod builds a pod of two containers, an init container and a sidecar.
func pod(phase v1.PodPhase, inits, mains []v1.ContainerStatus, conds ...v1.PodCondition) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", CreationTimestamp: metav1.NewTime(now.Add(-90 * time.Minute))},
		Spec: v1.PodSpec{
			InitContainers: []v1.Container{{Name: "i"}, {Name: "s", RestartPolicy: ptr.To(v1.ContainerRestartPolicyAlways)}},
			Containers:     []v1.Container{{Name: "a"}, {Name: "b"}},
		},
		Status: v1.PodStatus{Phase: phase, InitContainerStatuses: inits, ContainerStatuses: mains, Conditions: conds},
	}
}

func TestRows(t *testing.T) {
	type cs = []v1.ContainerStatus
	initDone := cs{ended("i", "Completed", 0, 0), running("s", true)}
	waitBoth := cs{waiting("a", "PodInitializing"), waiting("b", "PodInitializing")}
	dying := func(p *v1.Pod, reason string) *v1.Pod {
		p.DeletionTimestamp, p.Status.Reason = &metav1.Time{Time: now}, reason
		return p
	}
	failed := pod(v1.PodFailed, nil, nil)
	failed.Status.Reason = "Evicted"
	for name, c := range map[string]struct {
		pod  *v1.Pod
		want string // READY STATUS RESTARTS
	}{
		"nothing known":   {pod(v1.PodPending, nil, nil), "0/3 Pending 0"},
		"evicted":         {failed, "0/3 Evicted 0"},
		"gated":           {pod(v1.PodPending, nil, nil, cond(v1.PodScheduled, v1.ConditionFalse, "SchedulingGated")), "0/3 SchedulingGated 0"},
		"first init":      {pod(v1.PodPending, cs{running("i", false), waiting("s", "PodInitializing")}, waitBoth), "0/3 Init:0/2 0"},
		"sidecar starts":  {pod(v1.PodPending, cs{ended("i", "Completed", 0, 0), waiting("s", "PodInitializing")}, waitBoth), "0/3 Init:1/2 0"},
		"init crashes":    {pod(v1.PodPending, cs{restarted(waiting("i", "CrashLoopBackOff"), 3, time.Minute)}, waitBoth), "0/3 Init:CrashLoopBackOff 3 (60s ago)"},
		"init error":      {pod(v1.PodPending, cs{ended("i", "Error", 1, 0)}, waitBoth), "0/3 Init:Error 0"},
		"init signal":     {pod(v1.PodPending, cs{ended("i", "", 137, 9)}, waitBoth), "0/3 Init:Signal:9 0"},
		"init code":       {pod(v1.PodPending, cs{ended("i", "", 7, 0)}, waitBoth), "0/3 Init:ExitCode:7 0"},
		"creating":        {pod(v1.PodPending, initDone, cs{waiting("a", "ContainerCreating"), waiting("b", "")}), "1/3 ContainerCreating 0"},
		"runs":            {pod(v1.PodRunning, initDone, cs{running("a", true), running("b", true)}), "3/3 Running 0"},
		"one not ready":   {pod(v1.PodRunning, initDone, cs{running("a", true), running("b", false)}), "2/3 Running 0"},
		"one crashes":     {pod(v1.PodRunning, initDone, cs{running("a", true), restarted(waiting("b", "CrashLoopBackOff"), 2, 5*time.Minute)}), "2/3 CrashLoopBackOff 2 (5m ago)"},
		"first wins":      {pod(v1.PodRunning, initDone, cs{waiting("a", "ErrImagePull"), waiting("b", "CrashLoopBackOff")}), "1/3 ErrImagePull 0"},
		"done":            {pod(v1.PodSucceeded, cs{ended("i", "Completed", 0, 0), ended("s", "Completed", 0, 0)}, cs{ended("a", "Completed", 0, 0), ended("b", "Completed", 0, 0)}), "0/3 Completed 0"},
		"one done":        {pod(v1.PodRunning, initDone, cs{ended("a", "Completed", 0, 0), running("b", true)}, cond(v1.PodReady, v1.ConditionFalse, "")), "2/3 NotReady 0"},
		"one done, ready": {pod(v1.PodRunning, initDone, cs{ended("a", "Completed", 0, 0), running("b", true)}, cond(v1.PodReady, v1.ConditionTrue, "")), "2/3 Running 0"},
		"oom":             {pod(v1.PodFailed, initDone, cs{ended("a", "OOMKilled", 137, 0), ended("b", "", 2, 0)}), "1/3 OOMKilled 0"},
		"main signal":     {pod(v1.PodFailed, initDone, cs{ended("a", "", 137, 9), ended("b", "Error", 2, 0)}), "1/3 Signal:9 0"},
		"dying":           {dying(pod(v1.PodRunning, initDone, cs{running("a", true), running("b", true)}), ""), "3/3 Terminating 0"},
		"dying, lost":     {dying(pod(v1.PodRunning, initDone, cs{running("a", true), running("b", true)}), "NodeLost"), "3/3 Unknown 0"},
		"dying, ended":    {dying(pod(v1.PodSucceeded, initDone, cs{ended("a", "Completed", 0, 0), ended("b", "Completed", 0, 0)}), ""), "1/3 Completed 0"},
		"init restarts no more count, a sidecar's do": {
			pod(v1.PodRunning, cs{restarted(ended("i", "Completed", 0, 0), 5, time.Hour), restarted(running("s", true), 1, 2*time.Hour)},
				cs{restarted(running("a", true), 1, 3*time.Hour), running("b", true)}), "3/3 Running 2 (120m ago)"},
		"initialized by condition": {
			pod(v1.PodRunning, cs{ended("i", "Completed", 0, 0), waiting("s", "CrashLoopBackOff")},
				cs{running("a", true), running("b", true)}, cond(v1.PodInitialized, v1.ConditionTrue, "")), "2/3 Init:CrashLoopBackOff 0"},
	} {
		row := PodColumns{}.Row(c.pod, now)
		if got := strings.Join(row[1:4], " "); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		if row[4] != "90m" {
			t.Errorf("%s: age %q", name, row[4])
		}
	}
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	cols := PodColumns{Namespace: true, Wide: true}
	tab := NewTable(&out, cols.Header()...)
	p := pod(v1.PodRunning, nil, []v1.ContainerStatus{running("a", true), running("b", true)})
	p.Status.PodIPs = []v1.PodIP{{IP: "10.85.0.2"}}
	p.Spec.InitContainers = nil
	if err := tab.Print(cols.Row(p, now)); err != nil {
		t.Fatal(err)
	}
	p.Name, p.Spec.NodeName = "x", "n1"
	if err := tab.Print(cols.Row(p, now)); err != nil {
		t.Fatal(err)
	}
	want := `NAMESPACE   NAME   READY   STATUS    RESTARTS   AGE   IP          NODE
ns          p      2/2     Running   0          90m   10.85.0.2   <none>
ns          x      2/2     Running   0          90m   10.85.0.2   n1
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}
