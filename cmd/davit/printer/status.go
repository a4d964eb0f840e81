package printer

import (
	"fmt"
	"strconv"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
)

// Summary is what a line about a pod says of its containers.
type Summary struct {
	Ready, Total int // containers, sidecars included
	Status       string
	Restarts     int32
	LastRestart  time.Time // zero if there was none
}

// Summarize computes a pod's READY, STATUS and RESTARTS as kubectl shows them.
func Summarize(pod *v1.Pod) Summary {
	s := Summary{Status: string(pod.Status.Phase), Total: len(pod.Spec.Containers)}
	if pod.Status.Reason != "" {
		s.Status = pod.Status.Reason
	}
	if c := condition(pod, v1.PodScheduled); c != nil && c.Reason == v1.PodReasonSchedulingGated {
		s.Status = v1.PodReasonSchedulingGated
	}
	sidecars := map[string]bool{}
	for _, c := range pod.Spec.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways {
			sidecars[c.Name] = true
			s.Total++
		}
	}
	initialized := s.addInits(pod, sidecars)
	if done := condition(pod, v1.PodInitialized); initialized || done != nil && done.Status == v1.ConditionTrue {
		s.addMains(pod, sidecars)
	}
	if pod.DeletionTimestamp != nil {
		ended := pod.Status.Phase == v1.PodSucceeded || pod.Status.Phase == v1.PodFailed
		switch {
		case pod.Status.Reason == "NodeLost":
			s.Status = "Unknown"
		case !ended:
			s.Status = "Terminating"
		}
	}
	return s
}

// addInits looks at the init containers up to the first that is not done, and
// tells whether there is none.
func (s *Summary) addInits(pod *v1.Pod, sidecars map[string]bool) bool {
	for i, c := range pod.Status.InitContainerStatuses {
		s.count(c)
		term, wait := c.State.Terminated, c.State.Waiting
		switch {
		case term != nil && term.ExitCode == 0:
			continue
		case sidecars[c.Name] && c.Started != nil && *c.Started:
			if c.Ready {
				s.Ready++
			}
			continue
		case term != nil:
			s.Status = "Init:" + ending(term)
		case wait != nil && wait.Reason != "" && wait.Reason != "PodInitializing":
			s.Status = "Init:" + wait.Reason
		default:
			s.Status = fmt.Sprintf("Init:%d/%d", i, len(pod.Spec.InitContainers))
		}
		return false
	}
	return true
}

// addMains looks at the containers. The first that does not run gives the
// status; the restarts of init containers that are done count no more.
func (s *Summary) addMains(pod *v1.Pod, sidecars map[string]bool) {
	s.Restarts, s.LastRestart = 0, time.Time{}
	for _, c := range pod.Status.InitContainerStatuses {
		if sidecars[c.Name] {
			s.count(c)
		}
	}
	runs, found := false, false
	for _, c := range pod.Status.ContainerStatuses {
		s.count(c)
		word := ""
		switch {
		case c.State.Waiting != nil && c.State.Waiting.Reason != "":
			word = c.State.Waiting.Reason
		case c.State.Terminated != nil:
			word = ending(c.State.Terminated)
		case c.State.Running != nil && c.Ready:
			runs = true
			s.Ready++
		}
		if word != "" && !found {
			s.Status, found = word, true
		}
	}
	if s.Status == "Completed" && runs {
		s.Status = "NotReady"
		if c := condition(pod, v1.PodReady); c != nil && c.Status == v1.ConditionTrue {
			s.Status = "Running"
		}
	}
}

// count adds a container's restarts.
func (s *Summary) count(c v1.ContainerStatus) {
	s.Restarts += c.RestartCount
	if t := c.LastTerminationState.Terminated; t != nil && t.FinishedAt.After(s.LastRestart) {
		s.LastRestart = t.FinishedAt.Time
	}
}

// ending is the word for a container's end.
func ending(t *v1.ContainerStateTerminated) string {
	switch {
	case t.Reason != "":
		return t.Reason
	case t.Signal != 0:
		return "Signal:" + strconv.Itoa(int(t.Signal))
	default:
		return "ExitCode:" + strconv.Itoa(int(t.ExitCode))
	}
}

func condition(pod *v1.Pod, typ v1.PodConditionType) *v1.PodCondition {
	for i := range pod.Status.Conditions {
		if pod.Status.Conditions[i].Type == typ {
			return &pod.Status.Conditions[i]
		}
	}
	return nil
}

// restarts is the RESTARTS column.
func (s Summary) restarts(now time.Time) string {
	text := strconv.Itoa(int(s.Restarts))
	if s.Restarts != 0 && !s.LastRestart.IsZero() {
		text += fmt.Sprintf(" (%s ago)", duration.HumanDuration(now.Sub(s.LastRestart)))
	}
	return text
}

// age is the AGE column.
func age(t metav1.Time, now time.Time) string {
	if t.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(now.Sub(t.Time))
}
