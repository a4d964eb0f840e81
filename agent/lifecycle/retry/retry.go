// Package retry tells when a step that failed is tried again. It is pure.
//
// What failed for want of an object or an image is tried again as soon as one of
// them has changed; everything else after a delay that doubles.
package retry

import "time"

// Failure is an error of a step, as it is reported. It is part of the pod's
// record.
type Failure struct {
	Reason  string    `json:"reason"`
	Message string    `json:"message"`
	At      time.Time `json:"at"`
	Count   int32     `json:"count"` // in a row
}

// Changes are when ConfigMaps and Secrets, and the images of this node, last
// changed.
type Changes struct{ Objects, Images time.Time }

// Reasons that tell what was missing.
const (
	ReasonPull      = "ErrImagePull"
	ReasonNeverPull = "ErrImageNeverPull"
)

const (
	pullDelay   = 10 * time.Second
	pullMax     = 5 * time.Minute
	createDelay = 10 * time.Second       // other failures of OpCreate: kubelet's resync
	renewDelay  = 100 * time.Millisecond // what changes all the time causes no faster a row of tries
	setupDelay  = time.Second
	setupMax    = time.Minute
	startDelay  = time.Second // of an OpStart that may still succeed
	startMax    = time.Minute
	signalDelay = time.Second // of an OpSignal that failed
	signalMax   = 10 * time.Second
)

// doubled returns base doubled n-1 times, at most limit.
func doubled(base, limit time.Duration, n int32) time.Duration {
	for ; n > 1 && base < limit; n-- {
		base *= 2
	}
	return min(base, limit)
}

// PullFailed tells whether x is a failure to get the image from a registry,
// which has a back-off of its own and is reported in two ways in turn.
func (x *Failure) PullFailed() bool {
	switch x.Reason {
	case ReasonPull, "RegistryUnavailable", "SignatureValidationFailed":
		return true
	}
	return false
}

// Create returns when creating the container is to be tried again after x; zero: now.
func (s Changes) Create(x *Failure) time.Time {
	switch {
	case x == nil:
		return time.Time{}
	case x.PullFailed():
		return x.renewed(s.Images, x.At.Add(doubled(pullDelay, pullMax, x.Count)))
	case x.Reason == ReasonNeverPull:
		return x.renewed(s.Images, x.At.Add(createDelay))
	}
	return x.renewed(s.Objects, x.At.Add(createDelay))
}

// renewed returns when to try again what was to be tried again at t, if what it
// may have failed for want of changed at changed.
func (x *Failure) renewed(changed, t time.Time) time.Time {
	if soon := x.At.Add(renewDelay); changed.After(x.At) && soon.Before(t) {
		return soon
	}
	return t
}

// Start returns when starting the container is to be tried again after x; zero: now.
func Start(x *Failure) time.Time {
	if x == nil {
		return time.Time{}
	}
	return x.At.Add(doubled(startDelay, startMax, x.Count))
}

// Signal returns when signalling it is to be tried again after x; zero: now.
func Signal(x *Failure) time.Time {
	if x == nil {
		return time.Time{}
	}
	return x.At.Add(doubled(signalDelay, signalMax, x.Count))
}

// Setup returns when setting up the pod is to be tried again after x; zero: now.
func (s Changes) Setup(x *Failure) time.Time {
	if x == nil {
		return time.Time{}
	}
	return x.renewed(s.Objects, x.At.Add(doubled(setupDelay, setupMax, x.Count)))
}

// After returns the failure of now, in a row with before. A row of failed pulls is
// one of its own: a registry does not pay for what failed every 10 s.
func After(before *Failure, reason, message string, now time.Time) *Failure {
	x := &Failure{Reason: reason, Message: message, At: now, Count: 1}
	if before != nil && before.PullFailed() == x.PullFailed() && before.Count > 0 && before.Count < 1<<20 {
		x.Count = before.Count + 1
	}
	return x
}
