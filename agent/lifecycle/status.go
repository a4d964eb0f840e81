package lifecycle

import (
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/davit-agent/davit/agent/lifecycle/conditions"
	"github.com/davit-agent/davit/runtime/cgroup/qos"
)

// Status returns the pod's status as kubelet reports it. It follows from what
// is recorded and the time alone, but for how far pulls are. The caller stores its Conditions in Facts:
// they hold the transition times.
func Status(in Input) v1.PodStatus {
	f := &in.Facts
	s := v1.PodStatus{
		ObservedGeneration: in.Pod.Generation,
		QOSClass:           QOS(in.Pod),
	}
	if e := f.Ended; e != nil && e.Rejected {
		s.Phase, s.Reason, s.Message = e.Phase, e.Reason, e.Message
		return s
	}
	if !f.Accepted.IsZero() {
		t := metav1.NewTime(f.Accepted)
		s.StartTime = &t
	}
	setAddresses(in.Pod, f, &s)
	for _, m := range inits(in.Pod) {
		s.InitContainerStatuses = append(s.InitContainerStatuses, containerStatus(in, m))
	}
	for _, m := range mains(in.Pod) {
		s.ContainerStatuses = append(s.ContainerStatuses, containerStatus(in, m))
	}
	for _, m := range ephemerals(in.Pod) {
		c := containerStatus(in, m)
		c.Ready, c.Started = false, nil // nobody waits for them
		s.EphemeralContainerStatuses = append(s.EphemeralContainerStatuses, c)
	}
	s.Phase = conditions.Phase(in.Pod, &s)
	if f.Ended != nil {
		s.Phase = f.Ended.Phase
		s.Reason, s.Message = f.Ended.Reason, f.Ended.Message
		coverMissing(in.Pod, &s)
	}
	s.Conditions = conditions.Of(conditionInput(in, &s))
	// kubelet sorts these, and not the init containers, by name.
	for _, cs := range [][]v1.ContainerStatus{s.ContainerStatuses, s.EphemeralContainerStatuses} {
		slices.SortFunc(cs, func(a, b v1.ContainerStatus) int { return strings.Compare(a.Name, b.Name) })
	}
	return s
}

// QOS returns the pod's quality of service class: what the API server wrote, or
// else what follows from the CPU and memory that the spec asks for.
func QOS(pod *v1.Pod) v1.PodQOSClass {
	if q := pod.Status.QOSClass; q != "" {
		return q
	}
	return qos.Class(pod)
}

func conditionInput(in Input, s *v1.PodStatus) conditions.Input {
	c := conditions.Input{
		Pod: in.Pod, Status: s, Before: in.Facts.Conditions,
		Sandbox: !in.Facts.Sandbox.ReadyAt.IsZero(), Now: stamp(in.Now),
	}
	if e := in.Facts.Evicted; e != nil && e.Reason == reasonEvicted {
		c.Disrupted = e.Message
	}
	for _, m := range append(inits(in.Pod), mains(in.Pod)...) {
		a := in.Facts.Containers[m.Name].Current
		c.RestartingAll = c.RestartingAll || in.Facts.Sandbox.Rounds > 0 && a != nil && !a.Removed && !a.in(in.Facts.Sandbox.Generation)
	}
	return c
}

func setAddresses(pod *v1.Pod, f *Facts, s *v1.PodStatus) {
	for _, a := range f.HostIPs {
		s.HostIPs = append(s.HostIPs, v1.HostIP{IP: a.String()})
	}
	ips := f.PodIPs
	if pod.Spec.HostNetwork && len(ips) == 0 {
		ips = f.HostIPs
	}
	for _, a := range ips {
		s.PodIPs = append(s.PodIPs, v1.PodIP{IP: a.String()})
	}
	if len(s.HostIPs) > 0 {
		s.HostIP = s.HostIPs[0].IP
	}
	if len(s.PodIPs) > 0 {
		s.PodIP = s.PodIPs[0].IP
	}
}

// containerStatus returns the status of m.
func containerStatus(in Input, m member) v1.ContainerStatus {
	cf := in.Facts.Containers[m.Name]
	s := v1.ContainerStatus{
		Name:         m.Name,
		Image:        m.Image,
		RestartCount: cf.RestartCount,
		VolumeMounts: mountStatuses(m.VolumeMounts),
	}
	a := cf.Current
	if a != nil {
		if a.Image != "" {
			s.Image = a.Image
		}
		s.ImageID = a.ImageID
		s.ContainerID = containerID(a)
		s.Resources = m.Resources.DeepCopy()
		s.AllocatedResources = m.Resources.Requests.DeepCopy()
		s.User = a.User.status()
	}
	switch {
	case a.running() && !m.starting(a):
		s.State.Running = &v1.ContainerStateRunning{StartedAt: metav1.NewTime(a.StartedAt)}
	case a != nil && a.Exit != nil:
		s.State.Terminated = terminated(a)
	}
	if s.State.Running == nil {
		if w := waiting(in, m, cf); w != nil {
			s.LastTerminationState, s.State = s.State, v1.ContainerState{Waiting: w}
		}
	}
	if s.LastTerminationState.Terminated == nil && cf.Last != nil && cf.Last.Exit != nil {
		s.LastTerminationState.Terminated = terminated(cf.Last)
	}
	started := m.started(a)
	s.Started = &started
	s.Ready = m.ready(a)
	if m.kind == kindInit {
		s.Ready = s.State.Terminated != nil && s.State.Terminated.ExitCode == 0
	}
	return s
}

func (u *User) status() *v1.ContainerUser {
	if u == nil {
		return nil
	}
	return &v1.ContainerUser{Linux: &v1.LinuxContainerUser{UID: u.UID, GID: u.GID, SupplementalGroups: slices.Clone(u.Groups)}}
}

// starting: it runs, but kubelet reports it as waiting until its postStart hook
// has succeeded.
func (m member) starting(a *Attempt) bool { return a.running() && !m.settled(a) }

// waiting returns why a container that does not run waits; nil: it has ended.
func waiting(in Input, m member, cf ContainerFacts) *v1.ContainerStateWaiting {
	pod, f, now := in.Pod, &in.Facts, stamp(in.Now)
	a := cf.Current
	exited := a != nil && a.Exit != nil
	if exited {
		_, _, over := outcome(pod, f)
		inThis := a.in(f.Sandbox.Generation)
		if over || f.Ended != nil || f.Deletion != nil || !wanted(pod, f, m) {
			return nil
		}
		if crash := cf.BackOff; inThis && crash.Until.After(now) {
			return &v1.ContainerStateWaiting{
				Reason: reasonCrashLoop,
				Message: fmt.Sprintf("back-off %s restarting failed container=%s pod=%s_%s(%s)",
					crash.Delay, m.Name, pod.Name, pod.Namespace, pod.UID),
			}
		}
	}
	if x := cf.Failure; x != nil && !a.running() {
		return failureState(m, x, now)
	}
	if exited && a.startFailed() {
		return &v1.ContainerStateWaiting{Reason: reasonPostStart, Message: a.PostStart.Failure}
	}
	if exited {
		return nil // about to be started again
	}
	reason := reasonCreating
	if len(pod.Spec.InitContainers) > 0 {
		reason = reasonInitializing
	}
	w := &v1.ContainerStateWaiting{Reason: reason}
	w.Message = in.Seen.Pulling[m.Name]
	if x := f.Sandbox.Failure; x != nil {
		w.Message = x.Message // kubelet tells it in an event only
	}
	return w
}

func failureState(m member, x *Failure, now time.Time) *v1.ContainerStateWaiting {
	if x.pullFailed() && !now.Before(x.At.Add(pullErrorShown)) {
		return &v1.ContainerStateWaiting{
			Reason:  reasonPullBackOff,
			Message: fmt.Sprintf("Back-off pulling image %q: %s: %s", m.Image, x.Reason, x.Message),
		}
	}
	return &v1.ContainerStateWaiting{Reason: x.Reason, Message: x.Message}
}

func containerID(a *Attempt) string {
	if a.ID == "" {
		return ""
	}
	return "containerd://" + a.ID
}

// terminated returns the state of an attempt that exited.
func terminated(a *Attempt) *v1.ContainerStateTerminated {
	t := &v1.ContainerStateTerminated{ExitCode: a.Exit.Code, Reason: a.Exit.Reason, Message: a.Exit.Message}
	if a.Exit.Reason == reasonStatusUnknown {
		return t // kubelet tells no more of a container that it could not find
	}
	t.ContainerID = containerID(a)
	t.FinishedAt = metav1.NewTime(a.Exit.At)
	t.StartedAt = metav1.NewTime(a.StartedAt)
	if a.StartedAt.IsZero() {
		t.StartedAt = metav1.NewTime(time.Unix(0, 0)) // as the CRI has it of what never started
	}
	return t
}

func mountStatuses(ms []v1.VolumeMount) []v1.VolumeMountStatus {
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

// coverMissing reports containers of an ended pod that still wait, but must
// have been meant to run by then, as kubelet does: as terminated, unknown how.
func coverMissing(pod *v1.Pod, s *v1.PodStatus) {
	touched := func(c v1.ContainerStatus) bool {
		return c.State.Waiting == nil || c.LastTerminationState.Terminated != nil
	}
	cover := func(cs []v1.ContainerStatus) {
		for i := range cs {
			if cs[i].State.Terminated == nil {
				cs[i].State = v1.ContainerState{Terminated: &v1.ContainerStateTerminated{
					ExitCode: codeUnknown, Reason: reasonStatusUnknown, Message: messageTerminated,
				}}
			}
		}
	}
	initialized := len(pod.Spec.InitContainers) == 0 || slices.ContainsFunc(s.ContainerStatuses, touched)
	if n := len(s.InitContainerStatuses); n > 0 {
		last := s.InitContainerStatuses[n-1]
		for _, t := range []*v1.ContainerStateTerminated{last.State.Terminated, last.LastTerminationState.Terminated} {
			initialized = initialized || inits(pod)[n-1].kind == kindInit && t != nil && t.ExitCode == 0
		}
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
	if initialized {
		cover(s.ContainerStatuses)
	}
}
