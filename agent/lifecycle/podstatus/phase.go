package podstatus

import (
	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/lifecycle/restart"
)

// Phase returns the phase of a pod that has not ended from the statuses of its
// containers, by kubelet's rules.
func Phase(pod *v1.Pod, s *v1.PodStatus) v1.PodPhase {
	initializing, sidecarsPending, sidecarsStarting, running := 0, 0, 0, 0
	for i, c := range s.InitContainerStatuses {
		sidecar := restart.Sidecar(&pod.Spec.InitContainers[i])
		switch {
		case !sidecar && c.State.Terminated == nil && (c.State.Running != nil || c.LastTerminationState.Terminated == nil):
			initializing++
		case sidecar && c.State.Running != nil:
			running++
			if !*c.Started {
				sidecarsStarting++
			}
		case sidecar && c.State.Waiting != nil && c.LastTerminationState.Terminated == nil:
			sidecarsPending++
		}
	}
	waiting, stopped, active := 0, 0, false
	for _, c := range s.ContainerStatuses {
		switch {
		case c.State.Running != nil:
			running++
			active = true
		case c.State.Terminated != nil, c.LastTerminationState.Terminated != nil:
			stopped++
		default:
			waiting++
		}
	}
	switch {
	case initializing > 0, sidecarsPending > 0, sidecarsStarting > 0 && !active && stopped == 0, waiting > 0:
		return v1.PodPending
	case running > 0, stopped > 0:
		// Either something runs, or all are between two runs, or the pod is
		// over and about to be recorded as ended.
		return v1.PodRunning
	}
	return v1.PodPending
}
