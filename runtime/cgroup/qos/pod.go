package qos

import (
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Resources is what a pod's cgroup is set to.
type Resources struct {
	Shares   uint64           // cpu.shares; at least MinShares
	Quota    int64            // µs per Period; 0: not limited
	Memory   int64            // bytes; 0: not limited
	Hugepage map[string]int64 // "2MB" -> bytes; only sizes that the pod requests
}

// PodResources returns what the pod's cgroup is set to, as kubelet computes it:
// limits apply to the pod only if every container (or the pod itself) has one.
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
	if Class(pod) == v1.PodQOSBestEffort {
		res.Shares = MinShares
		return res
	}
	if everyLimited(pod, v1.ResourceCPU) {
		q := withOverhead(pod, v1.ResourceCPU, podLimit(pod, v1.ResourceCPU))
		res.Quota = Quota(q.MilliValue())
	}
	if everyLimited(pod, v1.ResourceMemory) {
		q := withOverhead(pod, v1.ResourceMemory, podLimit(pod, v1.ResourceMemory))
		res.Memory = q.Value()
	}
	return res
}

// PodMilliCPU returns the CPU that the pod requests as a whole.
func PodMilliCPU(pod *v1.Pod) int64 {
	q := withOverhead(pod, v1.ResourceCPU, podRequest(pod, v1.ResourceCPU))
	return q.MilliValue()
}

// PodMemory returns the memory in bytes that the pod requests as a whole.
func PodMemory(pod *v1.Pod) int64 {
	q := withOverhead(pod, v1.ResourceMemory, podRequest(pod, v1.ResourceMemory))
	return q.Value()
}

// HugepageSize returns the kernel's name ("2MB") for the size in a resource name
// ("hugepages-2Mi"); false if it is not such a name.
func HugepageSize(name v1.ResourceName) (string, bool) {
	s, ok := strings.CutPrefix(string(name), v1.ResourceHugePagesPrefix)
	if !ok {
		return "", false
	}
	q, err := resource.ParseQuantity(s)
	if err != nil || q.Sign() <= 0 {
		return "", false
	}
	return hugepageName(q.Value()), true
}

// hugepageName is mm/hugetlb_cgroup.c's mem_fmt.
func hugepageName(bytes int64) string {
	switch {
	case bytes >= 1<<30:
		return resource.NewQuantity(bytes>>30, resource.DecimalSI).String() + "GB"
	case bytes >= 1<<20:
		return resource.NewQuantity(bytes>>20, resource.DecimalSI).String() + "MB"
	}
	return resource.NewQuantity(bytes>>10, resource.DecimalSI).String() + "KB"
}

// hugepages returns the names of all huge page resources in the pod.
func hugepages(pod *v1.Pod) []v1.ResourceName {
	var names []v1.ResourceName
	seen := map[v1.ResourceName]bool{}
	add := func(l v1.ResourceList) {
		for name := range l {
			if strings.HasPrefix(string(name), v1.ResourceHugePagesPrefix) && !seen[name] {
				seen[name] = true
				names = append(names, name)
			}
		}
	}
	for c := range containers(pod) {
		add(c.Resources.Requests)
		add(c.Resources.Limits)
	}
	if podLevel(pod) {
		add(pod.Spec.Resources.Requests)
		add(pod.Spec.Resources.Limits)
	}
	return names
}

// everyLimited reports whether the pod or else every container limits name.
func everyLimited(pod *v1.Pod, name v1.ResourceName) bool {
	if podLevel(pod) {
		if q, ok := pod.Spec.Resources.Limits[name]; ok && q.Sign() > 0 {
			return true
		}
	}
	for c := range containers(pod) {
		if q, ok := c.Resources.Limits[name]; !ok || q.Sign() <= 0 {
			return false
		}
	}
	return true
}

// podRequest is what the pod as a whole requests of name. What the pod itself
// says replaces the containers' sum; its limit does where nobody requests any.
func podRequest(pod *v1.Pod, name v1.ResourceName) resource.Quantity {
	total := peak(pod, name, request)
	if podLevel(pod) {
		if q, ok := pod.Spec.Resources.Requests[name]; ok {
			total = q.DeepCopy()
		} else if total.IsZero() {
			total = limit(*pod.Spec.Resources, name).DeepCopy()
		}
	}
	return total
}

// withOverhead adds what the pod's runtime takes for itself (RuntimeClass).
func withOverhead(pod *v1.Pod, name v1.ResourceName, total resource.Quantity) resource.Quantity {
	total.Add(pod.Spec.Overhead[name])
	return total
}

// podLimit is the limit of the pod as a whole; everyLimited says if it counts.
func podLimit(pod *v1.Pod, name v1.ResourceName) resource.Quantity {
	total := peak(pod, name, limit)
	if podLevel(pod) {
		if q, ok := pod.Spec.Resources.Limits[name]; ok && q.Sign() > 0 {
			total = q.DeepCopy()
		}
	}
	return total
}

func limit(r v1.ResourceRequirements, name v1.ResourceName) resource.Quantity {
	return r.Limits[name]
}

// peak is what the pod's containers take of name together at the most: the
// containers and sidecars, or one init container with the sidecars started
// before it.
func peak(pod *v1.Pod, name v1.ResourceName, of func(v1.ResourceRequirements, v1.ResourceName) resource.Quantity) resource.Quantity {
	var sidecars, most resource.Quantity
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		q := of(c.Resources, name).DeepCopy()
		q.Add(sidecars)
		if sidecar(c) {
			sidecars = q.DeepCopy()
		}
		if q.Cmp(most) > 0 {
			most = q
		}
	}
	total := sidecars
	for i := range pod.Spec.Containers {
		total.Add(of(pod.Spec.Containers[i].Resources, name))
	}
	if most.Cmp(total) > 0 {
		return most
	}
	return total
}
