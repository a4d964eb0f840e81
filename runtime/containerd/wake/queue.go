// Package wake delivers wakes without payload to a reader that may be slow.
package wake

import (
	"slices"
	"sync"
)

// Queue is a queue of pod UIDs in which each stands at most once, so that a
// slow reader costs at most one entry per pod.
type Queue struct {
	mu      sync.Mutex
	pending []string
	signal  chan struct{}
	out     chan string
	stop    chan struct{}
	once    sync.Once
}

// New makes a queue. Close ends it.
func New() *Queue {
	w := &Queue{signal: make(chan struct{}, 1), out: make(chan string), stop: make(chan struct{})}
	go w.run()
	return w
}

// C returns the channel on which the wakes arrive.
func (w *Queue) C() <-chan string { return w.out }

// Add queues a wake and never blocks.
func (w *Queue) Add(uid string) {
	w.mu.Lock()
	if !slices.Contains(w.pending, uid) {
		w.pending = append(w.pending, uid)
	}
	w.mu.Unlock()
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

// Close ends the delivery; the channel stays open.
func (w *Queue) Close() { w.once.Do(func() { close(w.stop) }) }

func (w *Queue) run() {
	for {
		w.mu.Lock()
		if len(w.pending) == 0 {
			w.mu.Unlock()
			select {
			case <-w.signal:
				continue
			case <-w.stop:
				return
			}
		}
		uid := w.pending[0]
		w.pending = w.pending[1:]
		w.mu.Unlock()
		select {
		case w.out <- uid:
		case <-w.stop:
			return
		}
	}
}
