package golden_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/davit-agent/davit/test/oracle/golden"
	"github.com/davit-agent/davit/test/oracle/scenario"
)

var zero = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func at(sec int) metav1.Time { return metav1.NewTime(zero.Add(time.Duration(sec) * time.Second)) }

// sight is a pod as one container of it and its conditions say.
func sight(phase v1.PodPhase, ready string, c v1.ContainerStatus) golden.Observation {
	start := at(0)
	c.Name, c.ContainerID = "main", "containerd://"+strings.Repeat("ab", 32)
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a-pod", Namespace: "s-1", UID: "11-22"}}
	p.Status = v1.PodStatus{Phase: phase, StartTime: &start, PodIP: "10.0.0.7",
		PodIPs:            []v1.PodIP{{IP: "10.0.0.7"}, {IP: "fd00::7"}},
		ContainerStatuses: []v1.ContainerStatus{c}}
	status, reason, _ := strings.Cut(ready, " ")
	p.Status.Conditions = []v1.PodCondition{{Type: v1.PodReady, Status: v1.ConditionStatus(status), Reason: reason,
		LastTransitionTime: at(1)}}
	return golden.Observation{Pod: p}
}

func running(restarts int32, ready bool, last *v1.ContainerStateTerminated) v1.ContainerStatus {
	return v1.ContainerStatus{Ready: ready, RestartCount: restarts,
		State:                v1.ContainerState{Running: &v1.ContainerStateRunning{StartedAt: at(2)}},
		LastTerminationState: v1.ContainerState{Terminated: last}}
}

func waiting(reason, message string, restarts int32, last *v1.ContainerStateTerminated) v1.ContainerStatus {
	return v1.ContainerStatus{RestartCount: restarts,
		State:                v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: reason, Message: message}},
		LastTerminationState: v1.ContainerState{Terminated: last}}
}

func ended(code int32, restarts int32) v1.ContainerStatus {
	return v1.ContainerStatus{RestartCount: restarts, State: v1.ContainerState{Terminated: failure(code)}}
}

func failure(code int32) *v1.ContainerStateTerminated {
	return &v1.ContainerStateTerminated{ExitCode: code, Reason: "Error", StartedAt: at(2), FinishedAt: at(5)}
}

// crash is what kubelet shows of a container that fails, is started again, fails
// again and waits.
func crash() golden.Recording {
	unseen := golden.Observation{Pod: &v1.Pod{Status: v1.PodStatus{Phase: v1.PodPending, QOSClass: v1.PodQOSBestEffort}}}
	rec := golden.Recording{Observations: []golden.Observation{
		unseen,
		sight(v1.PodPending, "False ContainersNotReady", waiting("ContainerCreating", "", 0, nil)),
		sight(v1.PodRunning, "True", running(0, true, nil)),
		sight(v1.PodRunning, "False ContainersNotReady", ended(1, 0)),
		sight(v1.PodRunning, "True", running(1, true, failure(1))),
		sight(v1.PodRunning, "False ContainersNotReady", ended(2, 1)),
		sight(v1.PodRunning, "False ContainersNotReady",
			waiting("CrashLoopBackOff", "back-off 10s restarting failed container=main pod=a-pod_s-1(11-22)", 1, failure(2))),
	}}
	for i := range rec.Observations {
		rec.Observations[i].At = at(i).Time
	}
	for i, e := range []struct{ reason, message, field string }{
		{"Started", "Container started", "spec.containers{main}"},
		{"Pulled", "Successfully pulled image \"x\" in 1.22s (1.3s including waiting). Image size: 77 bytes.", "spec.containers{main}"},
		{"Failed", "of a-pod_s-1(11-22) at 10.1.2.3", ""},
		{"Started", "Container started", "spec.containers{main}"},
	} {
		rec.Events = append(rec.Events, v1.Event{Type: "Normal", Reason: e.reason, Message: e.message, FirstTimestamp: at(9 - i),
			InvolvedObject: v1.ObjectReference{FieldPath: e.field}})
	}
	return rec
}

func TestReduce(t *testing.T) {
	g := golden.Reduce("a crash", crash())
	for facet, want := range map[string][]string{
		"phase":           {"Pending", "Running"},
		"condition Ready": {"False ContainersNotReady", "True", "~ False ContainersNotReady", "True", "False ContainersNotReady"},
		"main state":      {"~ waiting ContainerCreating", "running", "~ terminated Error 1", "running", "~ terminated Error 2", "waiting CrashLoopBackOff"},
		"main restarts":   {"0", "1"},
		"main ready":      {"false", "true", "~ false", "true", "false"},
		"main last":       {"terminated Error 1", "terminated Error 2"},
		"main message":    {"CrashLoopBackOff: back-off 10s restarting failed container=main pod=POD_NAMESPACE(UID)"},
		"main started":    {"unset"},
	} {
		if !slices.Equal(g.Facets[facet], want) {
			t.Errorf("%s: %q, want %q", facet, g.Facets[facet], want)
		}
	}
	if len(g.Facets) != 8 {
		t.Errorf("facets: %v", g.Facets)
	}
	for path, want := range map[string]string{
		"startTime":                            "TIME",
		"podIP":                                "IP",
		"podIPs[*].ip":                         "IP",
		"conditions[Ready].lastTransitionTime": "TIME",
		"containerStatuses[main].containerID":  "ID",
		"containerStatuses[main].lastState.terminated.startedAt": "TIME",
	} {
		if g.Final[path] != want {
			t.Errorf("final %s: %q, want %q", path, g.Final[path], want)
		}
	}
	for path := range g.Final {
		if strings.HasSuffix(path, ".reason") || strings.HasSuffix(path, ".message") || strings.HasSuffix(path, "exitCode") {
			t.Errorf("final tells %s, which a facet tells", path)
		}
	}
	want := map[string][]string{
		"main": {"Normal Started: Container started",
			"Normal Pulled: Successfully pulled image \"x\" in DURATION (DURATION including waiting). Image size: N bytes."},
		"pod": {"Normal Failed: of POD_NAMESPACE(UID) at IP"},
	}
	if fmt.Sprint(g.Events) != fmt.Sprint(want) {
		t.Errorf("events %q, want %q", g.Events, want)
	}
}

func TestMarshal(t *testing.T) {
	g := golden.Reduce("a crash", crash())
	data, err := g.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	back, err := golden.Unmarshal(data)
	if err != nil {
		t.Fatal(err)
	}
	if d := golden.Compare(g, back, nil); len(d) > 0 || len(golden.CompareEvents(g, back)) > 0 {
		t.Errorf("read back it differs: %v", d)
	}
	if _, err := golden.Unmarshal([]byte("facet: {}")); err == nil {
		t.Error("an unknown key is taken")
	}
}

// What chance decides makes no difference.
func TestChance(t *testing.T) {
	want := golden.Reduce("", crash())
	for name, change := range map[string]func(*golden.Recording){
		"first status missed":  func(r *golden.Recording) { r.Observations = r.Observations[1:] },
		"end missed":           func(r *golden.Recording) { r.Observations = slices.Delete(r.Observations, 3, 4) },
		"crash missed":         func(r *golden.Recording) { r.Observations = slices.Delete(r.Observations, 5, 6) },
		"status written twice": func(r *golden.Recording) { r.Observations = append(r.Observations, r.Observations[6]) },
		"other times": func(r *golden.Recording) {
			r.Observations[6].Pod.Status.StartTime = &metav1.Time{Time: zero.Add(time.Hour)}
		},
		"other names": func(r *golden.Recording) {
			p := r.Observations[6].Pod
			p.Name, p.Namespace, p.UID = "other-pod", "x", "33"
			w := p.Status.ContainerStatuses[0].State.Waiting
			w.Message = strings.Replace(w.Message, "a-pod_s-1(11-22)", "other-pod_x(33)", 1)
		},
		"one address family": func(r *golden.Recording) {
			p := r.Observations[6].Pod
			p.Status.PodIPs = p.Status.PodIPs[:1]
		},
	} {
		rec := crash()
		change(&rec)
		for _, d := range golden.Compare(want, golden.Reduce("", rec), nil) {
			t.Errorf("%s: %v", name, d)
		}
	}
}

// Every other difference is noticed, and named.
func TestMutations(t *testing.T) {
	status := func(r *golden.Recording, i int) *v1.PodStatus { return &r.Observations[i].Pod.Status }
	main := func(r *golden.Recording, i int) *v1.ContainerStatus { return &status(r, i).ContainerStatuses[0] }
	yes := true
	for _, c := range []struct {
		facet  string
		change func(*golden.Recording)
	}{
		{"phase", func(r *golden.Recording) { status(r, 6).Phase = v1.PodFailed }},
		{"reason", func(r *golden.Recording) { status(r, 6).Reason = "Evicted" }},
		{"reason", func(r *golden.Recording) { status(r, 4).Message = "why" }},
		{"deletion", func(r *golden.Recording) {
			now, grace := at(3), int64(5)
			r.Observations[5].Pod.DeletionTimestamp, r.Observations[5].Pod.DeletionGracePeriodSeconds = &now, &grace
		}},
		{"deletion", func(r *golden.Recording) { r.Observations = append(r.Observations, golden.Observation{}) }},
		{"condition Ready", func(r *golden.Recording) { status(r, 2).Conditions[0].Status = "False" }},
		{"condition Ready", func(r *golden.Recording) { status(r, 6).Conditions[0].Reason = "Other" }},
		{"condition Ready", func(r *golden.Recording) { status(r, 6).Conditions[0].Message = "other" }},
		{"condition Ready", func(r *golden.Recording) { status(r, 3).Conditions[0].Status = "Unknown" }},
		{"condition Initialized", func(r *golden.Recording) {
			status(r, 6).Conditions = append(status(r, 6).Conditions, v1.PodCondition{Type: v1.PodInitialized})
		}},
		{"main state", func(r *golden.Recording) { r.Observations = slices.Delete(r.Observations, 4, 7) }},
		{"main state", func(r *golden.Recording) { main(r, 6).State.Waiting.Reason = "Other" }},
		{"main state", func(r *golden.Recording) { main(r, 3).State.Terminated.ExitCode = 3 }},
		{"main state", func(r *golden.Recording) { main(r, 3).State.Terminated.Reason = "Completed" }},
		{"main state", func(r *golden.Recording) { main(r, 5).State.Terminated.Signal = 9 }},
		{"main state", func(r *golden.Recording) { main(r, 1).State.Waiting.Reason = "PodInitializing" }},
		{"main ready", func(r *golden.Recording) { main(r, 4).Ready = false; main(r, 2).Ready = false }},
		{"main started", func(r *golden.Recording) { main(r, 4).Started = &yes }},
		{"main restarts", func(r *golden.Recording) { main(r, 6).RestartCount = 2 }},
		{"main last", func(r *golden.Recording) { main(r, 6).LastTerminationState.Terminated.ExitCode = 7 }},
		{"main last", func(r *golden.Recording) { main(r, 6).LastTerminationState.Terminated.Message = "bye" }},
		{"main message", func(r *golden.Recording) { main(r, 6).State.Waiting.Message = "back-off 20s" }},
		{"other state", func(r *golden.Recording) {
			status(r, 6).EphemeralContainerStatuses = []v1.ContainerStatus{{Name: "other"}}
		}},
		{"final qosClass", func(r *golden.Recording) { status(r, 6).QOSClass = v1.PodQOSBurstable }},
		{"final podIP", func(r *golden.Recording) { status(r, 6).PodIP = "" }},
		{"final podIPs[*].ip", func(r *golden.Recording) { status(r, 6).PodIPs = nil }},
		{"final containerStatuses[main].imageID", func(r *golden.Recording) { main(r, 6).ImageID = "sha256:1" }},
		{"final containerStatuses[main].volumeMounts[/x].name", func(r *golden.Recording) {
			main(r, 6).VolumeMounts = []v1.VolumeMountStatus{{Name: "v", MountPath: "/x"}}
		}},
		{"final conditions[Ready].observedGeneration", func(r *golden.Recording) { status(r, 6).Conditions[0].ObservedGeneration = 2 }},
	} {
		rec := crash()
		c.change(&rec)
		found := golden.Compare(golden.Reduce("", crash()), golden.Reduce("", rec), nil)
		if !slices.ContainsFunc(found, func(d golden.Difference) bool { return d.Facet == c.facet }) {
			t.Errorf("a difference of %s is not noticed, but %v", c.facet, found)
		}
	}
	rec := crash()
	rec.Events = rec.Events[1:]
	rec.Events[0].Message = "other"
	if found := golden.CompareEvents(golden.Reduce("", crash()), golden.Reduce("", rec)); len(found) == 0 {
		t.Error("other events are not noticed")
	}
}

func TestMissed(t *testing.T) {
	w := func(items ...string) *golden.Golden { return &golden.Golden{Facets: map[string][]string{"x": items}} }
	for _, c := range []struct {
		want, got *golden.Golden
		same      bool
	}{
		{w("a", "b"), w("a", "b"), true},
		{w("a", "b"), w("a"), false},
		{w("a"), w("a", "b"), false},
		{w("a", "b"), w("b", "a"), false},
		{w("a", "~ b", "c"), w("a", "c"), true},
		{w("a", "c"), w("a", "~ b", "c"), true},
		{w("a", "~ b", "c"), w("a", "b", "c"), true},
		{w("a", "~ b", "c"), w("a", "~ d", "c"), false},
		{w("a", "~ b", "c"), w("a", "d", "c"), false},
		{w("a", "~ b", "~ d", "c"), w("a", "~ d", "c"), true},
		{w("a", "~ b", "a"), w("a"), true},
		{w("a"), w("a", "~ b", "a"), true},
		{w("a", "~ b", "a", "c"), w("a", "c"), true},
		{w("a", "b", "a"), w("a"), false},
		{w("~ a"), w(), true},
		{w("~ a", "b"), w("~ c", "b"), false},
		{w("a", "~ b"), w("a", "b"), true},
	} {
		if found := golden.Compare(c.want, c.got, nil); (len(found) == 0) != c.same {
			t.Errorf("%q and %q: %v", c.want.Facets["x"], c.got.Facets["x"], found)
		}
	}
}

func TestDiffers(t *testing.T) {
	rec := crash()
	rec.Observations[6].Pod.Status.ContainerStatuses[0].State.Waiting.Reason = "Other"
	want, got := golden.Reduce("", crash()), golden.Reduce("", rec)
	compare := func(ds ...scenario.Difference) int { return len(golden.Compare(want, got, ds)) }
	state := golden.Reduce("", rec).Facets["main state"]
	all := compare()
	for name, c := range map[string]struct {
		d    scenario.Difference
		left int
	}{
		"by name":       {scenario.Difference{Facet: "main state"}, all - 1},
		"by pattern":    {scenario.Difference{Facet: "* state"}, all - 1},
		"another":       {scenario.Difference{Facet: "main states"}, all},
		"told":          {scenario.Difference{Facet: "main state", Davit: state}, all - 1},
		"told wrongly":  {scenario.Difference{Facet: "main state", Davit: state[1:2]}, all},
		"told as none":  {scenario.Difference{Facet: "main state", Davit: []string{}}, all},
		"does not hold": {scenario.Difference{Facet: "phase", Davit: []string{"Failed"}}, all + 1},
	} {
		if n := compare(c.d); n != c.left {
			t.Errorf("%s: %d differences, want %d", name, n, c.left)
		}
	}
}

func TestDifferenceText(t *testing.T) {
	d := golden.Difference{Facet: "phase", Want: []string{"Pending", "Running"}, Note: "so it is"}
	want := "phase: so it is\n\twant  Pending\n\t      Running\n\tgot   nothing"
	if d.String() != want {
		t.Errorf("%q, want %q", d, want)
	}
}
