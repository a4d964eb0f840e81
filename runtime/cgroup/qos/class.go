package qos

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Class returns the QoS class of a pod as Kubernetes defines it: Guaranteed if
// every container (init containers too) limits CPU and memory and requests as
// much, BestEffort if none requests or limits either, else Burstable. Resources
// of the pod itself, where set, decide alone.
func Class(pod *v1.Pod) v1.PodQOSClass {
	if podLevel(pod) {
		r := v1.ResourceRequirements{Requests: v1.ResourceList{}, Limits: pod.Spec.Resources.Limits}
		for _, name := range []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory} {
			r.Requests[name] = podRequest(pod, name)
		}
		return classOf(r)
	}
	var class v1.PodQOSClass
	for c := range containers(pod) {
		k := classOf(c.Resources)
		if class == "" {
			class = k
		}
		if k == v1.PodQOSBurstable || k != class {
			return v1.PodQOSBurstable
		}
	}
	if class == "" {
		return v1.PodQOSBestEffort
	}
	return class
}

func classOf(r v1.ResourceRequirements) v1.PodQOSClass {
	some, equal := false, true
	for _, name := range []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory} {
		limit, limited := r.Limits[name]
		request := request(r, name)
		limited = limited && limit.Sign() > 0
		some = some || limited || request.Sign() > 0
		equal = equal && limited && request.Cmp(limit) == 0
	}
	switch {
	case !some:
		return v1.PodQOSBestEffort
	case equal:
		return v1.PodQOSGuaranteed
	}
	return v1.PodQOSBurstable
}

// request is what r requests of name, which is the limit if it does not say.
func request(r v1.ResourceRequirements, name v1.ResourceName) resource.Quantity {
	if q, ok := r.Requests[name]; ok {
		return q
	}
	return r.Limits[name]
}

// podLevel reports whether the pod has resources of its own (KEP-2837).
func podLevel(pod *v1.Pod) bool {
	r := pod.Spec.Resources
	return r != nil && len(r.Requests)+len(r.Limits) > 0
}

// containers yields the init containers, then the containers.
func containers(pod *v1.Pod) func(yield func(*v1.Container) bool) {
	return func(yield func(*v1.Container) bool) {
		for i := range pod.Spec.InitContainers {
			if !yield(&pod.Spec.InitContainers[i]) {
				return
			}
		}
		for i := range pod.Spec.Containers {
			if !yield(&pod.Spec.Containers[i]) {
				return
			}
		}
	}
}

// sidecar reports whether an init container is a restartable one.
func sidecar(c *v1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways
}
