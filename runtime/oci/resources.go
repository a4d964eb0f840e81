package oci

import (
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/davit-agent/davit/runtime/cgroup/qos"
)

// OOMScoreAdj returns the container's oom_score_adj, and whether the node could
// not give it what it should have (qos.OOMScoreAdj), which is worth one warning
// per node.
func OOMScoreAdj(pod *v1.Pod, c *v1.Container, n Node) (adj int, clamped bool) {
	want := qos.OOMScoreAdj(pod, c, n.MemoryTotal)
	adj = max(want, n.MinOOMScoreAdj)
	return adj, adj != want
}

// resources is the container's cgroup. Devices are denied but for those that
// every runtime allows by itself (null, zero, full, random, urandom, tty, pts).
func (b *builder) resources() (*specs.LinuxResources, error) {
	n := b.in.Node
	cpuLimit, memory := b.limit(v1.ResourceCPU), b.limit(v1.ResourceMemory)
	request, ok := b.c.Resources.Requests[v1.ResourceCPU]
	if !ok {
		request = cpuLimit
	}
	shares := qos.Shares(request.MilliValue())
	res := &specs.LinuxResources{
		Devices: []specs.LinuxDeviceCgroup{{Allow: b.sec.privileged, Access: "rwm"}},
		CPU:     &specs.LinuxCPU{Shares: &shares},
	}
	if quota := qos.Quota(cpuLimit.MilliValue()); quota > 0 {
		period := uint64(qos.Period)
		res.CPU.Quota, res.CPU.Period = &quota, &period
	}
	if bytes := memory.Value(); bytes > 0 {
		res.Memory = &specs.LinuxMemory{Limit: &bytes}
		if n.Swap && !n.CgroupV2 { // memory and swap together: none of the latter
			swap := bytes
			res.Memory.Swap = &swap
		}
	}
	if n.CgroupV2 {
		res.Unified = map[string]string{"memory.oom.group": "1"}
		if n.Swap {
			res.Unified["memory.swap.max"] = "0"
		}
	}
	pages, err := b.hugepages()
	res.HugepageLimits = pages
	return res, err
}

// limit is the container's limit, or the pod's where it has none.
func (b *builder) limit(name v1.ResourceName) resource.Quantity {
	q := b.c.Resources.Limits[name]
	if q.Sign() <= 0 && b.pod.Spec.Resources != nil {
		q = b.pod.Spec.Resources.Limits[name]
	}
	return q
}

// hugepages limits every size that the node has, to none where the container
// does not ask for it.
func (b *builder) hugepages() ([]specs.LinuxHugepageLimit, error) {
	limits := map[string]uint64{}
	lists := []v1.ResourceList{b.c.Resources.Limits}
	if b.pod.Spec.Resources != nil {
		lists = []v1.ResourceList{b.pod.Spec.Resources.Limits, b.c.Resources.Limits}
	}
	for _, list := range lists {
		names := make([]v1.ResourceName, 0, len(list))
		for name := range list {
			names = append(names, name)
		}
		slices.Sort(names) // the first error is always the same
		for _, name := range names {
			size, ok := qos.HugepageSize(name)
			q := list[name]
			if !ok || q.Sign() <= 0 {
				continue
			}
			if !slices.Contains(b.in.Node.HugepageSize, size) {
				return nil, create(b.field("resources.limits[%q]", string(name)), "run the pod on a node that has them",
					"this node has no huge pages of this size that could be limited")
			}
			limits[size] = uint64(q.Value())
		}
	}
	var out []specs.LinuxHugepageLimit
	for _, size := range b.in.Node.HugepageSize {
		out = append(out, specs.LinuxHugepageLimit{Pagesize: size, Limit: limits[size]})
	}
	return out, nil
}
