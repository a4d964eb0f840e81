package qos

import (
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// podLevel returns the resources of the pod itself (KEP-2837) with what the API
// server fills in, which manifests from a directory have not been through; empty
// if the pod has none.
//
//   - a limit of huge pages that only containers set is the pod's, too, unless
//     the pod requests that size;
//   - if there is a limit then: a request of CPU or memory that only containers
//     make is the pod's, and what nobody requests is requested up to the limit.
func podLevel(pod *v1.Pod) v1.ResourceRequirements {
	r := pod.Spec.Resources
	if r == nil || len(r.Requests)+len(r.Limits) == 0 {
		return v1.ResourceRequirements{}
	}
	limits, requests := supported(r.Limits), supported(r.Requests)
	for _, name := range hugepagesOfContainers(pod) {
		if _, ok := requests[name]; ok {
			continue
		}
		sum, said := peak(pod, name, limit)
		if _, ok := limits[name]; !ok && said {
			limits[name] = sum
		}
	}
	if len(limits) == 0 {
		return v1.ResourceRequirements{Requests: requests}
	}
	for _, name := range []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory} {
		sum, said := peak(pod, name, request)
		if _, ok := requests[name]; !ok && said {
			requests[name] = sum
		}
	}
	for name, q := range limits {
		if _, ok := requests[name]; !ok {
			requests[name] = q.DeepCopy()
		}
	}
	return v1.ResourceRequirements{Requests: requests, Limits: limits}
}

// supported copies what a pod can ask for as a whole.
func supported(l v1.ResourceList) v1.ResourceList {
	out := v1.ResourceList{}
	for name, q := range l {
		if name == v1.ResourceCPU || name == v1.ResourceMemory || isHugepages(name) {
			out[name] = q.DeepCopy()
		}
	}
	return out
}

func isHugepages(name v1.ResourceName) bool {
	return strings.HasPrefix(string(name), v1.ResourceHugePagesPrefix)
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
	names := hugepagesOfContainers(pod)
	level := podLevel(pod)
	return appendHugepages(names, level.Requests, level.Limits)
}

func hugepagesOfContainers(pod *v1.Pod) []v1.ResourceName {
	var names []v1.ResourceName
	for c := range containers(pod) {
		names = appendHugepages(names, c.Resources.Requests, c.Resources.Limits)
	}
	return names
}

// appendHugepages adds the huge page resources of lists that are not in names.
func appendHugepages(names []v1.ResourceName, lists ...v1.ResourceList) []v1.ResourceName {
	seen := map[v1.ResourceName]bool{}
	for _, name := range names {
		seen[name] = true
	}
	for _, l := range lists {
		for name := range l {
			if isHugepages(name) && !seen[name] {
				seen[name] = true
				names = append(names, name)
			}
		}
	}
	return names
}
