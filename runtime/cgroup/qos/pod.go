package qos

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Resources is what a cgroup above the containers' is set to.
type Resources struct {
	Shares   uint64           // cpu.shares; at least MinShares
	Quota    int64            // µs per Period; 0: not limited
	Memory   int64            // bytes; 0: not limited
	Pids     int64            // processes and threads; 0: not limited
	Hugepage map[string]int64 // "2MB" -> bytes
	// OtherHugepages is what the sizes get that Hugepage does not name, in bytes.
	OtherHugepages int64
}

// Unbounded is a number of bytes of huge pages that no node has: kubelet's value
// for the cgroups above the pods'.
const Unbounded = int64(1) << 62

// PodResources returns what the pod's cgroup is set to, as kubelet computes it:
// limits apply to the pod only if every container (or the pod itself) has one.
// Huge pages follow the requests. Pids is not part of a pod's specification.
func PodResources(pod *v1.Pod) Resources {
	res := Resources{Shares: Shares(PodMilliCPU(pod))}
	for _, name := range hugepages(pod) {
		if size, ok := HugepageSize(name); ok {
			if res.Hugepage == nil {
				res.Hugepage = map[string]int64{}
			}
			q := podRequest(pod, name)
			res.Hugepage[size] = q.Value()
		}
	}
	class := Class(pod)
	if class == v1.PodQOSBestEffort {
		res.Shares = MinShares
		return res
	}
	if class == v1.PodQOSGuaranteed || everyLimited(pod, v1.ResourceCPU) {
		q := podLimit(pod, v1.ResourceCPU)
		res.Quota = Quota(q.MilliValue())
	}
	if class == v1.PodQOSGuaranteed || everyLimited(pod, v1.ResourceMemory) {
		q := podLimit(pod, v1.ResourceMemory)
		res.Memory = q.Value()
	}
	return res
}

// PodMilliCPU returns the CPU that the pod requests as a whole.
func PodMilliCPU(pod *v1.Pod) int64 {
	q := podRequest(pod, v1.ResourceCPU)
	return q.MilliValue()
}

// PodMemory returns the memory in bytes that the pod requests as a whole.
func PodMemory(pod *v1.Pod) int64 {
	q := podRequest(pod, v1.ResourceMemory)
	return q.Value()
}

// ContainerLimit is a container's limit of CPU or memory: its own, or the pod's
// where it has none.
func ContainerLimit(pod *v1.Pod, c *v1.Container, name v1.ResourceName) resource.Quantity {
	if q := c.Resources.Limits[name]; !q.IsZero() {
		return q
	}
	return podLevel(pod).Limits[name]
}

// ContainerHugepages are the limits of huge pages that hold for a container: the
// pod's, over which the container's own win.
func ContainerHugepages(pod *v1.Pod, c *v1.Container) v1.ResourceList {
	out := v1.ResourceList{}
	for _, list := range []v1.ResourceList{podLevel(pod).Limits, c.Resources.Limits} {
		for name, q := range list {
			if isHugepages(name) {
				out[name] = q
			}
		}
	}
	return out
}

// everyLimited reports whether the pod or else every container limits name. An
// init container counts as limited where a sidecar before it is.
func everyLimited(pod *v1.Pod, name v1.ResourceName) bool {
	if q := podLevel(pod).Limits[name]; !q.IsZero() {
		return true
	}
	for i := range pod.Spec.Containers {
		if q := pod.Spec.Containers[i].Resources.Limits[name]; q.IsZero() {
			return false
		}
	}
	sidecars := false
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		q := c.Resources.Limits[name]
		if q.IsZero() && !sidecars {
			return false
		}
		sidecars = sidecars || sidecar(c)
	}
	return true
}

// podRequest is what the pod as a whole requests of name: what itself says
// replaces the containers' sum, and its overhead (RuntimeClass) is added.
func podRequest(pod *v1.Pod, name v1.ResourceName) resource.Quantity {
	total, _ := peak(pod, name, request)
	if q, ok := podLevel(pod).Requests[name]; ok {
		total = q.DeepCopy()
	}
	total.Add(pod.Spec.Overhead[name])
	return total
}

// podLimit is the limit of the pod as a whole; everyLimited says if it counts.
// The overhead is added to a limit that there is.
func podLimit(pod *v1.Pod, name v1.ResourceName) resource.Quantity {
	total, _ := peak(pod, name, limit)
	if q, ok := podLevel(pod).Limits[name]; ok {
		total = q.DeepCopy()
	}
	if !total.IsZero() {
		total.Add(pod.Spec.Overhead[name])
	}
	return total
}

// asked is what a container asks for of name, and whether it says so at all.
type asked func(v1.ResourceRequirements, v1.ResourceName) (resource.Quantity, bool)

func limit(r v1.ResourceRequirements, name v1.ResourceName) (resource.Quantity, bool) {
	q, ok := r.Limits[name]
	return q, ok
}

// request is what r requests of name, which is the limit if it does not say.
func request(r v1.ResourceRequirements, name v1.ResourceName) (resource.Quantity, bool) {
	if q, ok := r.Requests[name]; ok {
		return q, true
	}
	return limit(r, name)
}

// peak is what the pod's containers take of name together at the most: the
// containers and sidecars, or one init container with the sidecars started
// before it. said tells whether any of them names it.
func peak(pod *v1.Pod, name v1.ResourceName, of asked) (total resource.Quantity, said bool) {
	var sidecars, most resource.Quantity
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		q, ok := of(c.Resources, name)
		q, said = q.DeepCopy(), said || ok
		q.Add(sidecars)
		if sidecar(c) {
			sidecars = q.DeepCopy()
		}
		if q.Cmp(most) > 0 {
			most = q
		}
	}
	total = sidecars
	for i := range pod.Spec.Containers {
		q, ok := of(pod.Spec.Containers[i].Resources, name)
		said = said || ok
		total.Add(q)
	}
	if most.Cmp(total) > 0 {
		total = most
	}
	return total, said
}
