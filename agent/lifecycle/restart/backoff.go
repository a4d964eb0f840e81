package restart

import "time"

// The times of kubelet 1.36.
const (
	crashDelay  = 10 * time.Second // of the second restart; the first is immediate
	crashMax    = 5 * time.Minute
	crashForget = 10 * time.Minute // a run longer than this starts the row anew
)

// BackOff is the state of a container's crash-loop back-off. It is part of the
// pod's record.
type BackOff struct {
	Delay time.Duration `json:"delay,omitempty"` // of the current wait; doubles
	Until time.Time     `json:"until,omitzero"`  // not to be tried before
}

// Run is an attempt that has exited.
type Run struct {
	First         bool // nothing of this container ran before
	Began, Exited time.Time
}

// After returns the back-off between r's exit and the next attempt. The first
// restart, and the first after a long run, is immediate; then the wait is 10 s,
// 20 s, ... 5 min, from the exit.
func (b BackOff) After(r Run) BackOff {
	long := !r.Began.IsZero() && r.Exited.Sub(r.Began) > crashForget
	if r.First || long {
		return BackOff{}
	}
	delay := crashDelay
	if b.Delay > 0 {
		delay = min(2*min(b.Delay, crashMax), crashMax)
	}
	return BackOff{Delay: delay, Until: r.Exited.Add(delay)}
}
