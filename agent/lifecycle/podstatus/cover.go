package podstatus

import (
	"slices"

	v1 "k8s.io/api/core/v1"
)

// Unknown is how a container is reported of which nothing is known.
type Unknown struct {
	Code            int32
	Reason, Message string
}

// Cover reports containers of an ended pod that still wait, but must have been
// meant to run by then, as kubelet does: as terminated, unknown how. Initialised
// tells that the last init container came to its end.
func Cover(s *v1.PodStatus, unknown Unknown, initialised bool) {
	touched := func(c v1.ContainerStatus) bool {
		return c.State.Waiting == nil || c.LastTerminationState.Terminated != nil
	}
	cover := func(cs []v1.ContainerStatus) {
		for i := range cs {
			if cs[i].State.Terminated == nil {
				cs[i].State = v1.ContainerState{Terminated: &v1.ContainerStateTerminated{
					ExitCode: unknown.Code, Reason: unknown.Reason, Message: unknown.Message,
				}}
			}
		}
	}
	if len(s.InitContainerStatuses) > 0 {
		// Of the init containers, those up to the last that was tried; the
		// first in any case.
		upTo := 1
		for i, c := range s.InitContainerStatuses {
			if touched(c) {
				upTo = i + 1
			}
		}
		cover(s.InitContainerStatuses[:upTo])
	}
	if initialised || slices.ContainsFunc(s.ContainerStatuses, touched) {
		cover(s.ContainerStatuses)
	}
}

// Mounts returns the statuses of a container's volumeMounts.
func Mounts(ms []v1.VolumeMount) []v1.VolumeMountStatus {
	var out []v1.VolumeMountStatus
	for _, m := range ms {
		s := v1.VolumeMountStatus{Name: m.Name, MountPath: m.MountPath, ReadOnly: m.ReadOnly}
		if m.ReadOnly {
			mode := v1.RecursiveReadOnlyDisabled
			if m.RecursiveReadOnly != nil && *m.RecursiveReadOnly == v1.RecursiveReadOnlyEnabled {
				mode = v1.RecursiveReadOnlyEnabled
			}
			s.RecursiveReadOnly = &mode
		}
		out = append(out, s)
	}
	return out
}
