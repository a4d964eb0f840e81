//go:build goldens

package cgroups

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/davit-agent/davit/test/oracle/cluster"
	"github.com/davit-agent/davit/test/testbed"
)

// sandbox is the image with which kubelet holds a pod in the VM.
const sandbox = "localhost/pause:1"

// qosPeriod is how often kubelet sets the shares of the classes.
const qosPeriod = time.Minute

// TestRecordV1 records v1.yaml.
func TestRecordV1(t *testing.T) {
	node, err := ReadNode()
	if err != nil {
		t.Fatal(err)
	}
	if node.V2 {
		t.Fatal("this machine has cgroup v2: v1.yaml is recorded where there is v1")
	}
	archive := testbed.Archive(t, t.TempDir(), testbed.ImageSpec{Name: image})
	g := Golden{}
	for _, variant := range Variants {
		t.Run(variant.Name, func(t *testing.T) { g[variant.Name] = record(t, node, variant, archive) })
	}
	if t.Failed() {
		return
	}
	if err := g.Save("v1.yaml"); err != nil {
		t.Error(err)
	}
}

// record plays all pods on a real kubelet and returns what it set.
func record(t *testing.T, node Node, variant Variant, archive string) Values {
	c := cluster.Start(t, cluster.Options{Images: []string{archive}, Kubelet: variant.Config})
	pods, err := Pods(node, image)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	space, err := c.NewNamespace(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i, pod := range pods {
		pod.Namespace = space
		made, err := c.Create(ctx, pod)
		if err != nil {
			t.Fatalf("creating pod %s: %v", pod.Name, err)
		}
		pods[i] = made
	}
	for i, pod := range pods {
		err := c.Watch(ctx, pod, func(s cluster.Sight) bool {
			pods[i] = s.Pod
			return s.Deleted || s.Pod.Status.Phase == v1.PodFailed || Waiting(s.Pod) == ""
		})
		if why := Waiting(pods[i]); err != nil || why != "" {
			t.Fatalf("%v: %s\n%s", err, why, c.Log(3000))
		}
	}
	time.Sleep(qosPeriod + 5*time.Second) // then the shares are those of the last pod, too
	values, err := Read(c.CgroupRoot(), pods)
	if err != nil {
		t.Fatal(err)
	}
	return Normal(node, values)
}

// TestRecordV2 records v2.yaml from the real kubelet in the VM, if VM is set: it
// takes some ten minutes. VARIANT picks one.
func TestRecordV2(t *testing.T) {
	if os.Getenv("VM") == "" {
		t.Log("VM is not set: v2.yaml stays as it is")
		return
	}
	g, err := Load("v2.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, variant := range Variants {
		if only := os.Getenv("VARIANT"); only != "" && only != variant.Name {
			continue
		}
		dir := job(t, "kubelet.sh")
		testbed.Archive(t, filepath.Join(dir, "images"), testbed.ImageSpec{Name: sandbox, Cmd: []string{"/bin/sleep", "1000000"}})
		place(t, cluster.Build(t), filepath.Join(dir, "kubernetes"))
		for _, program := range []string{"containerd", "containerd-shim-runc-v2"} {
			place(t, filepath.Join(testbed.BuildContainerd2(t), program), filepath.Join(dir, program))
		}
		if err := os.WriteFile(filepath.Join(dir, "variant"), []byte(variant.Name), 0o644); err != nil {
			t.Fatal(err)
		}
		boot(t, dir)
		data, err := os.ReadFile(filepath.Join(dir, "out", "values.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		var values Values
		if err := yaml.UnmarshalStrict(data, &values); err != nil {
			t.Fatal(err)
		}
		g[variant.Name] = values
		if err := g.Save("v2.yaml"); err != nil {
			t.Error(err)
		}
	}
}
