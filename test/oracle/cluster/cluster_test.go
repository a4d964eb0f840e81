//go:build goldens

package cluster

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/davit-agent/davit/test/testbed"
)

const image = "localhost/test:1"

// A pod runs to its end on the real kubelet, also over kubelet's death, and the
// machine is as it was before.
func TestCluster(t *testing.T) {
	before := machine()
	var bed *testbed.Bed
	t.Run("pod", func(t *testing.T) { bed = runPod(t) })
	if after := machine(); !maps.Equal(before, after) {
		t.Errorf("the machine was %v and is %v", before, after)
	}
	if bed == nil {
		return
	}
	left, _ := filepath.Glob("/sys/fs/cgroup/*/davit-test-" + bed.ID)
	for _, path := range append(left, bed.Dir, bed.NSPath) {
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("%s is still there", path)
		}
	}
}

// machine is what kubelet and its helpers would change of a machine that is
// theirs: settings of the kernel, and directories ("there" or "").
func machine() map[string]string {
	found := map[string]string{}
	for name := range sysctls {
		data, _ := os.ReadFile(filepath.Join("/proc/sys", name))
		found[name] = string(data)
	}
	for _, dir := range []string{"/var/lib/kubelet", "/var/lib/cni", "/var/log/containers", "/etc/cni", "/etc/kubernetes",
		"/usr/libexec/kubernetes", "/run/kubernetes", "/opt/cni"} {
		if _, err := os.Stat(dir); err == nil {
			found[dir] = "there"
		}
	}
	return found
}

func runPod(t *testing.T) *testbed.Bed {
	archive := testbed.Archive(t, t.TempDir(), testbed.ImageSpec{Name: image})
	c := Start(t, Options{Images: []string{archive}})
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	space, err := c.NewNamespace(ctx)
	if err != nil {
		t.Fatal(err)
	}
	one := int64(1)
	pod, err := c.Create(ctx, &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: space},
		Spec: v1.PodSpec{TerminationGracePeriodSeconds: &one, Containers: []v1.Container{{
			Name: "c", Image: image, Command: []string{"/bin/sleep", "1000"}, ImagePullPolicy: v1.PullNever}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var phases []v1.PodPhase
	err = c.Watch(ctx, pod, func(s Sight) bool {
		phases = append(phases, s.Pod.Status.Phase)
		return s.Pod.Status.Phase == v1.PodRunning
	})
	if err != nil {
		t.Fatalf("phases %v: %v", phases, err)
	}
	running, err := c.Get(ctx, space, "p")
	if err != nil {
		t.Fatal(err)
	}
	if got := len(running.Status.PodIPs); got != 2 {
		t.Errorf("the pod has %d addresses, want 2: %v", got, running.Status.PodIPs)
	}
	c.KillKubelet()
	if err := c.StartKubelet(); err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(ctx, space, "p", nil); err != nil {
		t.Fatal(err)
	}
	var last *v1.Pod
	err = c.Watch(ctx, running, func(s Sight) bool {
		last = s.Pod
		return false
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := last.Status.ContainerStatuses[0]; got.RestartCount != 0 || got.State.Terminated == nil || got.State.Terminated.ExitCode != 137 {
		t.Errorf("the container ended with %+v, want exit code 137 after no restart", got)
	}
	events, err := c.Events(ctx, pod)
	if err != nil {
		t.Fatal(err)
	}
	var reasons []string
	for _, e := range events {
		reasons = append(reasons, e.Reason)
	}
	if want := []string{"Pulled", "Created", "Started", "Killing"}; !slices.Equal(reasons, want) {
		t.Errorf("events %v, want %v", reasons, want)
	}
	return c.Bed
}

// The program is found in the cache the second time.
func TestBuildIsKept(t *testing.T) {
	first := Build(t)
	started := time.Now()
	if second := Build(t); second != first || time.Since(started) > 30*time.Second {
		t.Errorf("built %s, then %s after %s", first, second, time.Since(started))
	}
}
