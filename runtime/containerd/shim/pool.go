package shim

import (
	"context"
	"sync"
)

// Pool holds connections to shims, one per group. It is used while the daemon
// is away and empty otherwise.
type Pool struct {
	address, namespace string

	mu    sync.Mutex
	conns map[string]*Client
}

// NewPool makes an empty pool for the shims of a daemon's namespace.
func NewPool(address, namespace string) *Pool {
	return &Pool{address: address, namespace: namespace, conns: map[string]*Client{}}
}

// Get returns the connection to the shim of a group. ErrGone: there is none.
func (s *Pool) Get(ctx context.Context, group string) (*Client, error) {
	s.mu.Lock()
	conn := s.conns[group]
	s.mu.Unlock()
	if conn != nil {
		return conn, nil
	}
	conn, err := Dial(ctx, Address(s.address, s.namespace, group), s.namespace)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if have := s.conns[group]; have != nil {
		_ = conn.Close()
		return have, nil
	}
	s.conns[group] = conn
	return conn, nil
}

// Forget closes the connection to a shim that went away.
func (s *Pool) Forget(group string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if conn := s.conns[group]; conn != nil {
		_ = conn.Close()
		delete(s.conns, group)
	}
}

// Close closes all connections; the pool may be used again.
func (s *Pool) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for group, conn := range s.conns {
		_ = conn.Close()
		delete(s.conns, group)
	}
}
