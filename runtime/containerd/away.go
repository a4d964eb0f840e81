package containerd

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/containerd/known"
	"github.com/davit-agent/davit/runtime/containerd/shim"
)

const (
	// shimTimeout bounds a question to a shim; it answers in about a millisecond.
	shimTimeout = 5 * time.Second
	// rewatch is how long a shim that did not answer is left alone.
	rewatch = 5 * time.Second
)

// Adopt enters containers that a record names, so that List and Events know
// of them also when the daemon has not been there since this process began.
func (c *Client) Adopt(refs []runtime.ContainerRef) {
	for _, ref := range refs {
		c.table.Adopt(ref, c.marks.Get(ref.ID))
	}
}

// listAway lists what is known without the daemon.
func (c *Client) listAway(ctx context.Context, uid string) []runtime.Container {
	entries := c.table.OfPod(uid)
	var eg errgroup.Group
	eg.SetLimit(readers)
	for i := range entries {
		if e := &entries[i]; e.Made && e.State != runtime.StateExited {
			eg.Go(func() error { c.ask(ctx, e); return nil })
		}
	}
	_ = eg.Wait()
	var list []runtime.Container
	for _, e := range entries {
		if e.Made { // else nothing says that it exists
			list = append(list, e.Container)
		}
	}
	known.Sort(list)
	return list
}

// ask brings e up to date with what the container's shim says.
func (c *Client) ask(ctx context.Context, e *known.Entry) {
	ctx, cancel := context.WithTimeout(ctx, shimTimeout)
	defer cancel()
	var st shim.Status
	conn, err := c.shims.Get(ctx, e.Group)
	if err == nil {
		st, err = conn.State(ctx, e.ID)
	}
	switch {
	case errors.Is(err, shim.ErrGone), errors.Is(err, shim.ErrNotFound):
		if errors.Is(err, shim.ErrGone) {
			c.shims.Forget(e.Group)
		}
		if e.State == runtime.StateRunning {
			e.State, e.Pid = runtime.StateUnknown, 0
		}
	case err != nil: // it stays as it was known
	case st.Running:
		e.State, e.Pid = runtime.StateRunning, st.Pid
		c.table.Running(e.ID, st.Pid, e.Group, e.StartedAt)
	case st.Created:
		e.State = runtime.StateCreated
	default:
		x, _, _ := c.table.Exited(e.ID, exitOf(st.ExitCode, st.ExitedAt, e.Cgroup))
		e.State, e.Pid, e.Exit = runtime.StateExited, 0, &x
	}
}

// watcher waits for exits at the shims while the daemon is away.
type watcher struct {
	c  *Client
	wg sync.WaitGroup

	mu      sync.Mutex
	waiting map[string]bool      // container IDs
	failed  map[string]time.Time // when its shim last did not answer
}

func newWatcher(c *Client) *watcher {
	return &watcher{c: c, waiting: map[string]bool{}, failed: map[string]time.Time{}}
}

// watch starts to wait for every container that may be running and is not
// waited for yet.
func (w *watcher) watch(ctx context.Context, now time.Time) {
	for _, e := range w.c.table.OfPod("") {
		if !e.Made || e.State == runtime.StateExited || e.Group == "" || e.StartedAt.IsZero() {
			continue
		}
		w.mu.Lock()
		skip := w.waiting[e.ID] || now.Sub(w.failed[e.ID]) < rewatch
		if !skip {
			w.waiting[e.ID] = true
		}
		w.mu.Unlock()
		if !skip {
			w.wg.Go(func() { w.wait(ctx, e) })
		}
	}
}

func (w *watcher) wait(ctx context.Context, e known.Entry) {
	var st shim.Status
	conn, err := w.c.shims.Get(ctx, e.Group)
	if err == nil {
		st, err = conn.Wait(ctx, e.ID)
	}
	if errors.Is(err, shim.ErrGone) {
		w.c.shims.Forget(e.Group)
	}
	w.mu.Lock()
	delete(w.waiting, e.ID)
	if err != nil {
		w.failed[e.ID] = time.Now()
	}
	w.mu.Unlock()
	if err == nil {
		w.c.sawExit(e.ID, st.ExitCode, st.ExitedAt)
	}
}
