package pods

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/davit-agent/davit/agent/lifecycle"
	"github.com/davit-agent/davit/runtime"
)

// registry is where images are pulled from; it outlives processes.
type registry struct {
	mu       sync.Mutex
	pulls    map[string]time.Duration // by reference: what can be pulled, and how long it takes
	asked    []string                 // uid id ref policy, one for each pull that began
	arrivals uint64                   // of images
	released []string                 // UIDs
}

// images pulls from the world's registry.
type images struct {
	a *process

	mu   sync.Mutex
	pull map[string]map[string]string // by UID and ID
}

func (m *images) Ensure(ctx context.Context, req ImageRequest) (img *runtime.Image, r lifecycle.Result) {
	ref, uid := req.Container.Image, string(req.Pod.UID)
	err := m.a.call(ctx, "image", func() (err error) { img, err = m.a.rt.Image(ctx, ref); return err })
	if !errors.Is(err, runtime.ErrImageNotFound) {
		if err != nil {
			return nil, lifecycle.Result{Reason: "ImageInspectError", Message: err.Error()}
		}
		return img, lifecycle.Result{}
	}
	reg := &m.a.w.registry
	reg.mu.Lock()
	takes, ok := reg.pulls[ref]
	reg.mu.Unlock()
	if !ok {
		return nil, lifecycle.Result{Reason: "ErrImagePull", Message: "not found"}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.pull[uid] == nil {
		m.pull[uid] = map[string]string{}
	}
	if m.pull[uid][req.ID] != "" {
		m.a.w.Errorf("pod %s asks for %s while it is being pulled", uid, req.ID)
	}
	m.pull[uid][req.ID] = "half of it"
	reg.mu.Lock()
	reg.asked = append(reg.asked, fmt.Sprint(uid, " ", req.ID, " ", ref, " ", req.Policy))
	reg.mu.Unlock()
	time.AfterFunc(takes, func() {
		m.mu.Lock()
		_, wanted := m.pull[uid][req.ID]
		delete(m.pull[uid], req.ID)
		m.mu.Unlock()
		if wanted && !m.a.dead.Load() {
			m.a.w.node.AddImage(&runtime.Image{Name: ref, ID: "sha256:" + ref, Config: toolConfig})
			m.a.w.arrived()
			m.a.p.Wake(uid)
		}
	})
	return nil, lifecycle.Result{Pending: true, Message: "pulling"}
}

func (m *images) Pulling(uid string) map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string]string{}
	for id, how := range m.pull[uid] {
		out[id] = how
	}
	return out
}

func (m *images) Release(uid string) {
	m.mu.Lock()
	delete(m.pull, uid)
	m.mu.Unlock()
	m.a.w.registry.mu.Lock()
	defer m.a.w.registry.mu.Unlock()
	m.a.w.registry.released = append(m.a.w.registry.released, uid)
}

func (m *images) Generation() uint64 {
	m.a.w.registry.mu.Lock()
	defer m.a.w.registry.mu.Unlock()
	return m.a.w.registry.arrivals
}

// arrived notes that an image came.
func (w *world) arrived() {
	w.registry.mu.Lock()
	defer w.registry.mu.Unlock()
	w.registry.arrivals++
}

// publishes has the registry serve an image.
func (w *world) publishes(ref string, takes time.Duration) {
	w.registry.mu.Lock()
	defer w.registry.mu.Unlock()
	if w.registry.pulls == nil {
		w.registry.pulls = map[string]time.Duration{}
	}
	w.registry.pulls[ref] = takes
}

// objects are what pods refer to.
type objects struct{ a *process }

func (o objects) ConfigMap(namespace, name string) (*v1.ConfigMap, bool) {
	o.a.w.mu.Lock()
	defer o.a.w.mu.Unlock()
	cm, ok := o.a.w.configMaps[namespace+"/"+name]
	return cm, ok
}

func (o objects) Secret(string, string) (*v1.Secret, bool) { return nil, false }

func (o objects) Generation() uint64 {
	o.a.w.mu.Lock()
	defer o.a.w.mu.Unlock()
	return o.a.w.objectsGen
}

func (o objects) Synced() bool {
	o.a.w.mu.Lock()
	defer o.a.w.mu.Unlock()
	return o.a.w.synced
}

// configure sets a ConfigMap and wakes everybody.
func (w *world) configure(name string, data map[string]string) {
	w.mu.Lock()
	if w.configMaps == nil {
		w.configMaps = map[string]*v1.ConfigMap{}
	}
	w.configMaps["default/"+name] = &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Data: data}
	w.objectsGen++
	w.mu.Unlock()
	w.a.changes <- ""
}

// waiting returns why a pod's first container waits.
func (w *world) waiting(uid string) string {
	s := w.status(uid)
	if s == nil || len(s.ContainerStatuses) == 0 || s.ContainerStatuses[0].State.Waiting == nil {
		return ""
	}
	wait := s.ContainerStatuses[0].State.Waiting
	return wait.Reason + ": " + wait.Message
}

func TestPulling(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		const one, two = "example.com/one:1", "example.com/two:1"
		w.publishes(one, time.Hour)
		w.publishes(two, time.Minute)
		pod := toolPod("web", "u1")
		pod.Spec.Containers[0].Image = one
		b := toolContainer("b", "sleep")
		b.Image, b.ImagePullPolicy = two, v1.PullAlways
		pod.Spec.Containers = append(pod.Spec.Containers, b)
		w.start(t)
		w.want(pod)
		w.await(t, "the pull", func() bool { return w.waiting("u1") == "ContainerCreating: half of it" })
		synctest.Wait()
		id := runtime.ContainerID("u1", "a", 0)
		asked := []string{"u1 " + id + " " + one + " IfNotPresent", "u1 ahead/b " + two + " IfNotPresent"}
		if got := w.registry.asked[:2]; !slices.Equal(got, asked) {
			t.Errorf("asked for %q, want %q", got, asked)
		}
		w.await(t, "the second container", func() bool { return len(w.running("u1")) == 1 })
		time.Sleep(time.Hour)
		w.awaitPhase(t, "u1", v1.PodRunning)
		if n := len(w.running("u1")); n != 2 {
			t.Errorf("%d containers run", n)
		}
		w.unwant("u1")
		w.awaitGone(t, "u1")
		if !slices.Contains(w.registry.released, "u1") {
			t.Error("its pulls were not released")
		}
	})
}

// A pod that pulls can be deleted, and what it waits for is given up.
func TestDeletionWhilePulling(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		const ref = "example.com/one:1"
		w.publishes(ref, 100*time.Hour)
		pod := toolPod("web", "u1")
		pod.Spec.Containers[0].Image = ref
		w.start(t)
		w.want(pod)
		w.await(t, "the pull", func() bool { return w.waiting("u1") == "ContainerCreating: half of it" })
		began := time.Now()
		w.unwant("u1")
		w.awaitGone(t, "u1")
		if took := time.Since(began); took > time.Minute {
			t.Errorf("it took %v", took)
		}
		if !slices.Contains(w.registry.released, "u1") {
			t.Error("its pulls were not released")
		}
	})
}

// Another process pulls anew.
func TestRestartWhilePulling(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		const ref = "example.com/one:1"
		w.publishes(ref, time.Hour)
		pod := toolPod("web", "u1")
		pod.Spec.Containers[0].Image = ref
		w.start(t)
		w.want(pod)
		w.await(t, "the pull", func() bool { return w.waiting("u1") == "ContainerCreating: half of it" })
		w.restart(t)
		w.await(t, "the pull", func() bool { return w.waiting("u1") == "ContainerCreating: half of it" })
		time.Sleep(time.Hour)
		w.awaitPhase(t, "u1", v1.PodRunning)
	})
}

// An image that comes by other ways ends a back-off.
func TestImageArrives(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		const ref = "example.com/one:1"
		pod := toolPod("web", "u1")
		pod.Spec.Containers[0].Image = ref
		w.start(t)
		w.want(pod)
		time.Sleep(20 * time.Minute)
		if got := w.waiting("u1"); !strings.HasPrefix(got, `ImagePullBackOff: Back-off pulling image "example.com/one:1": ErrImagePull: not found`) {
			t.Errorf("it waits for %q", got)
		}
		w.node.AddImage(&runtime.Image{Name: ref, ID: "sha256:2", Config: toolConfig})
		w.arrived()
		w.a.p.Wake("")
		began := time.Now()
		w.awaitPhase(t, "u1", v1.PodRunning)
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestConfigMapAppears(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		pod := toolPod("web", "u1")
		pod.Spec.Containers[0].Env = []v1.EnvVar{{Name: "A", ValueFrom: &v1.EnvVarSource{ConfigMapKeyRef: &v1.ConfigMapKeySelector{
			LocalObjectReference: v1.LocalObjectReference{Name: "cm"}, Key: "k"}}}}
		w.start(t)
		w.want(pod)
		w.await(t, "the error", func() bool { return w.waiting("u1") == `CreateContainerConfigError: configmap "cm" not found` })
		w.configure("cm", map[string]string{"other": "1"})
		w.await(t, "the next error", func() bool {
			return w.waiting("u1") == "CreateContainerConfigError: couldn't find key k in ConfigMap default/cm"
		})
		time.Sleep(time.Second)
		w.configure("cm", map[string]string{"k": "1"})
		began := time.Now()
		w.awaitPhase(t, "u1", v1.PodRunning)
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// After the clock was set back, a change of before it does not renew every try.
func TestChangeBeforeTheClockWasSetBack(t *testing.T) {
	var c change
	now := time.Unix(1e9, 0)
	if got := c.note(1, now); got != now {
		t.Errorf("first seen at %v, noted %v", now, got)
	}
	if got := c.note(1, now.Add(time.Minute)); got != now {
		t.Errorf("not changed, and noted %v", got)
	}
	now = now.Add(-time.Hour)
	c.note(1, now)
	failed := now.Add(time.Second)
	if got := c.note(1, failed.Add(time.Second)); got.After(failed) {
		t.Errorf("what failed at %v seems to be older than the last change, of %v", failed, got)
	}
	if got := c.note(2, failed.Add(time.Minute)); !got.After(failed) {
		t.Errorf("a change is noted for %v", got)
	}
}

// What is optional is waited for as long as it may still come to light.
func TestOptionalBeforeSync(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		optional := true
		pod := toolPod("web", "u1")
		pod.Spec.Containers[0].Env = []v1.EnvVar{{Name: "A", ValueFrom: &v1.EnvVarSource{ConfigMapKeyRef: &v1.ConfigMapKeySelector{
			LocalObjectReference: v1.LocalObjectReference{Name: "cm"}, Key: "k", Optional: &optional}}}}
		w.start(t)
		w.want(pod)
		w.awaitPhase(t, "u1", v1.PodRunning)
		w.sync(false)
		w.restart(t)
		w.node.End(w.running("u1")[0], runtime.Exit{Code: 1})
		time.Sleep(time.Minute)
		if n := len(w.running("u1")); n != 0 {
			t.Fatal("it was started without what may be there")
		}
		w.sync(true)
		w.awaitPhase(t, "u1", v1.PodRunning)
		w.await(t, "its restart", func() bool { return len(w.running("u1")) == 1 })
	})
}

// Volumes follow what they are made of, also when that fails for a while.
func TestVolumesAreRefreshed(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		pod := toolPod("web", "u1")
		pod.Spec.Volumes = append(pod.Spec.Volumes, v1.Volume{Name: "c", VolumeSource: v1.VolumeSource{
			ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: v1.LocalObjectReference{Name: "cm"}}}})
		w.start(t)
		w.want(pod, toolPod("other", "u2"))
		w.awaitPhase(t, "u1", v1.PodRunning)
		w.awaitPhase(t, "u2", v1.PodRunning)
		setups := func(uid string) int {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.setups[uid]
		}
		before, other := setups("u1"), setups("u2")
		w.configure("cm", map[string]string{"k": "1"})
		w.await(t, "the refresh", func() bool { return setups("u1") == before+1 })
		w.fail(fault{op: "setup", err: errors.New("disk full")})
		w.configure("cm", map[string]string{"k": "2"})
		time.Sleep(time.Minute)
		w.heal()
		before = setups("u1")
		w.await(t, "the refresh after a failure", func() bool { return setups("u1") == before+1 })
		time.Sleep(time.Minute)
		if n := setups("u1"); n != before+1 || setups("u2") != other {
			t.Errorf("the volumes were written %d times for one change, and %d times for none", n-before, setups("u2")-other)
		}
	})
}

// A volume that does not answer, as a hostPath on a file system whose server is
// away, holds up neither the pod's restarts for long nor its end.
func TestVolumeThatHangs(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		pod := toolPod("web", "u1")
		pod.Spec.Volumes = append(pod.Spec.Volumes, v1.Volume{Name: "c", VolumeSource: v1.VolumeSource{
			ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: v1.LocalObjectReference{Name: "cm"}}}})
		w.start(t)
		w.want(pod)
		w.awaitPhase(t, "u1", v1.PodRunning)
		time.Sleep(time.Minute)
		w.fail(fault{op: "setup", hang: true})
		w.configure("cm", map[string]string{"k": "1"})
		time.Sleep(time.Minute)
		w.node.End(w.running("u1")[0], runtime.Exit{Code: 1})
		began := time.Now()
		w.await(t, "its restart", func() bool { return len(w.running("u1")) == 1 })
		if took := time.Since(began); took > 2*refreshTime {
			t.Errorf("the restart took %v", took)
		}
		w.restart(t)
		time.Sleep(time.Second)
		began = time.Now()
		w.unwant("u1")
		w.awaitGone(t, "u1")
		if took := time.Since(began); took > time.Minute {
			t.Errorf("the end took %v", took)
		}
	})
}

func TestEviction(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.start(t)
		w.want(toolPod("web", "u1"), toolPod("other", "u2"))
		w.awaitPhase(t, "u1", v1.PodRunning)
		w.awaitPhase(t, "u2", v1.PodRunning)
		time.Sleep(time.Minute)
		w.mu.Lock()
		w.overLimit = map[string]string{"u1": "too much", "u2": ""}
		w.mu.Unlock()
		time.Sleep(time.Minute)
		if p := w.phase("u1"); p != v1.PodRunning {
			t.Fatalf("a pod without a limit is %s", p)
		}
		limited := toolPod("limited", "u3")
		limit := resource.MustParse("1Mi")
		limited.Spec.Volumes[0].EmptyDir.SizeLimit = &limit
		w.mu.Lock()
		w.overLimit["u3"] = `Usage of EmptyDir volume "v" exceeds the limit "1Mi". `
		w.mu.Unlock()
		w.want(limited)
		w.awaitPhase(t, "u3", v1.PodFailed)
		if s := w.status("u3"); s.Reason != "Evicted" || s.Message != `Usage of EmptyDir volume "v" exceeds the limit "1Mi". ` {
			t.Errorf("reason %q, message %q", s.Reason, s.Message)
		}
		w.restart(t)
		time.Sleep(time.Minute)
		if p := w.phase("u3"); p != v1.PodFailed || len(w.running("u3")) > 0 {
			t.Errorf("after a restart it is %s", p)
		}
	})
}
