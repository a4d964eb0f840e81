package server

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/runtime"
)

// defaultContainer is kubectl's annotation for the container that is meant when
// none is named.
const defaultContainer = "kubectl.kubernetes.io/default-container"

// choose returns the name of the container that is meant by name, which may be
// "", and a notice if one was chosen among several.
func choose(pod *v1.Pod, name string) (chosen, notice string, fail *failure) {
	mains, inits := names(pod.Spec.Containers), names(pod.Spec.InitContainers)
	if name != "" {
		ephemeral := func(c v1.EphemeralContainer) bool { return c.Name == name }
		if !slices.Contains(mains, name) && !slices.Contains(inits, name) && !slices.ContainsFunc(pod.Spec.EphemeralContainers, ephemeral) {
			return "", "", badRequest("container %s is not valid for pod %s, %s", name, pod.Name, choices(mains, inits))
		}
		return name, "", nil
	}
	if marked := pod.Annotations[defaultContainer]; slices.Contains(mains, marked) || slices.Contains(inits, marked) {
		return marked, "", nil
	}
	if len(mains) == 0 {
		return "", "", badRequest("pod %s has no containers", pod.Name)
	}
	if len(mains)+len(inits) > 1 {
		all := slices.Clone(mains)
		for _, n := range inits {
			all = append(all, n+" (init)")
		}
		notice = fmt.Sprintf("Defaulted container %q out of: %s", mains[0], strings.Join(all, ", "))
	}
	return mains[0], notice, nil
}

func names(list []v1.Container) []string {
	var out []string
	for _, c := range list {
		out = append(out, c.Name)
	}
	return out
}

// choices lists containers in the words of the Kubernetes API server.
func choices(mains, inits []string) string {
	text := fmt.Sprintf("choose one of: %v", mains)
	if len(inits) > 0 {
		text += fmt.Sprintf(" or one of the init containers: %v", inits)
	}
	return text
}

// statusOf returns the status of a container of the pod.
func statusOf(pod *v1.Pod, name string) (v1.ContainerStatus, bool) {
	for _, list := range [][]v1.ContainerStatus{pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses, pod.Status.EphemeralContainerStatuses} {
		for _, c := range list {
			if c.Name == name {
				return c, true
			}
		}
	}
	return v1.ContainerStatus{}, false
}

// running returns the runtime's ID of a container that runs.
func running(pod *v1.Pod, name string) (string, *failure) {
	c, ok := statusOf(pod, name)
	if !ok || c.State.Running == nil || c.ContainerID == "" {
		return "", badRequest("container %q in pod %q is not running: %s", name, pod.Name, why(c))
	}
	return bareID(c.ContainerID), nil
}

// logged returns the runtime's ID and the log file of a container that has
// started: of the newest attempt, or of the one before it.
func logged(pod *v1.Pod, name, logDir string, previous bool) (id, path string, fail *failure) {
	c, _ := statusOf(pod, name)
	full, last := c.ContainerID, c.LastTerminationState.Terminated
	switch {
	case previous && (last == nil || last.ContainerID == ""):
		return "", "", badRequest("previous terminated container %q in pod %q not found", name, pod.Name)
	case previous, full == "" && last != nil:
		full = last.ContainerID
	}
	if full == "" {
		return "", "", badRequest("container %q in pod %q is waiting to start: %s", name, pod.Name, why(c))
	}
	id = bareID(full)
	n, ok := attemptOf(string(pod.UID), name, id, c.RestartCount)
	if !ok {
		return "", "", notFound("the log of container %q in pod %q is not known: %s is no ID of davit's", name, pod.Name, id)
	}
	dir := pod.Namespace + "_" + pod.Name + "_" + string(pod.UID)
	return id, filepath.Join(logDir, dir, name, strconv.FormatUint(uint64(n), 10)+".log"), nil
}

// attemptOf finds the attempt of which id is the ID. Attempts and restarts are
// counted apart, but seldom are far apart, so it searches outwards.
func attemptOf(uid, name, id string, restarts int32) (uint32, bool) {
	const reach = 1024
	start := uint32(max(restarts, 0))
	for d := range uint32(reach) {
		if runtime.ContainerID(uid, name, start+d) == id {
			return start + d, true
		}
		if d <= start && runtime.ContainerID(uid, name, start-d) == id {
			return start - d, true
		}
	}
	return 0, false
}

// bareID removes the scheme that Kubernetes puts before a container's ID.
func bareID(id string) string {
	if _, bare, ok := strings.Cut(id, "://"); ok {
		return bare
	}
	return id
}

// why tells in a word why a container does not run.
func why(c v1.ContainerStatus) string {
	switch {
	case c.State.Waiting != nil && c.State.Waiting.Reason != "":
		return c.State.Waiting.Reason
	case c.State.Terminated != nil:
		return fmt.Sprintf("it ended with exit code %d", c.State.Terminated.ExitCode)
	default:
		return "nothing is known of it yet"
	}
}
