package qos

import v1 "k8s.io/api/core/v1"

// Scores that kubelet gives (its qos policy since 1.4): the lower, the later
// the kernel's OOM killer comes to it.
const (
	guaranteedScore = -997
	bestEffortScore = 1000
	nodeCritical    = "system-node-critical"
	criticalFrom    = 2000000000 // priority of system-cluster-critical
)

// OOMScoreAdj returns kubelet's oom_score_adj for a container on a node with
// memoryTotal bytes: -997 for Guaranteed and node-critical pods, 1000 for
// BestEffort, between 3 and 999 for Burstable, the lower the more memory it
// requests. A sidecar never scores higher than the pod's containers.
func OOMScoreAdj(pod *v1.Pod, c *v1.Container, memoryTotal int64) int {
	// Nobody resolves the class of a pod from a file; to kubelet, such pods are
	// critical in any case.
	if pod.Spec.PriorityClassName == nodeCritical && (pod.Spec.Priority == nil || Critical(pod)) {
		return guaranteedScore
	}
	switch Class(pod) {
	case v1.PodQOSGuaranteed:
		return guaranteedScore
	case v1.PodQOSBestEffort:
		return bestEffortScore
	}
	share := unassigned(pod)
	req := memoryRequest(c) + share
	if isSidecar(pod, c) && len(pod.Spec.Containers) > 0 {
		least := memoryRequest(&pod.Spec.Containers[0])
		for i := range pod.Spec.Containers {
			least = min(least, memoryRequest(&pod.Spec.Containers[i]))
		}
		req = max(req, least+share)
	}
	score := bestEffortScore - int(thousandths(req, memoryTotal))
	return min(max(score, bestEffortScore+guaranteedScore), bestEffortScore-1)
}

// thousandths is 1000*part/whole, rounded down, between 0 and 1000.
func thousandths(part, whole int64) int64 {
	if whole <= 0 || part <= 0 {
		return 0
	}
	if part >= whole {
		return 1000
	}
	if part > 1<<53 { // more than 8 PiB: do not overflow
		return part / (whole / 1000)
	}
	return 1000 * part / whole
}

// Critical reports whether the pod's priority is one of those for which the
// system would rather do without everything else.
func Critical(pod *v1.Pod) bool {
	return pod.Spec.Priority != nil && *pod.Spec.Priority >= criticalFrom
}

// unassigned is each container's part of the memory that the pod itself
// requests beyond what its containers do (KEP-2837).
func unassigned(pod *v1.Pod) int64 {
	all, ok := podLevel(pod).Requests[v1.ResourceMemory]
	given, _ := peak(pod, v1.ResourceMemory, request)
	n := int64(len(pod.Spec.InitContainers) + len(pod.Spec.Containers))
	if n == 0 || !ok || all.Cmp(given) <= 0 {
		return 0
	}
	return (all.Value() - given.Value()) / n
}

func memoryRequest(c *v1.Container) int64 {
	q, _ := request(c.Resources, v1.ResourceMemory)
	return q.Value()
}

func isInit(pod *v1.Pod, c *v1.Container) bool {
	for i := range pod.Spec.InitContainers {
		if pod.Spec.InitContainers[i].Name == c.Name {
			return true
		}
	}
	return false
}

func isSidecar(pod *v1.Pod, c *v1.Container) bool { return sidecar(c) && isInit(pod, c) }
