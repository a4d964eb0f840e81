package registry

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"
)

// StallError is the cause with which a Watch cancels a pull.
type StallError struct {
	After time.Duration
	What  string // what was waited for longest
}

// Error implements error.
func (e *StallError) Error() string {
	return fmt.Sprintf("the pull has stalled: nothing has arrived for %s while waiting for %s", e.After, e.What)
}

// Watch cancels a context when registries have been waited for, and nothing has
// arrived, for some time.
type Watch struct {
	limit  time.Duration
	cancel context.CancelCauseFunc
	done   chan struct{}

	mu      sync.Mutex
	waiting map[*wait]bool
	idle    time.Duration // waited since something arrived
}

type wait struct {
	what string
	at   time.Time
}

// NewWatch returns a context for what is watched. Stop must be called.
func NewWatch(ctx context.Context, limit time.Duration) (context.Context, *Watch) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &Watch{limit: limit, cancel: cancel, done: make(chan struct{}), waiting: map[*wait]bool{}}
	go w.run(ctx)
	return ctx, w
}

// Stop ends the watch and cancels its context.
func (w *Watch) Stop() {
	w.cancel(context.Canceled)
	<-w.done
}

// watchSteps is into how many parts the limit is divided: how exact it is kept.
const watchSteps = 20

func (w *Watch) run(ctx context.Context) {
	defer close(w.done)
	step := max(w.limit/watchSteps, time.Millisecond)
	tick := time.NewTicker(step)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			// A process that was stopped for an hour has not waited that long.
			w.pass(min(now.Sub(last), 2*step))
			last = now
		}
	}
}

func (w *Watch) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) == 0 {
		return
	}
	if w.idle += d; w.idle < w.limit {
		return
	}
	var longest *wait
	for one := range w.waiting {
		if longest == nil || one.at.Before(longest.at) {
			longest = one
		}
	}
	w.cancel(&StallError{After: w.limit, What: longest.what})
}

// begin says that a registry is waited for; the function that it returns, that
// it is no more and whether something arrived.
func (w *Watch) begin(what string) func(arrived bool) {
	one := &wait{what: what, at: time.Now()}
	w.mu.Lock()
	w.waiting[one] = true
	w.mu.Unlock()
	return func(arrived bool) {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.waiting, one)
		if arrived {
			w.idle = 0
		}
	}
}

// watchedBody is a response's body whose reads are watched.
type watchedBody struct {
	io.ReadCloser
	watch *Watch
	what  string
}

// Read implements io.Reader.
func (b *watchedBody) Read(p []byte) (int, error) {
	end := b.watch.begin(b.what)
	n, err := b.ReadCloser.Read(p)
	end(n > 0)
	return n, err
}
