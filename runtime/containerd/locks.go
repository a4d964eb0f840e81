package containerd

import "context"

// detached runs f under the lock of id to its end, with a context that ends
// by opTimeout only. The daemon and the OCI runtime leave half-made things
// behind if they are cancelled; so the caller's cancellation ends its wait, and
// the lock is held until f has returned.
func (c *Client) detached(ctx context.Context, id string, f func(context.Context) error) error {
	if err := c.locks.Lock(ctx, id); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		defer c.locks.Unlock(id)
		octx, cancel := context.WithTimeout(c.withNS(context.WithoutCancel(ctx)), opTimeout)
		defer cancel()
		done <- f(octx)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
