package lifecycle

import v1 "k8s.io/api/core/v1"

// phase returns the pod's phase from its container statuses, by kubelet's rules.
func phase(pod *v1.Pod, f *Facts, s *v1.PodStatus) v1.PodPhase {
	if f.Ended != nil {
		return f.Ended.Phase
	}
	initializing, sidecarsPending, running := 0, 0, 0
	for i, m := range inits(pod) {
		c := s.InitContainerStatuses[i]
		switch {
		case m.kind == kindInit && c.State.Terminated == nil && (c.State.Running != nil || c.LastTerminationState.Terminated == nil):
			initializing++
		case m.kind == kindSidecar && c.State.Running != nil:
			running++
		case m.kind == kindSidecar && c.State.Waiting != nil && c.LastTerminationState.Terminated == nil:
			sidecarsPending++
		}
	}
	waiting, stopped := 0, 0
	for _, c := range s.ContainerStatuses {
		switch {
		case c.State.Running != nil:
			running++
		case c.State.Terminated != nil, c.LastTerminationState.Terminated != nil:
			stopped++
		default:
			waiting++
		}
	}
	switch {
	case initializing > 0, sidecarsPending > 0, waiting > 0:
		return v1.PodPending
	case running > 0, stopped > 0:
		// Either something runs, or all are between two runs, or the pod is
		// over and about to be recorded as ended.
		return v1.PodRunning
	}
	return v1.PodPending
}
