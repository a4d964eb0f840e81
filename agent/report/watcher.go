package report

import (
	"context"
	"sync"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// change is the newest state of one pod.
type change struct {
	pod  *v1.Pod // the last state, also of a pod that is gone
	gone bool
}

// watcher holds what one reader has not been told yet: at most one change for
// each pod, in the order in which the pods first changed.
type watcher struct {
	wake chan struct{} // capacity 1

	mu      sync.Mutex
	pending map[string]change
	order   []string

	known map[string]bool // UIDs the reader was told of; run's own
}

func newWatcher() *watcher {
	return &watcher{
		wake:    make(chan struct{}, 1),
		pending: map[string]change{},
		known:   map[string]bool{},
	}
}

// tell notes the newest state of a pod; it never blocks.
func (w *watcher) tell(uid string, c change) {
	w.mu.Lock()
	if _, ok := w.pending[uid]; !ok {
		w.order = append(w.order, uid)
	}
	w.pending[uid] = c
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// next takes the oldest pending change. The reader may get a state that has been
// replaced since; the newer one then follows.
func (w *watcher) next() (watch.Event, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.order) > 0 {
		uid := w.order[0]
		w.order = w.order[1:]
		c := w.pending[uid]
		delete(w.pending, uid)
		known := w.known[uid]
		switch {
		case c.gone && !known: // came and went unseen
			continue
		case c.gone:
			delete(w.known, uid)
			return watch.Event{Type: watch.Deleted, Object: c.pod}, true
		case known:
			return watch.Event{Type: watch.Modified, Object: c.pod}, true
		default:
			w.known[uid] = true
			return watch.Event{Type: watch.Added, Object: c.pod}, true
		}
	}
	return watch.Event{}, false
}

func (w *watcher) run(ctx context.Context, out chan<- watch.Event) {
	for {
		ev, ok := w.next()
		if !ok {
			select {
			case <-ctx.Done():
				return
			case <-w.wake:
			}
			continue
		}
		select {
		case <-ctx.Done():
			return
		case out <- ev:
		}
	}
}
