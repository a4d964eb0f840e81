//go:build goldens

package specs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	ctrd "github.com/containerd/containerd/v2/client"
	ocispec "github.com/opencontainers/runtime-spec/specs-go"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/davit-agent/davit/runtime/oci/facts"
	"github.com/davit-agent/davit/test/oracle/cluster"
	"github.com/davit-agent/davit/test/testbed"
)

// TestRecord records goldens/.
func TestRecord(t *testing.T) {
	node, err := facts.Read()
	if err != nil {
		t.Fatal(err)
	}
	var archives []string
	for _, image := range Images {
		archives = append(archives, testbed.Archive(t, t.TempDir(), image))
	}
	c := cluster.Start(t, cluster.Options{Images: archives, Kubelet: map[string]any{"allowedUnsafeSysctls": []string{"kernel.msg*"}}})
	for name, text := range profiles {
		file := filepath.Join(c.RootDir(), "seccomp", name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	space, err := c.NewNamespace(ctx)
	if err != nil {
		t.Fatal(err)
	}
	create := func(file string) []*v1.Pod {
		pods, err := Pods(file)
		if err != nil {
			t.Fatal(err)
		}
		for i, pod := range pods {
			pod.Namespace = space
			if pods[i], err = c.Create(ctx, pod); err != nil {
				t.Fatalf("creating pod %s: %v", pod.Name, err)
			}
		}
		return pods
	}
	r := recorder{t: t, ctx: ctx, c: c, filters: []Filter{}}
	running, refused := create("pods.yaml"), create("refused.yaml")
	for _, pod := range running {
		r.run(pod)
	}
	refusals := map[string]Refusal{}
	for _, pod := range refused {
		refusals[pod.Name] = r.refusal(pod)
	}
	for file, v := range map[string]any{"refused": refusals, "seccomp": r.filters, "node": FactsOf(node)} {
		if err := Save(filepath.Join("goldens", file+".json"), v); err != nil {
			t.Fatal(err)
		}
	}
}

type recorder struct {
	t       *testing.T
	ctx     context.Context
	c       *cluster.Cluster
	filters []Filter
}

// run waits for a pod to run and records it.
func (r *recorder) run(pod *v1.Pod) {
	r.t.Helper()
	err := r.c.Watch(r.ctx, pod, func(s cluster.Sight) bool {
		pod = s.Pod
		for _, cond := range pod.Status.Conditions {
			if cond.Type == v1.PodReady && cond.Status == v1.ConditionTrue {
				return true
			}
		}
		return pod.Status.Phase == v1.PodFailed
	})
	if err != nil || pod.Status.Phase != v1.PodRunning {
		r.t.Fatalf("pod %s: %v: %+v\n%s", pod.Name, err, pod.Status, r.c.Log(3000))
	}
	g := Golden{Containers: map[string]*Spec{}, Users: map[string]*v1.ContainerUser{}}
	for _, s := range pod.Status.ContainerStatuses {
		g.Users[s.Name] = s.User
	}
	client := r.c.Bed.Client("k8s.io")
	found, err := client.Containers(r.ctx, `labels."io.kubernetes.pod.uid"==`+string(pod.UID))
	if err != nil {
		r.t.Fatal(err)
	}
	for _, ctr := range found {
		r.container(&g, ctr)
	}
	g.Pod = &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: "default", UID: "uid"}, Spec: pod.Spec}
	g.Pod.Spec.NodeName, g.Pod.Spec.Tolerations = "", nil
	if err := Save(filepath.Join("goldens", pod.Name+".json"), g); err != nil {
		r.t.Fatal(err)
	}
}

func (r *recorder) container(g *Golden, ctr ctrd.Container) {
	r.t.Helper()
	spec, err := ctr.Spec(r.ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	labels, err := ctr.Labels(r.ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	name := labels["io.kubernetes.container.name"]
	if labels["io.cri-containerd.kind"] == "sandbox" {
		g.Sysctls = spec.Linux.Sysctl
		return
	}
	s, err := Normal(spec)
	if err != nil {
		r.t.Fatal(err)
	}
	machine, err := os.Hostname()
	if err != nil {
		r.t.Fatal(err)
	}
	if i := slices.Index(s.Process.Env, "HOSTNAME="+machine); i >= 0 {
		s.Process.Env[i] = "HOSTNAME=" + thisMachine
	}
	if len(s.devices) > 0 {
		host, err := facts.Devices()
		if err != nil {
			r.t.Fatal(err)
		}
		if why := sameDevices(s.devices, host); why != "" {
			r.t.Errorf("%s: the devices are not those of the host: %s", name, why)
		}
		s.AllDevices = true
	}
	if s.seccomp != nil {
		i := 0
		for i < len(r.filters) && !reflect.DeepEqual(r.filters[i], s.seccomp) {
			i++
		}
		if i == len(r.filters) {
			r.filters = append(r.filters, s.seccomp)
		}
		s.Seccomp = strconv.Itoa(i)
	}
	g.Containers[name] = s
}

// refusal waits until it is clear that a pod does not run, or that it does.
func (r *recorder) refusal(pod *v1.Pod) Refusal {
	r.t.Helper()
	var out Refusal
	err := r.c.Watch(r.ctx, pod, func(s cluster.Sight) bool {
		out = Refusal{Phase: s.Pod.Status.Phase, Reason: s.Pod.Status.Reason, Message: s.Pod.Status.Message}
		for _, c := range s.Pod.Status.ContainerStatuses {
			if w := c.State.Waiting; w != nil && w.Reason != "ContainerCreating" && w.Reason != "CrashLoopBackOff" {
				out.Waiting = w
				return true
			}
			if c.State.Terminated != nil || c.LastTerminationState.Terminated != nil {
				end := c.State.Terminated
				if end == nil {
					end = c.LastTerminationState.Terminated
				}
				out.Waiting = &v1.ContainerStateWaiting{Reason: end.Reason, Message: end.Message}
				return true
			}
		}
		return out.Phase == v1.PodFailed || out.Phase == v1.PodRunning
	})
	if err != nil {
		r.t.Fatalf("pod %s: %v", pod.Name, err)
	}
	same := strings.NewReplacer(r.c.RootDir(), "/kubelet", string(pod.UID), "uid", pod.Namespace, "default")
	out.Message = same.Replace(out.Message)
	if out.Waiting != nil {
		out.Waiting.Message = same.Replace(out.Waiting.Message)
	}
	return out
}

// sameDevices tells how two lists of devices differ; "" is not at all.
func sameDevices(got, want []ocispec.LinuxDevice) string {
	of := func(list []ocispec.LinuxDevice) map[string]string {
		out := map[string]string{}
		for _, d := range list {
			var mode fs.FileMode
			if d.FileMode != nil {
				mode = *d.FileMode & fs.ModePerm
			}
			out[d.Path] = fmt.Sprintf("%s %d:%d %o %s:%s", d.Type, d.Major, d.Minor, mode, id(d.UID), id(d.GID))
		}
		return out
	}
	g, w := of(got), of(want)
	for path := range g {
		if g[path] != w[path] {
			return fmt.Sprintf("%s is %q, not %q", path, g[path], w[path])
		}
	}
	for path := range w {
		if g[path] != w[path] {
			return fmt.Sprintf("%s is %q, not %q", path, g[path], w[path])
		}
	}
	return ""
}

func id(p *uint32) string {
	if p == nil {
		return "0"
	}
	return fmt.Sprint(*p)
}
