package lifecycle

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/davit-agent/davit/agent/lifecycle/podstatus"
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
	if !f.Accepted.IsZero() {
		t := metav1.NewTime(f.Accepted)
		s.StartTime = &t
	}
	if e := f.Ended; e != nil && e.Rejected {
		s.Phase, s.Reason, s.Message = e.Phase, e.Reason, e.Message
		return s
	}
	setAddresses(in.Pod, f, &s)
	s.Resources, s.AllocatedResources = in.Pod.Spec.Resources.DeepCopy(), qos.Requests(in.Pod)
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
	s.Phase = podstatus.Phase(in.Pod, &s)
	c := conditionInput(in, &s)
	if f.Ended != nil {
		s.Phase = f.Ended.Phase
		s.Reason, s.Message = f.Ended.Reason, f.Ended.Message
		podstatus.Cover(&s, podstatus.Unknown{Code: codeUnknown, Reason: reasonStatusUnknown, Message: messageTerminated}, initialized(in.Pod, f))
	}
	setStuck(in, &s)
	s.Conditions = podstatus.Conditions(c)
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

// conditionInput is what the conditions follow from; s has the phase of a pod
// that has not ended.
func conditionInput(in Input, s *v1.PodStatus) podstatus.Input {
	c := podstatus.Input{
		Pod: in.Pod, Status: s, Phase: s.Phase, Before: in.Facts.Conditions,
		Sandbox: !in.Facts.Sandbox.ReadyAt.IsZero(), Now: stamp(in.Now),
	}
	if e := in.Facts.Evicted; e != nil && e.Reason == reasonEvicted {
		c.Disrupted = e.Message
	}
	// A pod that was deleted before it got anywhere fails, but its conditions tell
	// how far it had got.
	over, _, _ := outcome(in.Pod, &in.Facts)
	switch e := in.Facts.Ended; {
	case e != nil && (over != "" || s.Phase != v1.PodPending):
		c.Phase = e.Phase
	case e == nil && over != "" && in.Facts.Evicted == nil && !anyRuns(in.Pod, &in.Facts):
		c.Phase = over // ephemeral containers do not count
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
	var ips []netip.Addr
	if f.Sandbox.used(pod, f) { // until then nobody can be reached there
		ips = f.PodIPs
	}
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
	cf, at := in.Facts.Containers[m.Name], stamp(in.Now)
	// Until it runs and its postStart hook has succeeded kubelet reports what was
	// before.
	starting := (m.starting(cf.Current) || cf.Current.pending() && cf.Failure == nil) && in.Facts.Deletion == nil && in.Facts.Evicted == nil
	if starting && cf.Last != nil {
		if until := cf.BackOff.Until; !until.IsZero() {
			at = until.Add(-1)
		}
		cf = ContainerFacts{RestartCount: cf.RestartCount, Current: cf.Last, BackOff: cf.BackOff}
		starting = false
	}
	s := v1.ContainerStatus{
		Name:         m.Name,
		Image:        m.Image,
		RestartCount: cf.RestartCount,
		VolumeMounts: podstatus.Mounts(m.VolumeMounts),
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
	case a.running() && !starting:
		s.State.Running = &v1.ContainerStateRunning{StartedAt: metav1.NewTime(a.StartedAt)}
	case a != nil && a.Exit != nil:
		s.State.Terminated = terminated(a)
	}
	if s.State.Running == nil {
		if w := waiting(in, m, cf, at); w != nil {
			s.LastTerminationState, s.State = s.State, v1.ContainerState{Waiting: w}
		}
	}
	if s.LastTerminationState.Terminated == nil && cf.Last != nil && cf.Last.Exit != nil {
		s.LastTerminationState.Terminated = terminated(cf.Last)
	}
	started := s.State.Running != nil && (m.StartupProbe == nil || a.Probed.Started)
	s.Started = &started
	s.Ready = started && (m.ReadinessProbe == nil || a.Probed.Ready)
	if m.kind == kindInit {
		s.Ready = s.State.Terminated != nil && s.State.Terminated.ExitCode == 0
	}
	return s
}

// initialized tells whether the last init container came to its end, and was not
// stopped.
func initialized(pod *v1.Pod, f *Facts) bool {
	all := inits(pod)
	if len(all) == 0 {
		return true
	}
	last := all[len(all)-1]
	cf := f.Containers[last.Name]
	good := func(a *Attempt) bool {
		return a != nil && a.Exit != nil && a.Exit.Code == 0 && a.stopBegan().IsZero()
	}
	return last.kind == kindInit && (good(cf.Current) || good(cf.Last))
}

// anyRuns tells whether a container runs that is not ephemeral.
func anyRuns(pod *v1.Pod, f *Facts) bool {
	return slices.ContainsFunc(append(inits(pod), mains(pod)...), func(m member) bool { return f.Containers[m.Name].Current.running() })
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
func waiting(in Input, m member, cf ContainerFacts, now time.Time) *v1.ContainerStateWaiting {
	pod, f := in.Pod, &in.Facts
	a := cf.Current
	exited := a != nil && a.Exit != nil
	if exited {
		_, _, over := outcome(pod, f)
		inThis := a.in(f.Sandbox.Generation)
		again := a != f.Containers[m.Name].Current || wanted(pod, f, m) // else it was started again
		if over || f.Ended != nil || f.Deletion != nil || !again {
			return nil
		}
		if x := a.startFailure(); x != nil && (!cf.BackOff.Until.After(now) || now.Before(a.Exit.At.Add(startErrorShown))) {
			return x
		}
		if !inThis && !f.Sandbox.lost(a) {
			return &v1.ContainerStateWaiting{Reason: reasonRestartingAll, Message: "The container is removed because RestartAllContainers in place"}
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

// startFailure is how kubelet reports a start that failed, if it is tried again.
func (a *Attempt) startFailure() *v1.ContainerStateWaiting {
	switch {
	case a.startFailed():
		return &v1.ContainerStateWaiting{Reason: reasonPostStart, Message: a.PostStart.Failure}
	case a.Exit.Reason == reasonStartError:
		return &v1.ContainerStateWaiting{Reason: reasonRunError, Message: a.Exit.Message}
	}
	return nil
}

func failureState(m member, x *Failure, now time.Time) *v1.ContainerStateWaiting {
	if x.PullFailed() && !now.Before(x.At.Add(pullErrorShown)) {
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
