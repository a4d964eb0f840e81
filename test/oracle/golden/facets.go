package golden

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// item is the value of a facet in one observation.
type item struct {
	value  string
	missed bool // it may be missed
}

// mark stands before what may be missed.
const mark = "~ "

// reduce makes a facet's sequence: repetitions become one, which may be missed
// if all of them may.
func reduce(items []item) []string {
	var runs []item
	for _, it := range items {
		if n := len(runs); n > 0 && runs[n-1].value == it.value {
			runs[n-1].missed = runs[n-1].missed && it.missed
		} else {
			runs = append(runs, it)
		}
	}
	out := make([]string, len(runs))
	for i, r := range runs {
		out[i] = r.value
		if r.missed {
			out[i] = mark + r.value
		}
	}
	return out
}

// collect returns the items of all facets.
func collect(seen []Observation, n names) map[string][]item {
	out := map[string][]item{}
	add := func(facet, value string, missed bool) {
		out[facet] = append(out[facet], item{value, missed})
	}
	var first *int64 // the grace that the pod was given first
	passing := passingStates(seen)
	end := len(seen) - 1
	for end >= 0 && seen[end].Pod == nil {
		end--
	}
	for i, o := range seen {
		if o.Pod == nil {
			add("deletion", "gone", false)
			continue
		}
		p := o.Pod
		if p.DeletionTimestamp != nil {
			var grace int64
			if g := p.DeletionGracePeriodSeconds; g != nil {
				grace = *g
			}
			value := fmt.Sprintf("deleting, %ds", grace)
			if first == nil {
				first = &grace
			}
			// What is left of a grace that was shortened is chance. What has ended
			// kubelet takes away by a deletion of its own, with grace 0.
			if grace < *first {
				value = "deleting, shortened"
			}
			// A pod without grace is gone as soon as it is deleted.
			if grace > 0 || *first == 0 {
				add("deletion", value, grace == 0)
			}
		}
		add("phase", string(p.Status.Phase), false)
		if text := reasoned(p.Status.Reason, n.text(p.Status.Message)); text != "" {
			add("reason", text, false)
		}
		missed := i < end && (len(passing[i]) > 0 || halfStarted(p) || halfStopped(p))
		for _, c := range p.Status.Conditions {
			// What a pod is torn down to may be told together with that it is gone.
			last := c.Type == v1.PodReadyToStartContainers && p.DeletionTimestamp != nil
			add("condition "+string(c.Type),
				strings.TrimSpace(string(c.Status)+" "+reasoned(c.Reason, n.text(c.Message))), missed || last)
		}
		for _, c := range statuses(p) {
			containerItems(c, n, passing[i][c.Name], func(facet, value string, missed bool) {
				add(facet, value, missed && i < end)
			})
		}
	}
	return out
}

// containerItems adds the items of a container's facets.
func containerItems(c v1.ContainerStatus, n names, passing bool, add func(facet, value string, missed bool)) {
	add(c.Name+" state", stateText(c.State), passing || initial(c.State))
	add(c.Name+" ready", strconv.FormatBool(c.Ready), passing)
	started := "unset"
	if c.Started != nil {
		started = strconv.FormatBool(*c.Started)
	}
	add(c.Name+" started", started, passing)
	add(c.Name+" restarts", strconv.Itoa(int(c.RestartCount)), false)
	if t := c.LastTerminationState.Terminated; t != nil {
		add(c.Name+" last", reasoned(stateText(c.LastTerminationState), n.text(t.Message)), passing)
	}
	switch s := c.State; {
	case s.Waiting != nil && s.Waiting.Message != "" && !initial(s):
		add(c.Name+" message", reasoned(s.Waiting.Reason, n.text(s.Waiting.Message)), false)
	case s.Terminated != nil && s.Terminated.Message != "":
		add(c.Name+" message", reasoned(s.Terminated.Reason, n.text(s.Terminated.Message)), passing)
	}
}

func reasoned(reason, message string) string {
	switch {
	case message == "":
		return reason
	case reason == "":
		return message
	}
	return reason + ": " + message
}

func stateText(s v1.ContainerState) string {
	switch {
	case s.Running != nil:
		return "running"
	case s.Terminated != nil:
		text := fmt.Sprintf("terminated %s %d", s.Terminated.Reason, s.Terminated.ExitCode)
		if s.Terminated.Signal != 0 {
			text += fmt.Sprintf(" signal %d", s.Terminated.Signal)
		}
		return text
	case s.Waiting != nil:
		return "waiting " + s.Waiting.Reason
	}
	return "none"
}

// initial tells of a container that is waited for and has no trouble.
func initial(s v1.ContainerState) bool {
	return s.Waiting != nil && (s.Waiting.Reason == "ContainerCreating" || s.Waiting.Reason == "PodInitializing")
}

// statuses returns the statuses of all containers.
func statuses(p *v1.Pod) []v1.ContainerStatus {
	return slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses, p.Status.EphemeralContainerStatuses)
}

// passingStates returns for each observation the containers that are terminated
// in it and are not in a later one.
func passingStates(seen []Observation) []map[string]bool {
	out := make([]map[string]bool, len(seen))
	again := map[string]bool{}
	for i := len(seen) - 1; i >= 0; i-- {
		out[i] = map[string]bool{}
		if seen[i].Pod == nil {
			continue
		}
		for _, c := range statuses(seen[i].Pod) {
			if c.State.Terminated == nil {
				again[c.Name] = true
			} else if again[c.Name] {
				out[i][c.Name] = true
			}
		}
	}
	return out
}

// halfStarted tells whether some containers that are to run on have been started
// and others wait still: kubelet starts them one by one and looks once a second.
func halfStarted(p *v1.Pod) bool {
	waiting, running := false, false
	for _, c := range statuses(p) {
		waiting = waiting || initial(c.State)
		running = running || c.State.Running != nil && !once(p, c.Name)
	}
	return waiting && running
}

// once tells whether a container is an init container that is no sidecar.
func once(p *v1.Pod, name string) bool {
	for _, c := range p.Spec.InitContainers {
		if c.Name == name {
			return c.RestartPolicy == nil || *c.RestartPolicy != v1.ContainerRestartPolicyAlways
		}
	}
	return false
}

// halfStopped tells whether a pod is being stopped of which some containers have
// ended and others have not: kubelet writes no status until all have.
func halfStopped(p *v1.Pod) bool {
	ended, all := 0, statuses(p)
	for _, c := range all {
		if c.State.Terminated != nil {
			ended++
		}
	}
	return (p.DeletionTimestamp != nil || p.Status.Reason != "") && ended > 0 && ended < len(all)
}
