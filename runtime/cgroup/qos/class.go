package qos

import (
	v1 "k8s.io/api/core/v1"
)

// Class returns the QoS class of a pod as Kubernetes defines it: Guaranteed if
// every container (init containers too) limits CPU and memory and requests as
// much, BestEffort if none requests or limits either, else Burstable. Resources
// of the pod itself, where it has any, decide alone.
func Class(pod *v1.Pod) v1.PodQOSClass {
	if pod.Spec.Resources != nil {
		return classOf(podLevel(pod))
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
		request, _ := request(r, name)
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
