package containerd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/containerd/hang"
	"github.com/davit-agent/davit/runtime/containerd/known"
	"github.com/davit-agent/davit/runtime/containerd/leftover"
	"github.com/davit-agent/davit/runtime/containerd/shim"
)

const (
	// patience is how long a caller waits for an operation that may take
	// opTimeout. It is some hundred times what starting a container takes.
	patience = 15 * time.Second
	// impatience is how long the next one waits once that was in vain.
	impatience = time.Second
	// dying is how long a killed process may take to end before it is asked why.
	dying = 2 * time.Second
	// lookTime bounds looking at what hangs.
	lookTime = 2 * time.Second
	// askAgain is after how long the daemon is asked about a shim that cannot be
	// asked itself.
	askAgain = 10 * time.Second
)

// hangs knows for which containers something hangs. All maps are by container ID.
type hangs struct {
	patience time.Duration
	ctx      context.Context // ends with the client
	cancel   context.CancelFunc
	asking   sync.WaitGroup

	mu     sync.Mutex
	mute   map[string]time.Time // since when the shim does not answer
	killed map[string]time.Time // when SIGKILL was sent first
	busy   map[string]operation
	looks  map[string]*look
}

// operation is what holds a container's lock.
type operation struct {
	doing string
	since time.Time
}

// look is an inspection; the text is there once done is closed.
type look struct {
	done chan struct{}
	text string
}

func newHangs() *hangs {
	h := &hangs{
		patience: patience, mute: map[string]time.Time{}, killed: map[string]time.Time{},
		busy: map[string]operation{}, looks: map[string]*look{},
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h
}

func (h *hangs) close() {
	h.cancel()
	h.asking.Wait()
}

// waitFor returns how long to wait for the next operation on id.
func (h *hangs) waitFor(id string, now time.Time) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if op, ok := h.busy[id]; ok && now.Sub(op.since) > h.patience {
		return impatience
	}
	return h.patience
}

func (h *hangs) enter(id, doing string, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.busy[id] = operation{doing, now}
}

func (h *hangs) leave(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.busy, id)
}

// silent tells whether the shim of id was asked and has not answered.
func (h *hangs) silent(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, ok := h.mute[id]
	return ok
}

// kill notes that id was sent SIGKILL and reports whether it should be dead by
// now.
func (h *hangs) kill(id string, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	first, ok := h.killed[id]
	if !ok {
		h.killed[id] = now
	}
	return ok && now.Sub(first) > dying
}

// forget is for a container that has ended or is gone.
func (h *hangs) forget(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.killed, id)
}

// silence notes that the shim of a container did not answer the daemon in time.
// From now on nobody asks it anything: what it is sent meanwhile fills its
// socket, and the daemon hangs for all of its callers when that is full. One
// question is left with it, and when that is answered the pod is woken.
func (c *Client) silence(id, group, uid string) {
	h := c.hangs
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.mute[id]; ok || h.ctx.Err() != nil {
		return
	}
	h.mute[id] = time.Now()
	c.log.Warn("a shim does not answer", "container", id, "uid", uid)
	h.asking.Go(func() {
		err := c.askSilent(id, group)
		h.mu.Lock()
		delete(h.mute, id)
		h.mu.Unlock()
		if h.ctx.Err() == nil {
			c.log.Info("a shim answers again, or is gone", "container", id, "uid", uid, "answer", err)
			c.wakes.Add(uid)
		}
	})
}

// askSilent returns when the shim has answered or is gone.
func (c *Client) askSilent(id, group string) error {
	ctx := c.hangs.ctx
	conn, err := shim.Dial(ctx, shim.Address(c.cfg.Address, c.cfg.Namespace, group), c.cfg.Namespace)
	if err != nil { // another kind of shim listens elsewhere
		select {
		case <-time.After(askAgain):
		case <-ctx.Done():
		}
		return err
	}
	_, err = conn.State(ctx, id)
	return errors.Join(err, conn.Close())
}

// stuck returns the error for a container for which something hangs.
func (c *Client) stuck(id string) error {
	text := c.hindrance(id)
	if text == "" {
		text = "no answer"
	}
	return fmt.Errorf("%w: %s", runtime.ErrStuck, text)
}

// hindrance tells people what hangs for a container; "": nothing does.
func (c *Client) hindrance(id string) string {
	h, now := c.hangs, time.Now()
	h.mu.Lock()
	mute, isMute := h.mute[id]
	killed, isKilled := h.killed[id]
	op, isBusy := h.busy[id]
	isKilled, isBusy = isKilled && now.Sub(killed) > dying, isBusy && now.Sub(op.since) >= h.patience
	if !isMute && !isKilled && !isBusy {
		h.mu.Unlock()
		return ""
	}
	l := h.looks[id]
	if l == nil { // one at a time
		l = &look{done: make(chan struct{})}
		h.looks[id] = l
		go func() {
			l.text = c.inspect(id, isMute || isBusy)
			h.mu.Lock()
			delete(h.looks, id)
			h.mu.Unlock()
			close(l.done)
		}()
	}
	h.mu.Unlock()
	var texts []string
	timer := time.NewTimer(lookTime)
	defer timer.Stop()
	select {
	case <-l.done:
		if l.text != "" {
			texts = append(texts, l.text)
		}
	case <-timer.C:
		texts = append(texts, "looking at its processes hangs, too")
	}
	switch {
	case len(texts) == 0 && !isMute && !isBusy:
		return "" // it has ended, or is about to: the event is on its way
	case isMute:
		texts = append(texts, "the shim was asked at "+clock(mute))
	}
	if isBusy {
		texts = append(texts, op.doing+" the container has been under way since "+clock(op.since))
	}
	if isKilled {
		texts = append([]string{"the container was killed at " + clock(killed)}, texts...)
	}
	return strings.Join(texts, "; ")
}

func clock(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// inspect looks at a container's processes, and at its shim if that is asked for.
func (c *Client) inspect(id string, withShim bool) string {
	e, _ := c.table.Get(id)
	cgroups, err := leftover.Cgroups(e.Cgroup)
	if err != nil {
		return err.Error()
	}
	var texts []string
	if ps := hang.Stuck(cgroups); len(ps) > 0 {
		texts = append(texts, hang.Names(ps))
	}
	if withShim {
		group := cmp.Or(c.groups.NameOf(id), e.Group)
		if s, ok := hang.FindShim(hang.ShimID{Address: c.cfg.Address, Namespace: c.cfg.Namespace, Group: group}, cgroups); ok {
			texts = append(texts, s.String())
		}
	}
	return strings.Join(texts, "; ")
}

// lastKnown returns what is known of a container whose shim does not answer: it
// runs if its start was begun. That is not entered into the table, where a
// container only moves forward.
func lastKnown(e, have known.Entry, marked bool) runtime.Container {
	out := e.Container
	switch {
	case have.State == runtime.StateRunning || have.State == runtime.StateExited:
		out.State, out.Pid, out.Exit, out.StartedAt = have.State, have.Pid, have.Exit, have.StartedAt
	case marked:
		out.State, out.Pid = runtime.StateRunning, 0
	default:
		out.State, out.Pid = runtime.StateCreated, 0
	}
	return out
}
