package oci

import (
	"maps"
	"slices"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	v1 "k8s.io/api/core/v1"

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

// Settings are what the node's configuration says of the resources of all its
// containers, with kubelet's names and meanings.
type Settings struct {
	// LimitedSwap lets containers swap as qos.SwapLimit has it (cgroup v2 only);
	// otherwise none may.
	LimitedSwap bool
	SwapTotal   int64 // bytes, of the node
	// SingleProcessOOMKill has the kernel kill one process of a container that is
	// out of memory, and not all of them. On cgroup v1 it does that anyway.
	SingleProcessOOMKill bool
}

// resources is the container's cgroup. Devices are denied but for those that
// every runtime allows by itself (null, zero, full, random, urandom, tty, pts).
func (b *builder) resources() (*specs.LinuxResources, error) {
	n := b.in.Node
	cpuLimit, memory := qos.ContainerLimit(b.pod, b.c, v1.ResourceCPU), qos.ContainerLimit(b.pod, b.c, v1.ResourceMemory)
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
	res.Unified = b.unified()
	pages, err := b.hugepages()
	res.HugepageLimits = pages
	return res, err
}

// unified is what only cgroup v2 has.
func (b *builder) unified() map[string]string {
	n := b.in.Node
	files := map[string]string{}
	if n.CgroupV2 && !n.Settings.SingleProcessOOMKill {
		files["memory.oom.group"] = "1"
	}
	if n.CgroupV2 && n.Swap {
		swap := int64(0)
		if n.Settings.LimitedSwap {
			swap = qos.SwapLimit(b.pod, b.c, n.MemoryTotal, n.Settings.SwapTotal)
		}
		files["memory.swap.max"] = strconv.FormatInt(swap, 10)
	}
	if len(files) == 0 {
		return nil
	}
	return files
}

// hugepages limits every size that the node has, to none where the container
// does not ask for it.
func (b *builder) hugepages() ([]specs.LinuxHugepageLimit, error) {
	limits := map[string]uint64{}
	list := qos.ContainerHugepages(b.pod, b.c)
	for _, name := range slices.Sorted(maps.Keys(list)) { // the first error is always the same
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
	var out []specs.LinuxHugepageLimit
	for _, size := range b.in.Node.HugepageSize {
		out = append(out, specs.LinuxHugepageLimit{Pagesize: size, Limit: limits[size]})
	}
	return out, nil
}
