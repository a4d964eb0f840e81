package containerd

import (
	"context"
	"sync"
)

// locks serialises the calls that change one container. A call whose caller
// has gone away goes on to its end and holds its lock until then.
type locks struct {
	mu   sync.Mutex
	held map[string]chan struct{}
}

// lock waits for the lock of id and returns the function that gives it back.
func (l *locks) lock(ctx context.Context, id string) (func(), error) {
	for {
		l.mu.Lock()
		ch, taken := l.held[id]
		if !taken {
			if l.held == nil {
				l.held = map[string]chan struct{}{}
			}
			ch = make(chan struct{})
			l.held[id] = ch
			l.mu.Unlock()
			return func() {
				l.mu.Lock()
				delete(l.held, id)
				l.mu.Unlock()
				close(ch)
			}, nil
		}
		l.mu.Unlock()
		select {
		case <-ch:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// detached runs f under the lock of id to its end, with a context that ends
// by opTimeout only. The daemon and the OCI runtime leave half-made things
// behind if they are cancelled; so the caller's cancellation ends its wait.
func (c *Client) detached(ctx context.Context, id string, f func(context.Context) error) error {
	unlock, err := c.locks.lock(ctx, id)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		defer unlock()
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
