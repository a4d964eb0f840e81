package keyed

import (
	"context"
	"sync"
)

// Mutex is a lock for each key. The zero value is ready. It has the shape that
// containerd's unpacker wants of its locker.
type Mutex struct {
	mu   sync.Mutex
	held map[string]chan struct{}
}

// Lock waits for the lock of key, or for ctx to end.
func (m *Mutex) Lock(ctx context.Context, key string) error {
	for {
		m.mu.Lock()
		ch, taken := m.held[key]
		if !taken {
			if m.held == nil {
				m.held = map[string]chan struct{}{}
			}
			m.held[key] = make(chan struct{})
			m.mu.Unlock()
			return nil
		}
		m.mu.Unlock()
		select {
		case <-ch:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Unlock gives the lock of key back. The caller must hold it.
func (m *Mutex) Unlock(key string) {
	m.mu.Lock()
	ch, taken := m.held[key]
	delete(m.held, key)
	m.mu.Unlock()
	if !taken {
		panic("keyed: unlock of " + key + ", which nobody holds")
	}
	close(ch)
}
