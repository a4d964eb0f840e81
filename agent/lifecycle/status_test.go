package lifecycle

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/davit-agent/davit/runtime"
)

// wantJSON compares v as JSON with want, which is indented as it likes.
func wantJSON(t *testing.T, v any, want string) {
	t.Helper()
	var a, b any
	if err := json.Unmarshal(toJSON(v), &a); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(want), &b); err != nil {
		t.Fatalf("want: %v", err)
	}
	if d := cmp.Diff(b, a); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

func TestStatusWhole(t *testing.T) {
	pod := newPod(onFailure, "i:i1", "b", "a")
	pod.Generation = 3
	pod.Spec.Containers[0].VolumeMounts = []v1.VolumeMount{
		{Name: "v", MountPath: "/v", ReadOnly: true}, {Name: "w", MountPath: "/w"},
	}
	pod.Spec.Containers[0].Resources.Requests = v1.ResourceList{v1.ResourceCPU: resource.MustParse("10m")}
	w := newWorld(t, pod)
	w.facts.PodIPs = []netip.Addr{netip.MustParseAddr("10.85.0.2"), netip.MustParseAddr("fd00::2")}
	w.facts.HostIPs = []netip.Addr{netip.MustParseAddr("192.0.2.10")}
	w.idle()
	w.pass(5 * time.Second)
	w.exits("i1", 0)
	w.idle()
	w.pass(time.Minute)
	w.exits("a", 1)
	w.idle()
	w.exits("a", 1)
	w.idle()
	s := w.report()
	ida, idb, idi := runtime.ContainerID("u-1", "a", 1), runtime.ContainerID("u-1", "b", 0), runtime.ContainerID("u-1", "i1", 0)
	wantJSON(t, s, strings.NewReplacer("IDA", ida, "IDB", idb, "IDI", idi).Replace(`{
		"observedGeneration": 3, "phase": "Running", "qosClass": "Burstable", "startTime": "2026-03-01T12:00:00Z",
		"hostIP": "192.0.2.10", "hostIPs": [{"ip": "192.0.2.10"}],
		"podIP": "10.85.0.2", "podIPs": [{"ip": "10.85.0.2"}, {"ip": "fd00::2"}],
		"allocatedResources": {"cpu": "10m"},
		"conditions": [
			{"type": "PodReadyToStartContainers", "observedGeneration": 3, "status": "True", "lastProbeTime": null, "lastTransitionTime": "2026-03-01T12:00:00Z"},
			{"type": "Initialized", "observedGeneration": 3, "status": "True", "lastProbeTime": null, "lastTransitionTime": "2026-03-01T12:00:05Z"},
			{"type": "Ready", "observedGeneration": 3, "status": "False", "lastProbeTime": null, "lastTransitionTime": "2026-03-01T12:01:05Z",
				"reason": "ContainersNotReady", "message": "containers with unready status: [a]"},
			{"type": "ContainersReady", "observedGeneration": 3, "status": "False", "lastProbeTime": null, "lastTransitionTime": "2026-03-01T12:01:05Z",
				"reason": "ContainersNotReady", "message": "containers with unready status: [a]"},
			{"type": "PodScheduled", "observedGeneration": 3, "status": "True", "lastProbeTime": null, "lastTransitionTime": "2026-03-01T12:00:00Z"}],
		"initContainerStatuses": [{
			"name": "i1", "ready": true, "started": false, "restartCount": 0, "image": "example.test/i1", "imageID": "sha256:1",
			"containerID": "containerd://IDI", "resources": {}, "lastState": {},
			"state": {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": "2026-03-01T12:00:00Z", "finishedAt": "2026-03-01T12:00:05Z", "containerID": "containerd://IDI"}}}],
		"containerStatuses": [{
			"name": "a", "ready": false, "started": false, "restartCount": 1, "image": "example.test/a", "imageID": "sha256:1",
			"containerID": "containerd://IDA", "resources": {},
			"state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container=a pod=web_default(u-1)"}},
			"lastState": {"terminated": {"exitCode": 1, "reason": "Error", "startedAt": "2026-03-01T12:01:05Z", "finishedAt": "2026-03-01T12:01:05Z", "containerID": "containerd://IDA"}}
		}, {
			"name": "b", "ready": true, "started": true, "restartCount": 0, "image": "example.test/b", "imageID": "sha256:1",
			"containerID": "containerd://IDB", "resources": {"requests": {"cpu": "10m"}}, "allocatedResources": {"cpu": "10m"}, "lastState": {},
			"state": {"running": {"startedAt": "2026-03-01T12:00:05Z"}},
			"volumeMounts": [{"name": "v", "mountPath": "/v", "readOnly": true, "recursiveReadOnly": "Disabled"}, {"name": "w", "mountPath": "/w"}]
		}]}`))
}

func TestStatusOfNewPod(t *testing.T) {
	w := newWorld(t, newPod(always, "s:s1", "i:i1", "a"))
	s := w.status()
	if got := look(s); got != "Pending s1=PodInitializing i1=PodInitializing a=PodInitializing" {
		t.Error(got)
	}
	wantConditions(t, s,
		"PodReadyToStartContainers=False",
		"Initialized=False ContainersNotInitialized: containers with incomplete status: [s1 i1]",
		"Ready=False ContainersNotReady: containers with unready status: [s1 a]",
		"ContainersReady=False ContainersNotReady: containers with unready status: [s1 a]",
		"PodScheduled=True")
	if s.ContainerStatuses[0].ContainerID != "" || s.ContainerStatuses[0].Image != "a:1" {
		t.Errorf("%+v", s.ContainerStatuses[0])
	}
}

func wantConditions(t *testing.T, s v1.PodStatus, want ...string) {
	t.Helper()
	var got []string
	for _, c := range s.Conditions {
		line := string(c.Type) + "=" + string(c.Status)
		if c.Reason != "" {
			line += " " + c.Reason
		}
		if c.Message != "" {
			line += ": " + c.Message
		}
		got = append(got, line)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

func TestConditionsOverLife(t *testing.T) {
	w := newWorld(t, newPod(never, "s:s1", "a"))
	w.idle()
	wantConditions(t, w.report(), "PodReadyToStartContainers=True", "Initialized=True", "Ready=True", "ContainersReady=True", "PodScheduled=True")
	w.pass(time.Hour)
	for _, c := range w.report().Conditions {
		if !c.LastTransitionTime.Time.Equal(epoch) {
			t.Errorf("%s: transition at %v, without one", c.Type, c.LastTransitionTime)
		}
	}
	// A sidecar that restarts makes the pod unready, not uninitialised.
	w.exits("s1", 1)
	w.idle()
	w.exits("s1", 1)
	w.idle()
	wantConditions(t, w.report(), "PodReadyToStartContainers=True", "Initialized=True",
		"Ready=False ContainersNotReady: containers with unready status: [s1]",
		"ContainersReady=False ContainersNotReady: containers with unready status: [s1]", "PodScheduled=True")
	w.pass(10 * time.Second)
	w.idle()
	w.exits("a", 0)
	w.idle()
	wantConditions(t, w.report(), "PodReadyToStartContainers=False", "Initialized=True PodCompleted",
		"Ready=False PodCompleted", "ContainersReady=False PodCompleted", "PodScheduled=True")
}

func TestConditionsOfFailedPod(t *testing.T) {
	w := newWorld(t, newPod(never, "i:i1", "a"))
	w.idle()
	w.exits("i1", 1)
	w.idle()
	wantConditions(t, w.report(), "PodReadyToStartContainers=False",
		"Initialized=False ContainersNotInitialized: containers with incomplete status: [i1]",
		"Ready=False PodFailed", "ContainersReady=False PodFailed", "PodScheduled=True")
}

func TestReadyWhileBeingDeleted(t *testing.T) {
	w := newWorld(t, newPod(always, "a"))
	w.idle()
	w.cont("a").stubborn = true
	deleted(30 * time.Second)(w)
	w.idle()
	wantConditions(t, w.report(), "PodReadyToStartContainers=True", "Initialized=True", "Ready=True", "ContainersReady=True", "PodScheduled=True")
}

func TestReadinessGates(t *testing.T) {
	pod := newPod(always, "a")
	pod.Spec.ReadinessGates = []v1.PodReadinessGate{{ConditionType: "x/y"}}
	w := newWorld(t, pod)
	w.idle()
	wantConditions(t, w.report(), "PodReadyToStartContainers=True", "Initialized=True",
		`Ready=False ReadinessGatesNotReady: corresponding condition of pod readiness gate "x/y" does not exist.`, "ContainersReady=True", "PodScheduled=True")
	pod.Status.Conditions = []v1.PodCondition{{Type: "x/y", Status: v1.ConditionFalse}}
	wantConditions(t, w.report(), "x/y=False", "PodReadyToStartContainers=True", "Initialized=True",
		`Ready=False ReadinessGatesNotReady: the status of pod readiness gate "x/y" is not "True", but False`, "ContainersReady=True", "PodScheduled=True")
	pod.Status.Conditions[0].Status = v1.ConditionTrue
	wantConditions(t, w.report(), "x/y=True", "PodReadyToStartContainers=True", "Initialized=True", "Ready=True", "ContainersReady=True", "PodScheduled=True")
}

func TestTerminatedStates(t *testing.T) {
	at := epoch.Add(time.Minute)
	for _, c := range []struct {
		name string
		a    Attempt
		want string
	}{
		{"never started", Attempt{ID: "x", Exit: &Exit{Code: 128, At: at, Reason: "StartError", Message: "no such file"}},
			`{"exitCode": 128, "reason": "StartError", "message": "no such file", "startedAt": "1970-01-01T00:00:00Z", "finishedAt": "2026-03-01T12:01:00Z", "containerID": "containerd://x"}`},
		{"unknown", Attempt{ID: "x", StartedAt: epoch, Exit: &Exit{Code: 137, At: at, Reason: "ContainerStatusUnknown", Message: messageTerminated}},
			`{"exitCode": 137, "reason": "ContainerStatusUnknown", "message": "The container could not be located when the pod was terminated", "startedAt": null, "finishedAt": null}`},
	} {
		t.Run(c.name, func(t *testing.T) { wantJSON(t, terminated(&c.a), c.want) })
	}
}

func TestPullMessages(t *testing.T) {
	w := newWorld(t, newPod(always, "a"))
	failing(OpCreate, "a", errBefore)(w)
	w.idle()
	wantJSON(t, w.status().ContainerStatuses[0].State, `{"waiting": {"reason": "ErrImagePull", "message": "it went wrong"}}`)
	w.pass(5 * time.Second)
	wantJSON(t, w.status().ContainerStatuses[0].State,
		`{"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image \"a:1\": ErrImagePull: it went wrong"}}`)
}

func TestHostNetworkAddresses(t *testing.T) {
	pod := newPod(always, "a")
	pod.Spec.HostNetwork = true
	w := newWorld(t, pod)
	w.facts.HostIPs = []netip.Addr{netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("2001:db8::1")}
	s := w.status()
	if s.PodIP != "192.0.2.10" || len(s.PodIPs) != 2 || s.HostIP != "192.0.2.10" {
		t.Errorf("podIP %q podIPs %v hostIP %q", s.PodIP, s.PodIPs, s.HostIP)
	}
}

func TestQOS(t *testing.T) {
	list := func(cpu, memory string) v1.ResourceList {
		l := v1.ResourceList{}
		for k, v := range map[v1.ResourceName]string{v1.ResourceCPU: cpu, v1.ResourceMemory: memory} {
			if v != "" {
				l[k] = resource.MustParse(v)
			}
		}
		return l
	}
	for _, c := range []struct {
		name             string
		requests, limits v1.ResourceList
		want             v1.PodQOSClass
	}{
		{"nothing", nil, nil, v1.PodQOSBestEffort},
		{"zero", list("0", ""), nil, v1.PodQOSBestEffort},
		{"request", list("1", ""), nil, v1.PodQOSBurstable},
		{"one limit", nil, list("1", ""), v1.PodQOSBurstable},
		{"both limits", nil, list("1", "1Gi"), v1.PodQOSGuaranteed},
		{"equal", list("1", "1Gi"), list("1000m", "1024Mi"), v1.PodQOSGuaranteed},
		{"less", list("500m", "1Gi"), list("1", "1Gi"), v1.PodQOSBurstable},
	} {
		t.Run(c.name, func(t *testing.T) {
			pod := newPod(always, "a")
			pod.Spec.Containers[0].Resources = v1.ResourceRequirements{Requests: c.requests, Limits: c.limits}
			if got := QOS(pod); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if c.want == v1.PodQOSGuaranteed {
				pod.Spec.InitContainers = []v1.Container{{Name: "i"}}
				if got := QOS(pod); got != v1.PodQOSBurstable {
					t.Errorf("with an init container that asks nothing: %s", got)
				}
			}
		})
	}
}

func TestAccept(t *testing.T) {
	pod := newPod(always, "a")
	since := metav1.NewTime(epoch.Add(-time.Hour))
	pod.Status.Conditions = []v1.PodCondition{{Type: v1.PodScheduled, Status: v1.ConditionTrue, LastTransitionTime: since}}
	f := Accept(pod, "b", time.Now())
	if f.Format != runtime.FormatVersion || f.BootID != "b" || f.Accepted.Location() != time.UTC {
		t.Errorf("%+v", f)
	}
	for _, c := range Status(Input{Pod: pod, Facts: f, Now: epoch}).Conditions {
		if c.Type == v1.PodScheduled && !c.LastTransitionTime.Equal(&since) {
			t.Errorf("PodScheduled since %v, want %v", c.LastTransitionTime, since)
		}
	}
}

func TestWithMessage(t *testing.T) {
	w := newWorld(t, newPod(never, "a"))
	w.idle()
	if f := WithMessage(w.facts, "a", "early"); f.Containers["a"].Current.Exit != nil {
		t.Error("a message made an exit")
	}
	w.exits("a", 1)
	w.facts = Observe(w.pod, w.facts, w.seen(), w.now)
	with := WithMessage(WithMessage(w.facts, "a", "one"), "a", "two")
	if got := with.Containers["a"].Current.Exit.Message; got != "one" {
		t.Errorf("message %q", got)
	}
	if w.facts.Containers["a"].Current.Exit.Message != "" {
		t.Error("the input was changed")
	}
}

func TestGone(t *testing.T) {
	w := newWorld(t, newPod(always, "a"))
	w.idle()
	deleted(0)(w)
	if Gone(w.facts, w.seen()) {
		t.Error("gone too early")
	}
	w.idle()
	if !w.forgotten || !Gone(w.facts, w.seen()) {
		t.Error("not gone")
	}
}
