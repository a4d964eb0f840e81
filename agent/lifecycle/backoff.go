package lifecycle

import (
	"time"

	"github.com/davit-agent/davit/agent/lifecycle/restart"
)

// The times of kubelet 1.36.
const (
	pullDelay    = 10 * time.Second
	pullMax      = 5 * time.Minute
	createDelay  = 10 * time.Second       // other failures of OpCreate: kubelet's resync
	renewDelay   = 100 * time.Millisecond // what changes all the time causes no faster a row of tries
	setupDelay   = time.Second
	setupMax     = time.Minute
	startDelay   = time.Second // of an OpStart that may still succeed
	startMax     = time.Minute
	signalDelay  = time.Second // of an OpSignal that failed
	signalMax    = 10 * time.Second
	killAgain    = 10 * time.Second
	evictGrace   = time.Second
	minimumGrace = 2 * time.Second // from a stop signal to SIGKILL, whatever the deadline
	// pullErrorShown is how long ErrImagePull is reported before it gives way to
	// ImagePullBackOff. kubelet changes it at its next sync, some seconds later.
	pullErrorShown = 5 * time.Second
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
	reasonPull          = "ErrImagePull"
	reasonNeverPull     = "ErrImageNeverPull"
	reasonPullBackOff   = "ImagePullBackOff"
	reasonCrashLoop     = "CrashLoopBackOff"
	reasonEvicted       = "Evicted"
	reasonDeadline      = "DeadlineExceeded"
	reasonPostStart     = "PostStartHookError"
	reasonCreating      = "ContainerCreating"
	reasonInitializing  = "PodInitializing"
)

const (
	codeStartError = 128
	codeUnknown    = 137
)

// doubled returns base doubled n-1 times, at most limit.
func doubled(base, limit time.Duration, n int32) time.Duration {
	for ; n > 1 && base < limit; n-- {
		base *= 2
	}
	return min(base, limit)
}

// afterExit returns the back-off between the exit of a and the next attempt.
func afterExit(before BackOff, a *Attempt) BackOff {
	began := a.CreatedAt
	if began.IsZero() {
		began = a.StartedAt
	}
	return before.After(restart.Run{First: a.Number == 0, Began: began, Exited: a.Exit.At})
}

// pullFailed tells whether x is a failure to get the image from a registry,
// which has a back-off of its own and is reported in two ways in turn.
func (x *Failure) pullFailed() bool {
	switch x.Reason {
	case reasonPull, "RegistryUnavailable", "SignatureValidationFailed":
		return true
	}
	return false
}

// retryCreate returns when OpCreate is to be tried again after x; zero: now.
func (s *Seen) retryCreate(x *Failure) time.Time {
	switch {
	case x == nil:
		return time.Time{}
	case x.pullFailed():
		return x.renewed(s.ImagesAt, x.At.Add(doubled(pullDelay, pullMax, x.Count)))
	case x.Reason == reasonNeverPull:
		return x.renewed(s.ImagesAt, x.At.Add(createDelay))
	}
	return x.renewed(s.ObjectsAt, x.At.Add(createDelay))
}

// renewed returns when to try again what was to be tried again at t, if what it
// may have failed for want of changed at changed.
func (x *Failure) renewed(changed, t time.Time) time.Time {
	if soon := x.At.Add(renewDelay); changed.After(x.At) && soon.Before(t) {
		return soon
	}
	return t
}

// retryStart returns when OpStart is to be tried again after x; zero: now.
func retryStart(x *Failure) time.Time {
	if x == nil {
		return time.Time{}
	}
	return x.At.Add(doubled(startDelay, startMax, x.Count))
}

// retrySignal returns when OpSignal is to be tried again after x; zero: now.
func retrySignal(x *Failure) time.Time {
	if x == nil {
		return time.Time{}
	}
	return x.At.Add(doubled(signalDelay, signalMax, x.Count))
}

// retrySetup returns when OpSetup is to be tried again after x; zero: now.
func (s *Seen) retrySetup(x *Failure) time.Time {
	if x == nil {
		return time.Time{}
	}
	return x.renewed(s.ObjectsAt, x.At.Add(doubled(setupDelay, setupMax, x.Count)))
}

// failed returns the failure that r is, in a row with before. A row of failed
// pulls is one of its own: a registry does not pay for what failed every 10 s.
func failed(before *Failure, r Result, now time.Time) *Failure {
	x := &Failure{Reason: r.Reason, Message: r.Message, At: now, Count: 1}
	if before != nil && before.pullFailed() == x.pullFailed() && before.Count > 0 && before.Count < 1<<20 {
		x.Count = before.Count + 1
	}
	return x
}
