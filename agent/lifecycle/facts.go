package lifecycle

import (
	"net/netip"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/lifecycle/restart"
	"github.com/davit-agent/davit/agent/lifecycle/retry"
)

// Facts is what is recorded of a pod beside its spec: everything that Decide
// and Status need and that cannot be seen any more after a restart. It is
// stored as JSON in the pod's directory and is part of the versioned format:
// fields are added, never renamed, and an absent field means its zero value.
type Facts struct {
	Format     string                    `json:"format"` // runtime.FormatVersion at acceptance
	BootID     string                    `json:"bootID"` // of the boot in which Containers' current attempts ran
	Accepted   time.Time                 `json:"accepted"`
	PodIPs     []netip.Addr              `json:"podIPs,omitempty"` // primary first; empty with hostNetwork
	HostIPs    []netip.Addr              `json:"hostIPs,omitempty"`
	Sandbox    SandboxFacts              `json:"sandbox"`
	Containers map[string]ContainerFacts `json:"containers,omitempty"` // by name, init containers too
	Deletion   *Deletion                 `json:"deletion,omitempty"`
	// Ended is set once, when the pod is Succeeded or Failed for good; from
	// then on nothing of it is started again.
	Ended *Ended `json:"ended,omitempty"`
	// Evicted is set once, when the node ends the pod before its time.
	Evicted *Eviction `json:"evicted,omitempty"`
	// Cleanup is of the last OpRemove, OpTeardown or OpForget, if that failed.
	Cleanup    *Failure          `json:"cleanup,omitempty"`
	Conditions []v1.PodCondition `json:"conditions,omitempty"` // as last reported: holds transition times
}

// SandboxFacts is what is known of the pod's sandbox (runtime.Sandboxes) and
// everything else that OpSetup makes.
type SandboxFacts struct {
	ReadyAt time.Time `json:"readyAt,omitzero"` // zero: not set up, or taken down
	// Generation counts setups that came after a loss (reboot, lost namespace);
	// containers of an older generation do not count as started in this one.
	Generation uint32 `json:"generation,omitempty"`
	// Rounds of these, the newest, began because a rule restarted all containers
	// (KEP-5532), and not by a loss.
	Rounds  uint32   `json:"rounds,omitempty"`
	Failure *Failure `json:"failure,omitempty"` // of the last OpSetup
	// TornDown: OpTeardown is done and no OpSetup was tried since, so nothing of
	// the sandbox is left. (ReadyAt cannot tell: it is zero after a loss, too.)
	TornDown bool `json:"tornDown,omitempty"`
	// Used: there was one at some time.
	Used bool `json:"used,omitempty"`
}

// ContainerFacts is what is known of one container of the spec.
type ContainerFacts struct {
	RestartCount int32    `json:"restartCount,omitempty"`
	Current      *Attempt `json:"current,omitempty"` // the newest
	Last         *Attempt `json:"last,omitempty"`    // the one before, ended; kubelet's lastState
	BackOff      BackOff  `json:"backOff,omitzero"`  // between Current's exit and the next attempt
	// Failure is of the last OpCreate or OpSignal, or of the last OpStart that
	// may still succeed, until one does. When to try again follows from At and
	// Count.
	Failure *Failure `json:"failure,omitempty"`
}

// BackOff is the state of crash-loop back-off.
type BackOff = restart.BackOff

// Attempt is one attempt to run a container.
type Attempt struct {
	Number     uint32    `json:"number"`
	ID         string    `json:"id"`
	Generation uint32    `json:"generation,omitempty"` // of the sandbox it ran in
	Image      string    `json:"image,omitempty"`
	ImageID    string    `json:"imageID,omitempty"`
	CreatedAt  time.Time `json:"createdAt,omitzero"`
	// Starting is set before the process may exist, and durable before OpStart.
	Starting  time.Time `json:"starting,omitzero"`
	StartedAt time.Time `json:"startedAt,omitzero"`
	Exit      *Exit     `json:"exit,omitempty"`
	Removed   bool      `json:"removed,omitempty"` // OpRemove done
	// TermAt and KillAt tell when the stop signal and SIGKILL were sent.
	TermAt time.Time `json:"termAt,omitzero"`
	KillAt time.Time `json:"killAt,omitzero"`
	User   *User     `json:"user,omitempty"`
	// PostStart and PreStop are set when the hook was begun.
	PostStart *Hook  `json:"postStart,omitempty"`
	PreStop   *Hook  `json:"preStop,omitempty"`
	Probed    Probed `json:"probed,omitzero"`
}

// User is whom a container runs as.
type User struct {
	UID    int64   `json:"uid"`
	GID    int64   `json:"gid"`
	Groups []int64 `json:"groups,omitempty"` // supplementary
}

// Hook is one of a container's lifecycle hooks. One that has not ended is begun
// again by the next process: hooks run at least once.
type Hook struct {
	Began   time.Time `json:"began"`
	Ended   time.Time `json:"ended,omitzero"`
	Failure string    `json:"failure,omitempty"`
}

// Probed is what the probes of an attempt have come to. It means nothing for
// probes that the container does not have.
type Probed struct {
	Started bool       `json:"started,omitempty"` // the startup probe has succeeded
	Ready   bool       `json:"ready,omitempty"`
	Failed  *Unhealthy `json:"failed,omitempty"` // the attempt is to be stopped
}

// Exit is how an attempt ended, as it is reported.
type Exit struct {
	Code    int32     `json:"code"`
	At      time.Time `json:"at"`
	Reason  string    `json:"reason"` // Completed, Error, OOMKilled, StartError, ContainerStatusUnknown
	Message string    `json:"message,omitempty"`
}

// Failure is an error of a step, as it is reported.
type Failure = retry.Failure

// Deletion is a pod's death: data, never a cancelled context.
type Deletion struct {
	At     time.Time     `json:"at"`    // when it was asked for
	Grace  time.Duration `json:"grace"` // from At to SIGKILL
	Reason string        `json:"reason"`
}

// Eviction is why the node ends a pod: it will be Failed, with this reason.
type Eviction struct {
	At      time.Time `json:"at"`
	Reason  string    `json:"reason"` // Evicted or DeadlineExceeded
	Message string    `json:"message"`
}

// Ended is a terminal phase.
type Ended struct {
	Phase   v1.PodPhase `json:"phase"` // Succeeded or Failed
	Reason  string      `json:"reason,omitempty"`
	Message string      `json:"message,omitempty"`
	At      time.Time   `json:"at"`
	// Rejected: the node did not take the pod on, so nothing of it was ever made.
	Rejected bool `json:"rejected,omitempty"`
}
