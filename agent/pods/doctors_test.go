package pods

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/lifecycle"
)

// doctors are the probes and hooks of one process: what they know goes with it.
type doctors struct {
	a *process

	mu     sync.Mutex
	probed map[string][]lifecycle.Probing            // by UID, as last set
	health map[string]map[string]lifecycle.Health    // by UID and container
	begun  map[string]map[string]*lifecycle.HookSeen // by UID, then kind + ID
	reqs   []HookRequest
}

func newDoctors(a *process) *doctors {
	return &doctors{a: a, probed: map[string][]lifecycle.Probing{}, health: map[string]map[string]lifecycle.Health{}, begun: map[string]map[string]*lifecycle.HookSeen{}}
}

type probes struct{ *doctors }
type hooks struct{ *doctors }

func (d probes) Set(pod *v1.Pod, _ netip.Addr, attempts []lifecycle.Probing) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.probed[string(pod.UID)] = attempts
}

func (d probes) Health(uid string) map[string]lifecycle.Health {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.health[uid])
}

func (d probes) Forget(uid string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.probed, uid)
	delete(d.health, uid)
}

func (d hooks) Begin(r HookRequest) {
	d.mu.Lock()
	defer d.mu.Unlock()
	uid, key := string(r.Pod.UID), string(r.Kind)+r.ID
	if d.begun[uid] == nil {
		d.begun[uid] = map[string]*lifecycle.HookSeen{}
	}
	if d.begun[uid][key] == nil {
		d.begun[uid][key] = &lifecycle.HookSeen{ID: r.ID, Kind: r.Kind}
		d.reqs = append(d.reqs, r)
	}
}

func (d hooks) Seen(uid string) (out []lifecycle.HookSeen) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(d.begun[uid])) {
		out = append(out, *d.begun[uid][key])
	}
	return out
}

func (d hooks) Release(uid, id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.DeleteFunc(d.begun[uid], func(_ string, h *lifecycle.HookSeen) bool { return id == "" || h.ID == id })
}

// endHooks ends all hooks of that kind, of all pods.
func (w *world) endHooks(kind lifecycle.HookKind, failure string) {
	d := w.a.doctors
	d.mu.Lock()
	for _, hooks := range d.begun {
		for _, h := range hooks {
			if h.Kind == kind {
				h.Done, h.Failure = true, failure
			}
		}
	}
	d.mu.Unlock()
	w.a.p.Wake("")
}

// hooking returns the kinds of the hooks that run now.
func (w *world) hooking() (out []string) {
	d := w.a.doctors
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, hooks := range d.begun {
		for _, h := range hooks {
			if !h.Done {
				out = append(out, string(h.Kind))
			}
		}
	}
	slices.Sort(out)
	return out
}

// probed tells what the probes of a container have come to.
func (w *world) probed(uid, container string, h lifecycle.Health) {
	d := w.a.doctors
	d.mu.Lock()
	for _, p := range d.probed[uid] {
		if p.Container == container {
			h.ID = p.ID
		}
	}
	if d.health[uid] == nil {
		d.health[uid] = map[string]lifecycle.Health{}
	}
	d.health[uid][container] = h
	d.mu.Unlock()
	w.a.p.Wake(uid)
}

func (w *world) ready(uid string) bool {
	s := w.status(uid)
	return s != nil && len(s.ContainerStatuses) > 0 && s.ContainerStatuses[0].Ready
}

func TestHooksOfAWorker(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		handler := &v1.LifecycleHandler{Exec: &v1.ExecAction{Command: []string{"true"}}}
		pod := toolPod("web", "u1")
		pod.Spec.Containers[0].Lifecycle = &v1.Lifecycle{PostStart: handler, PreStop: handler}
		w.start(t)
		w.want(pod)
		w.await(t, "the postStart hook", func() bool { return slices.Equal(w.hooking(), []string{"postStart"}) })
		if w.phase("u1") != v1.PodPending {
			t.Errorf("phase %s while its postStart hook runs", w.phase("u1"))
		}
		w.restart(t) // the hook went with the process
		w.await(t, "the hook to be begun again", func() bool { return slices.Equal(w.hooking(), []string{"postStart"}) })
		w.endHooks(lifecycle.PostStart, "")
		w.awaitPhase(t, "u1", v1.PodRunning)
		if r := w.a.doctors.reqs[0]; r.ID == "" || !r.PodIP.IsValid() || !r.Deadline.IsZero() || r.Pod.Status.PodIP == "" {
			t.Errorf("asked for with %+v", r)
		}
		w.unwant("u1")
		w.await(t, "the preStop hook", func() bool { return slices.Equal(w.hooking(), []string{"preStop"}) })
		synctest.Wait()
		if len(w.running("u1")) != 1 {
			t.Error("it is stopped before its preStop hook has ended")
		}
		if r := w.a.doctors.reqs[len(w.a.doctors.reqs)-1]; time.Until(r.Deadline) > 5*time.Second || !r.Deadline.After(time.Now()) {
			t.Errorf("the hook has until %v", r.Deadline)
		}
		w.endHooks(lifecycle.PreStop, "it failed")
		w.awaitGone(t, "u1")
		synctest.Wait()
		if got := (hooks{w.a.doctors}).Seen("u1"); len(got) > 0 {
			t.Errorf("hooks of a pod that is gone are kept: %v", got)
		}
	})
}

// Readiness is what it was when the process ends, until somebody has probed.
func TestReadyOverARestart(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		pod := toolPod("web", "u1")
		pod.Spec.Containers[0].ReadinessProbe = &v1.Probe{}
		w.start(t)
		w.want(pod)
		w.awaitPhase(t, "u1", v1.PodRunning)
		for _, ready := range []bool{false, true} {
			synctest.Wait()
			if ready {
				w.probed("u1", "a", lifecycle.Health{Started: true, Ready: true})
				w.await(t, "it to be ready", func() bool { return w.ready("u1") })
			}
			synctest.Wait()
			w.restart(t)
			w.awaitPhase(t, "u1", v1.PodRunning)
			synctest.Wait()
			if w.ready("u1") != ready {
				t.Errorf("ready %v after a restart, was %v", !ready, ready)
			}
			if got := w.a.doctors.probed["u1"]; len(got) != 1 || got[0].Ready != ready || !got[0].Started {
				t.Errorf("probed with %+v", got)
			}
		}
		w.probed("u1", "a", lifecycle.Health{Started: true, Failed: &lifecycle.Unhealthy{Probe: "liveness", Message: "no", At: time.Now()}})
		w.await(t, "another attempt", func() bool { return w.facts("u1").Containers["a"].RestartCount == 1 })
	})
}

// What may change of a pod is taken over and on record.
func TestFollowsItsSource(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.start(t)
		w.want(toolPod("web", "u1"))
		w.awaitPhase(t, "u1", v1.PodRunning)
		pod, deadline := toolPod("web", "u1"), int64(60)
		pod.Labels = map[string]string{"a": "b"}
		pod.Spec.ActiveDeadlineSeconds = &deadline
		pod.Spec.EphemeralContainers = []v1.EphemeralContainer{{EphemeralContainerCommon: v1.EphemeralContainerCommon(pod.Spec.Containers[0])}}
		pod.Spec.EphemeralContainers[0].Name = "debug"
		pod.Spec.Containers[0].Command = []string{"something", "else"} // may not
		w.want(pod)
		w.await(t, "the ephemeral container", func() bool { return len(w.running("u1")) == 2 })
		w.restart(t)
		w.unwantAll()
		w.want(pod)
		w.await(t, "the deadline", func() bool { return w.phase("u1") == v1.PodFailed })
		if s := w.status("u1"); s.Reason != "DeadlineExceeded" || len(s.EphemeralContainerStatuses) != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestRejected(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.cfg.Reject = func(pod *v1.Pod) (string, string) {
			if pod.UID == "u1" {
				return "SysctlForbidden", "forbidden sysctl: \"kernel.x\" not allowlisted"
			}
			return "", ""
		}
		w.start(t)
		w.want(toolPod("web", "u1"), toolPod("other", "u2"))
		w.awaitPhase(t, "u1", v1.PodFailed)
		w.awaitPhase(t, "u2", v1.PodRunning)
		if s := w.status("u1"); s.Reason != "SysctlForbidden" || !strings.HasPrefix(s.Message, "Pod was rejected: forbidden sysctl") || len(s.ContainerStatuses)+len(s.PodIPs) > 0 {
			t.Errorf("%+v", s)
		}
		w.cfg.Reject = func(*v1.Pod) (string, string) { return "", "" } // a pod is judged once
		w.restart(t)
		synctest.Wait()
		w.awaitPhase(t, "u1", v1.PodFailed)
		w.unwant("u1")
		w.awaitGone(t, "u1")
	})
}
