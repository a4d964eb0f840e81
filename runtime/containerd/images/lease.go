package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
)

// Prefixes of the names of leases that hold images while they are worked on.
const (
	imageLease   = "davit-image-"
	preloadLease = "davit-preload-"
	loadLease    = "davit-load-"
	pullLease    = "davit-pull-"
)

var leasePrefixes = []string{imageLease, preloadLease, loadLease, pullLease}

// leaseLife is for a davit that never comes back.
const leaseLife = 24 * time.Hour

func shortHash(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:8])
}

// leaseBook knows which leases this process holds, so that all others of
// davit's are known to be left over: no other process uses its namespace.
type leaseBook struct {
	mu     sync.Mutex
	held   map[string]bool
	reaped bool
}

func (b *leaseBook) set(name string, held bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held == nil {
		b.held = map[string]bool{}
	}
	if held {
		b.held[name] = true
	} else {
		delete(b.held, name)
	}
}

// lost notes that a lease is held no more and may still be there.
func (b *leaseBook) lost(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.held, name)
	b.reaped = false
}

// Reap deletes the leases that earlier processes, or calls that could not reach
// the daemon at their end, have left, and with them what only those held:
// half-fetched blobs, half-unpacked layers, views. It is for whenever a daemon
// has been connected to; what it cannot delete stays for the next time.
func (s *Store) Reap(ctx context.Context) {
	ctx, cancel := context.WithTimeout(s.withNS(ctx), opTimeout)
	defer cancel()
	if err := s.reap(ctx); err != nil {
		s.log.Warn("deleting old leases failed", "error", err)
	}
}

func (s *Store) reap(ctx context.Context) error {
	s.leases.mu.Lock()
	defer s.leases.mu.Unlock()
	ls := s.cfg.Client.LeasesService()
	all, err := ls.List(ctx)
	if err != nil {
		return fmt.Errorf("listing leases: %w", err)
	}
	var errs []error
	for _, l := range all {
		if !isOurs(l.ID) || s.leases.held[l.ID] {
			continue
		}
		if err := ls.Delete(ctx, l, leases.SynchronousDelete); err != nil && !errdefs.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("deleting lease %s: %w", l.ID, err))
		}
	}
	s.leases.reaped = len(errs) == 0
	return errors.Join(errs...)
}

func isOurs(lease string) bool {
	for _, p := range leasePrefixes {
		if strings.HasPrefix(lease, p) {
			return true
		}
	}
	return false
}

// leased makes the lease of that name, which nobody else may hold, and returns
// ctx with it and a function that gives it up together with everything that
// nothing else holds. What earlier holders that were cut have left goes first:
// a write would go on where a half-written blob of the same name ends.
func (s *Store) leased(ctx context.Context, name string) (context.Context, func(), error) {
	if err := s.cfg.EnsureNamespace(ctx); err != nil {
		return nil, nil, err
	}
	ls := s.cfg.Client.LeasesService()
	s.leases.mu.Lock()
	reaped := s.leases.reaped
	s.leases.mu.Unlock()
	if !reaped {
		if err := s.reap(ctx); err != nil {
			return nil, nil, err
		}
	}
	drop := func(ctx context.Context) error {
		err := ls.Delete(ctx, leases.Lease{ID: name}, leases.SynchronousDelete)
		if errdefs.IsNotFound(err) {
			return nil
		}
		return err
	}
	s.leases.set(name, true)
	_, err := ls.Create(ctx, leases.WithID(name), leases.WithExpiration(leaseLife))
	if errdefs.IsAlreadyExists(err) { // its last holder could not delete it
		if err = drop(ctx); err == nil {
			_, err = ls.Create(ctx, leases.WithID(name), leases.WithExpiration(leaseLife))
		}
	}
	if err != nil {
		s.leases.lost(name) // it may have been made all the same
		return nil, nil, fmt.Errorf("creating lease %s: %w", name, err)
	}
	return leases.WithLease(ctx, name), func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), opTimeout)
		defer cancel()
		if err := drop(ctx); err != nil {
			s.log.Warn("deleting lease failed; it is tried again later", "lease", name, "error", err)
			s.leases.lost(name)
			return
		}
		s.leases.set(name, false)
	}, nil
}
