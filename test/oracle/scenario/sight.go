package scenario

import (
	"fmt"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// Sight is something that a pod can be seen to be, in words:
//
//	created                      the pod exists (also "")
//	gone                         it does not any more
//	phase PHASE
//	condition TYPE STATUS
//	deleting                     its deletion was asked for
//	CONTAINER running            so is its state,
//	CONTAINER waiting [REASON]   with this reason,
//	CONTAINER terminated [REASON]
//	CONTAINER ready
//	CONTAINER unready
//	CONTAINER started
//	CONTAINER restarts N         restartCount is N or more
//
// Containers are main, init and ephemeral ones.
type Sight string

// Gone is the sight of a pod that is no more.
const Gone Sight = "gone"

// Seen tells whether the pod is what the sight says; nil is a pod that is gone.
// It is false of a sight that makes no sense; Check tells of that.
func (s Sight) Seen(pod *v1.Pod) bool {
	w := strings.Fields(string(s))
	switch {
	case len(w) == 0 || s == "created":
		return true
	case s == Gone:
		return pod == nil
	case pod == nil:
		return false
	case s == "deleting":
		return pod.DeletionTimestamp != nil
	case w[0] == "phase":
		return len(w) == 2 && string(pod.Status.Phase) == w[1]
	case w[0] == "condition":
		for _, c := range pod.Status.Conditions {
			if len(w) == 3 && string(c.Type) == w[1] && string(c.Status) == w[2] {
				return true
			}
		}
		return false
	}
	for _, list := range [][]v1.ContainerStatus{pod.Status.InitContainerStatuses,
		pod.Status.ContainerStatuses, pod.Status.EphemeralContainerStatuses} {
		for i := range list {
			if list[i].Name == w[0] {
				return containerSeen(&list[i], w[1:])
			}
		}
	}
	return false
}

func containerSeen(c *v1.ContainerStatus, w []string) bool {
	reason := func(have string) bool { return len(w) == 1 || w[1] == have }
	switch s := c.State; w[0] {
	case "running":
		return s.Running != nil
	case "waiting":
		return s.Waiting != nil && reason(s.Waiting.Reason)
	case "terminated":
		return s.Terminated != nil && reason(s.Terminated.Reason)
	case "ready":
		return c.Ready
	case "unready":
		return !c.Ready
	case "started":
		return c.Started != nil && *c.Started
	case "restarts":
		n, err := strconv.Atoi(w[1])
		return err == nil && int(c.RestartCount) >= n
	}
	return false
}

// check returns what is wrong with a sight of a pod that has these containers.
func (s Sight) check(containers map[string]bool) error {
	w := strings.Fields(string(s))
	switch {
	case len(w) == 0 || s == "created" || s == Gone || s == "deleting":
		return nil
	case w[0] == "phase" && len(w) == 2, w[0] == "condition" && len(w) == 3:
		return nil
	case len(w) < 2 || !containers[w[0]]:
		return fmt.Errorf("%q names no container of the pod and is no sight; see the documentation of Sight", s)
	}
	switch w[1] {
	case "running", "ready", "unready", "started":
		if len(w) == 2 {
			return nil
		}
	case "waiting", "terminated":
		if len(w) <= 3 {
			return nil
		}
	case "restarts":
		if len(w) == 3 {
			if _, err := strconv.Atoi(w[2]); err == nil {
				return nil
			}
		}
	}
	return fmt.Errorf("%q is no sight of a container; see the documentation of Sight", s)
}
