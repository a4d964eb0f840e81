package qos

import v1 "k8s.io/api/core/v1"

// Requests is what a pod asks for as a whole: what stands at the pod, else what
// its containers need at the most at once. nil: nothing.
func Requests(pod *v1.Pod) v1.ResourceList {
	own := podLevel(pod).Requests
	var out v1.ResourceList
	for _, name := range append([]v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory}, hugepagesOfContainers(pod)...) {
		q, said := own[name]
		if !said {
			q, said = peak(pod, name, request)
		}
		if !said {
			continue
		}
		if out == nil {
			out = v1.ResourceList{}
		}
		out[name] = q.DeepCopy()
	}
	return out
}
