package podstatus

import (
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/davit-agent/davit/agent/lifecycle/restart"
)

// Input is what conditions follow from.
type Input struct {
	Pod *v1.Pod
	// Status holds the statuses of init containers and main containers, each in
	// the order of the spec.
	Status *v1.PodStatus
	// Phase is what the conditions are of: another than Status has for a pod that
	// was stopped before it got anywhere.
	Phase  v1.PodPhase
	Before []v1.PodCondition // as last reported
	// Sandbox: the pod's sandbox is set up.
	Sandbox bool
	// Disrupted is why the node ends the pod for want of something; "": it does
	// not.
	Disrupted string
	// RestartingAll: the exit of one container restarts all (KEP-5532).
	RestartingAll bool
	Now           time.Time // in UTC
}

// Reasons of conditions, kubelet's.
const (
	reasonPodCompleted   = "PodCompleted"
	reasonPodFailed      = "PodFailed"
	reasonNotReady       = "ContainersNotReady"
	reasonNotInitialized = "ContainersNotInitialized"
	reasonGatesNotReady  = "ReadinessGatesNotReady"
)

// Ours tells whether the node agent owns the condition.
func Ours(t v1.PodConditionType) bool {
	switch t {
	case v1.PodReadyToStartContainers, v1.PodInitialized, v1.PodReady, v1.ContainersReady, v1.PodScheduled, v1.AllContainersRestarting:
		return true
	}
	return false
}

// Conditions returns the pod's conditions: those of others as they are, then the node's
// in kubelet's order.
func Conditions(in Input) []v1.PodCondition {
	var cs []v1.PodCondition
	for _, c := range in.Pod.Status.Conditions {
		if !Ours(c.Type) {
			cs = append(cs, c)
		}
	}
	if in.Disrupted != "" {
		cs = slices.DeleteFunc(cs, func(c v1.PodCondition) bool { return c.Type == v1.DisruptionTarget })
	}
	others := cs
	ready := containersReady(in)
	add := func(t v1.PodConditionType, c v1.PodCondition) {
		c.Type = t
		c.ObservedGeneration = in.Pod.Generation
		c.LastTransitionTime = transition(in, c)
		cs = append(cs, c)
	}
	add(v1.PodReadyToStartContainers, is(in.Sandbox))
	add(v1.PodInitialized, initialized(in))
	add(v1.PodReady, gated(in.Pod, others, ready))
	add(v1.ContainersReady, ready)
	add(v1.PodScheduled, is(true))
	if mayRestartAll(in.Pod) {
		add(v1.AllContainersRestarting, restartingAll(in))
		cs[len(cs)-1].ObservedGeneration = 0 // as kubelet has it
	}
	if in.Disrupted != "" {
		add(v1.DisruptionTarget, v1.PodCondition{Status: v1.ConditionTrue, Reason: "TerminationByKubelet", Message: in.Disrupted})
	}
	return cs
}

func restartingAll(in Input) v1.PodCondition {
	switch {
	case in.Phase == v1.PodSucceeded:
		return isNot(reasonPodCompleted, "")
	case in.Phase == v1.PodFailed:
		return isNot(reasonPodFailed, "")
	case in.RestartingAll:
		return v1.PodCondition{Status: v1.ConditionTrue, Reason: "RestartAllContainersStarted", Message: "container exited with restart policy rule"}
	}
	return is(false)
}

func mayRestartAll(pod *v1.Pod) bool {
	may := func(c v1.Container) bool { return restart.MayAll(&c) }
	return slices.ContainsFunc(pod.Spec.Containers, may) || slices.ContainsFunc(pod.Spec.InitContainers, may)
}

func is(yes bool) v1.PodCondition {
	if yes {
		return v1.PodCondition{Status: v1.ConditionTrue}
	}
	return v1.PodCondition{Status: v1.ConditionFalse}
}

func isNot(reason, message string) v1.PodCondition {
	return v1.PodCondition{Status: v1.ConditionFalse, Reason: reason, Message: message}
}

// transition returns since when c has its status.
func transition(in Input, c v1.PodCondition) metav1.Time {
	for _, before := range [][]v1.PodCondition{in.Before, in.Pod.Status.Conditions} {
		for _, b := range before {
			if b.Type == c.Type && b.Status == c.Status && !b.LastTransitionTime.IsZero() {
				return b.LastTransitionTime
			}
		}
	}
	return metav1.NewTime(in.Now.Truncate(time.Second)) // what JSON keeps of it
}

func initialized(in Input) v1.PodCondition {
	pod, s := in.Pod, in.Status
	if in.Phase == v1.PodSucceeded {
		return v1.PodCondition{Status: v1.ConditionTrue, Reason: reasonPodCompleted}
	}
	for _, c := range s.ContainerStatuses {
		if c.State.Running != nil || c.State.Terminated != nil {
			return is(true) // and stays so when a sidecar restarts
		}
	}
	var incomplete []string
	for i, c := range s.InitContainerStatuses {
		done := c.Ready
		if restart.Sidecar(&pod.Spec.InitContainers[i]) {
			done = c.Started != nil && *c.Started
		}
		if !done {
			incomplete = append(incomplete, c.Name)
		}
	}
	stays := func(c v1.PodCondition) bool { return c.Type == v1.PodInitialized && c.Status == v1.ConditionTrue }
	if len(incomplete) > 0 && !slices.ContainsFunc(in.Before, stays) { // what was initialized once stays so
		return isNot(reasonNotInitialized, fmt.Sprintf("containers with incomplete status: %s", incomplete))
	}
	return is(true)
}

func containersReady(in Input) v1.PodCondition {
	pod, s := in.Pod, in.Status
	switch in.Phase {
	case v1.PodSucceeded:
		return isNot(reasonPodCompleted, "")
	case v1.PodFailed:
		return isNot(reasonPodFailed, "")
	}
	var unready []string
	for i, c := range s.InitContainerStatuses {
		if restart.Sidecar(&pod.Spec.InitContainers[i]) && !c.Ready {
			unready = append(unready, c.Name)
		}
	}
	for _, c := range s.ContainerStatuses {
		if !c.Ready {
			unready = append(unready, c.Name)
		}
	}
	if len(unready) > 0 {
		return isNot(reasonNotReady, fmt.Sprintf("containers with unready status: %s", unready))
	}
	return is(true)
}

// gated returns the Ready condition: that of the containers, unless one of the
// pod's readiness gates, which others set, holds it back.
func gated(pod *v1.Pod, others []v1.PodCondition, containers v1.PodCondition) v1.PodCondition {
	if containers.Status != v1.ConditionTrue {
		return containers
	}
	var unready []string
	for _, g := range pod.Spec.ReadinessGates {
		status := v1.ConditionStatus("")
		for _, c := range others {
			if c.Type == g.ConditionType {
				status = c.Status
			}
		}
		switch status {
		case v1.ConditionTrue:
		case "":
			unready = append(unready, fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist.", g.ConditionType))
		default:
			unready = append(unready, fmt.Sprintf("the status of pod readiness gate %q is not \"True\", but %v", g.ConditionType, status))
		}
	}
	if len(unready) > 0 {
		return isNot(reasonGatesNotReady, strings.Join(unready, ", "))
	}
	return containers
}
