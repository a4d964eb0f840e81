package lifecycle

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/lifecycle/retry"
)

// absent has the images of these containers be pulled.
func absent(names ...string) func(*world) {
	return func(w *world) {
		for _, n := range names {
			w.absent[n] = true
		}
	}
}

// pulled ends the pull for a container.
func pulled(name string) func(*world) {
	return func(w *world) {
		delete(w.absent, name)
		delete(w.pulling, name)
	}
}

func configured(w *world) { w.objectsAt = w.now }
func loaded(w *world)     { w.imagesAt = w.now }
func evicted(w *world)    { w.facts = Evict(w.facts, "too much", w.now) }

func TestPulling(t *testing.T) {
	play(t, []scenario{
		{"others do not wait", newPod(always, "a", "b"), []act{
			{absent("a"), "setup, create a/0, create b/0, start b/0", "Pending a=ContainerCreating b=running"},
			{after(time.Hour), "", ""},
			{pulled("a"), "create a/0, start a/0", "Running a=running b=running"},
		}},
		{"what comes after an init container does", newPod(always, "i:i1", "a"), []act{
			{absent("i1"), "setup, create i1/0", "Pending i1=PodInitializing a=PodInitializing"},
			{pulled("i1"), "create i1/0, start i1/0", ""},
		}},
		{"deleted meanwhile", newPod(always, "a"), []act{
			{absent("a"), "setup, create a/0", ""},
			{deleted(30 * time.Second), "teardown, forget", ""},
		}},
		{"the pull fails, and again", newPod(always, "a"), []act{
			{failing(OpCreate, "a", errBefore), "setup, create a/0", "Pending a=ErrImagePull"},
			{after(5 * time.Second), "", "Pending a=ImagePullBackOff"},
			{all(healthy, absent("a"), after(5*time.Second)), "create a/0", "Pending a=ImagePullBackOff"},
			{all(pulled("a"), failing(OpCreate, "a", errBefore)), "create a/0", "Pending a=ErrImagePull"},
			{after(19 * time.Second), "", ""},
			{loaded, "create a/0", "Pending a=ErrImagePull"},
			{all(healthy, configured, after(20*time.Second)), "", "Pending a=ImagePullBackOff"},
			{after(20 * time.Second), "create a/0, start a/0", "Running a=running"},
		}},
	})
}

// What fails every ten seconds before an image can be asked for makes no long
// back-off of the first failed pull.
func TestRowOfPulls(t *testing.T) {
	now := time.Unix(1e9, 0)
	var x *Failure
	for range 20 {
		x = retry.After(x, "ImageInspectError", "", now)
	}
	seen := Seen{}
	for i, want := range []time.Duration{10 * time.Second, 20 * time.Second, 40 * time.Second} {
		x = retry.After(x, retry.ReasonPull, "", now)
		if got := seen.changes().Create(x).Sub(now); got != want {
			t.Errorf("after %d failed pulls the next is tried after %s, want %s", i+1, got, want)
		}
	}
}

func TestWantedObjectAppears(t *testing.T) {
	play(t, []scenario{
		{"in the setup", newPod(always, "a"), []act{
			{failing(OpSetup, "", errBefore), "setup", ""},
			{after(time.Second), "setup", ""},
			{after(2 * time.Second), "setup", ""},
			{all(healthy, after(time.Second), configured), "setup, create a/0, start a/0", "Running a=running"},
		}},
	})
}

func TestEviction(t *testing.T) {
	play(t, []scenario{
		{"all of it is stopped soon", newPod(always, "s:s1", "a"), []act{
			{nil, "setup, create s1/0, start s1/0, create a/0, start a/0", ""},
			{all(stubborn("a"), evicted), "stop a/0", "Running s1=running a=running"},
			{after(2 * time.Second), "kill a/0, stop s1/0, remove s1/0, remove a/0, teardown", "Failed s1=Error(143) a=Error(137)"},
			{after(time.Hour), "", "Failed s1=Error(143) a=Error(137)"},
		}},
		{"not what is over", newPod(never, "a"), []act{
			{nil, "setup, create a/0, start a/0", ""},
			{exits("a", 0), "remove a/0, teardown", "Succeeded a=Completed(0)"},
			{evicted, "", "Succeeded a=Completed(0)"},
		}},
	})
	w := newWorld(t, newPod(always, "a"))
	w.idle()
	evicted(w)
	w.idle()
	s := w.report()
	if s.Reason != "Evicted" || s.Message != "too much" {
		t.Errorf("the pod's reason is %q, its message %q", s.Reason, s.Message)
	}
	if c := s.Conditions[len(s.Conditions)-1]; c.Type != v1.DisruptionTarget || c.Status != v1.ConditionTrue || c.Reason != "TerminationByKubelet" {
		t.Errorf("the last condition is %+v", c)
	}
}
