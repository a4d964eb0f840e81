package e2e

import (
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/davit-agent/davit/test/node"
	"github.com/davit-agent/davit/test/oracle/cgroups"
	"github.com/davit-agent/davit/test/testbed"
)

// The cgroups of pods of every QoS class have the values that the real kubelet
// gave them for the same manifests, and so have those above them.
func TestCgroupValues(t *testing.T) {
	machine, err := cgroups.ReadNode()
	if err != nil {
		t.Fatal(err)
	}
	file := "../oracle/cgroups/v1.yaml"
	if machine.V2 {
		file = "../oracle/cgroups/v2.yaml"
	}
	golden, err := cgroups.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, variant := range cgroups.Variants {
		t.Run(variant.Name, func(t *testing.T) {
			if len(golden[variant.Name]) == 0 {
				t.Fatalf("%s has nothing of the variant %s: record it with make goldens", file, variant.Name)
			}
			config := ""
			if len(variant.Config) > 0 {
				data, err := yaml.Marshal(variant.Config)
				if err != nil {
					t.Fatal(err)
				}
				config = string(data)
			}
			n := start(t, config)
			compareCgroups(t, n, machine, golden[variant.Name])
			noLeaks(t, n)
		})
	}
}

// compareCgroups runs all pods on n and compares until all values are there.
func compareCgroups(t *testing.T, n *node.Node, machine cgroups.Node, want cgroups.Values) {
	t.Helper()
	pods, err := cgroups.Pods(machine, node.Image)
	if err != nil {
		t.Fatal(err)
	}
	for _, pod := range pods {
		data, err := yaml.Marshal(pod)
		if err != nil {
			t.Fatal(err)
		}
		n.Apply(pod.Name+".yaml", string(data))
	}
	running := make([]*v1.Pod, len(pods))
	for i, pod := range pods {
		running[i] = n.WaitPod(pod.Name, 2*patience, func(p *v1.Pod) string {
			if p == nil {
				return "not there"
			}
			return cgroups.Waiting(p)
		})
	}
	// The shares of the burstable cgroup follow the last pod a moment later.
	testbed.Poll(t, patience, func() string {
		values, err := cgroups.Read(n.Bed.CgroupParent(), running)
		if err != nil {
			return err.Error()
		}
		different := cgroups.Compare(want, cgroups.Normal(machine, values))
		slices.Sort(different)
		return strings.Join(different, "\n")
	})
}
