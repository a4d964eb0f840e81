package oci_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/davit-agent/davit/runtime/oci"
)

func TestOOMScoreAdj(t *testing.T) {
	pod := simplePod()
	c := &pod.Spec.Containers[0]
	c.Resources.Limits = v1.ResourceList{"cpu": resource.MustParse("1"), "memory": resource.MustParse("1Gi")}
	for _, w := range []struct {
		least, want int
		clamped     bool
	}{{-1000, -997, false}, {-997, -997, false}, {0, 0, true}, {1000, 1000, true}} {
		adj, clamped := oci.OOMScoreAdj(pod, c, oci.Node{MemoryTotal: 1 << 34, MinOOMScoreAdj: w.least})
		if adj != w.want || clamped != w.clamped {
			t.Errorf("least %d: %d, %t", w.least, adj, clamped)
		}
	}
}

// What the configuration says of swap and of running out of memory, on v2.
func TestSettings(t *testing.T) {
	for name, c := range map[string]struct {
		v2, swap bool
		settings oci.Settings
		want     map[string]string
	}{
		"default":             {true, true, oci.Settings{SwapTotal: 8 << 30}, map[string]string{"memory.oom.group": "1", "memory.swap.max": "0"}},
		"no swap controller":  {true, false, oci.Settings{LimitedSwap: true, SwapTotal: 8 << 30}, map[string]string{"memory.oom.group": "1"}},
		"one process":         {true, false, oci.Settings{SingleProcessOOMKill: true}, nil},
		"LimitedSwap, half":   {true, true, oci.Settings{LimitedSwap: true, SwapTotal: 8 << 30, SingleProcessOOMKill: true}, map[string]string{"memory.swap.max": "4294967296"}},
		"on v1 there is none": {false, true, oci.Settings{LimitedSwap: true, SwapTotal: 8 << 30}, nil},
	} {
		pod := simplePod()
		pod.Spec.Containers[0].Resources = v1.ResourceRequirements{
			Requests: v1.ResourceList{"memory": resource.MustParse("2Gi")}, Limits: v1.ResourceList{"memory": resource.MustParse("3Gi")}}
		in := input(pod, &pod.Spec.Containers[0])
		in.Node.CgroupV2, in.Node.Swap, in.Node.MemoryTotal, in.Node.Settings = c.v2, c.swap, 4<<30, c.settings
		spec, err := oci.Spec(in)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(c.want, spec.Linux.Resources.Unified); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		if swap := spec.Linux.Resources.Memory.Swap; (swap != nil) != (!c.v2 && c.swap) {
			t.Errorf("%s: memory and swap %v", name, swap)
		}
	}
}

// A container without a limit has the pod's, also of huge pages.
func TestPodLevelLimits(t *testing.T) {
	pod := simplePod()
	pod.Spec.Resources = &v1.ResourceRequirements{Limits: v1.ResourceList{
		"cpu": resource.MustParse("500m"), "memory": resource.MustParse("1Gi"), "hugepages-2Mi": resource.MustParse("4Mi")}}
	in := input(pod, &pod.Spec.Containers[0])
	in.Node.HugepageSize = []string{"1GB", "2MB"}
	spec, err := oci.Spec(in)
	if err != nil {
		t.Fatal(err)
	}
	r := spec.Linux.Resources
	if *r.CPU.Quota != 50000 || *r.CPU.Period != 100000 || *r.CPU.Shares != 512 || *r.Memory.Limit != 1<<30 {
		t.Errorf("%+v %+v", r.CPU, r.Memory)
	}
	if d := cmp.Diff([]specs.LinuxHugepageLimit{{Pagesize: "1GB"}, {Pagesize: "2MB", Limit: 4 << 20}}, r.HugepageLimits); d != "" {
		t.Error(d)
	}
}
