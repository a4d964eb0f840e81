package pods

import (
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// toolPod is a pod of one container "a" that runs podtool with args, as it
// comes out of podspec.
func toolPod(name, uid string, args ...string) *v1.Pod {
	grace := int64(5)
	if len(args) == 0 {
		args = []string{"sleep"}
	}
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: "default", UID: types.UID(uid),
			Annotations: map[string]string{"kubernetes.io/config.hash": uid},
		},
		Spec: v1.PodSpec{
			RestartPolicy: v1.RestartPolicyAlways, DNSPolicy: v1.DNSDefault, TerminationGracePeriodSeconds: &grace,
			SecurityContext: &v1.PodSecurityContext{},
			Containers:      []v1.Container{toolContainer("a", args...)},
			Volumes:         []v1.Volume{{Name: "v", VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}}},
		},
	}
}

func toolContainer(name string, args ...string) v1.Container {
	return v1.Container{
		Name: name, Image: toolImage, Args: args, ImagePullPolicy: v1.PullIfNotPresent,
		TerminationMessagePath: "/dev/termination-log", TerminationMessagePolicy: v1.TerminationMessageReadFile,
		VolumeMounts: []v1.VolumeMount{{Name: "v", MountPath: "/v"}},
	}
}

func burstable(pod *v1.Pod, milli int64) *v1.Pod {
	pod.Spec.Containers[0].Resources.Requests = v1.ResourceList{v1.ResourceCPU: *resource.NewMilliQuantity(milli, resource.DecimalSI)}
	return pod
}

// Ready says that what was on record is reported, also with a pod that hangs.
func TestReadyWhenAllIsLookedAt(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.start(t)
		<-w.a.p.Ready() // there is nothing on record
		w.want(toolPod("a", "u1"), toolPod("b", "u2"))
		w.awaitPhase(t, "u1", v1.PodRunning)
		w.awaitPhase(t, "u2", v1.PodRunning)
		w.stop()
		hold := make(chan struct{})
		w.fail(fault{op: "list", nth: 1, wait: hold})
		w.start(t)
		synctest.Wait()
		select {
		case <-w.a.p.Ready():
			t.Error("ready before all pods were looked at")
		default:
		}
		close(hold)
		<-w.a.p.Ready()
		if w.pods() != 2 {
			t.Errorf("%d pods are reported", w.pods())
		}
	})
}

func TestPodComesRunsAndGoes(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.start(t)
		w.want(burstable(toolPod("web", "u1"), 250))
		w.awaitPhase(t, "u1", v1.PodRunning)
		if len(w.running("u1")) != 1 || len(w.addrsOf("u1")) != 1 || !w.hasVolumes("u1") || !w.hasCgroup("u1") || w.shares() != 250 {
			t.Errorf("running with %v, shares for %d", w.leftOf("u1"), w.shares())
		}
		if got := w.status("u1").PodIP; got != w.addrsOf("u1")[0].String() {
			t.Errorf("podIP %q", got)
		}
		began := time.Now()
		w.unwant("u1")
		w.awaitGone(t, "u1")
		if took := time.Since(began); took > time.Second {
			t.Errorf("a pod that heeds SIGTERM took %v to go", took)
		}
		if left := w.leftOf(""); len(left) > 0 || w.shares() != 0 {
			t.Errorf("left: %v, shares for %d", left, w.shares())
		}
		if len(w.a.p.workers) != 0 || len(w.owners()) != 0 {
			t.Errorf("workers %v, addresses %v", w.a.p.workers, w.owners())
		}
	})
}
