package containerd

import (
	"context"
	"time"
)

// detached runs f under the lock of id to its end, with a context that ends
// by opTimeout only. The daemon and the OCI runtime leave half-made things
// behind if they are cancelled; so the caller's cancellation, or the end of its
// patience, ends its wait, and the lock is held until f has returned.
func (c *Client) detached(ctx context.Context, id, doing string, f func(context.Context) error) error {
	timer := time.NewTimer(c.hangs.waitFor(id, time.Now()))
	defer timer.Stop()
	if err := c.lock(ctx, id, timer.C); err != nil {
		return err
	}
	c.hangs.enter(id, doing, time.Now())
	timer.Reset(c.hangs.patience)
	done := make(chan error) // taken by the caller, or nobody
	left := make(chan struct{})
	defer close(left)
	go func() {
		octx, cancel := context.WithTimeout(c.withNS(context.WithoutCancel(ctx)), opTimeout)
		defer cancel()
		err := f(octx)
		c.hangs.leave(id)
		c.locks.Unlock(id)
		select {
		case done <- err:
		case <-left: // it is news to the pod
			e, _ := c.table.Get(id)
			c.wakes.Add(e.Pod.UID)
		}
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return c.stuck(id)
	}
}

// lock takes the lock of id, unless ctx or timeout ends first.
func (c *Client) lock(ctx context.Context, id string, timeout <-chan time.Time) error {
	lctx, cancel := context.WithCancel(ctx)
	defer cancel()
	got := make(chan error, 1)
	go func() { got <- c.locks.Lock(lctx, id) }()
	select {
	case err := <-got:
		return err
	case <-timeout:
		cancel()
		if <-got == nil {
			c.locks.Unlock(id) // it came at the last moment, too late for f
		}
		return c.stuck(id)
	}
}
