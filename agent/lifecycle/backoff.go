package lifecycle

import (
	"time"

	"github.com/davit-agent/davit/agent/lifecycle/restart"
)

// The times of kubelet 1.36.
const (
	killAgain    = 10 * time.Second
	evictGrace   = time.Second
	minimumGrace = 2 * time.Second // from a stop signal to SIGKILL, whatever the deadline
	// pullErrorShown is how long ErrImagePull is reported before it gives way to
	// ImagePullBackOff. kubelet changes it at its next sync, some seconds later.
	pullErrorShown = 5 * time.Second
	// startErrorShown is the same of RunContainerError and PostStartHookError.
	startErrorShown = 5 * time.Second
	// runtimeDownAgain is the safety net beside the wake that is sent when the
	// runtime is back.
	runtimeDownAgain = 10 * time.Second
)

// Reasons that Decide and Status act on.
const (
	reasonCompleted     = "Completed"
	reasonError         = "Error"
	reasonOOMKilled     = "OOMKilled"
	reasonStartError    = "StartError"
	reasonStatusUnknown = "ContainerStatusUnknown"
	reasonRunError      = "RunContainerError"
	reasonPullBackOff   = "ImagePullBackOff"
	reasonCrashLoop     = "CrashLoopBackOff"
	reasonEvicted       = "Evicted"
	reasonDeadline      = "DeadlineExceeded"
	reasonPostStart     = "PostStartHookError"
	reasonRestartingAll = "RestartingAllContainers"
	reasonCreating      = "ContainerCreating"
	reasonInitializing  = "PodInitializing"
)

const (
	codeStartError = 128
	codeUnknown    = 137
)

// afterExit returns the back-off between the exit of a and the next attempt.
func afterExit(before BackOff, a *Attempt) BackOff {
	began := a.CreatedAt
	if began.IsZero() {
		began = a.StartedAt
	}
	return before.After(restart.Run{First: a.Number == 0, Began: began, Exited: a.Exit.At})
}
