package images

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	ctrdimages "github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/containerd/keyed"
)

const (
	// callTimeout bounds calls that only read or write containerd's database.
	callTimeout = 15 * time.Second
	// opTimeout bounds the unpacking of what is here, and clearing away.
	opTimeout    = 2 * time.Minute
	defaultStall = time.Minute
)

// Config is what a Store needs.
type Config struct {
	Client *client.Client
	// Namespace is containerd's; EnsureNamespace makes it if it is not there.
	Namespace       string
	EnsureNamespace func(context.Context) error
	Snapshotter     string
	HostsDir        string        // holds <registry>/hosts.toml; "" is none
	PullStall       time.Duration // see Pull; 0 is a minute
	Logger          *slog.Logger
}

// Store keeps images on containerd. It implements runtime.Images and Image of
// runtime.Runtime.
type Store struct {
	cfg    Config
	log    *slog.Logger
	cache  cache
	leases leaseBook

	reading keyed.Mutex // by reference: one reads an image, the others wait
	blobs   keyed.Mutex // by digest: one fetches a blob or unpacks a layer

	preloading sync.Mutex // one Preload at a time
	facts      factBook
}

// New makes a Store. The daemon need not be there yet.
func New(cfg Config) *Store {
	if cfg.PullStall <= 0 {
		cfg.PullStall = defaultStall
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Store{cfg: cfg, log: cfg.Logger}
}

func (s *Store) withNS(ctx context.Context) context.Context {
	return namespaces.WithNamespace(ctx, s.cfg.Namespace)
}

func (s *Store) records() ctrdimages.Store { return s.cfg.Client.ImageService() }

func (s *Store) content() content.Store { return contentStore{s.cfg.Client.ContentStore()} }

// contentStore fails when the daemon is away. containerd's content.OpenWriter
// takes that for another writer's lock and asks again for ever.
type contentStore struct{ content.Store }

// Writer implements content.Ingester.
func (c contentStore) Writer(ctx context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	w, err := c.Store.Writer(ctx, opts...)
	if errdefs.IsUnavailable(err) && !strings.Contains(err.Error(), "locked") {
		return nil, fmt.Errorf("%w: %s", runtime.ErrUnavailable, err) // errdefs must not recognise it
	}
	if err != nil {
		return nil, err
	}
	return contentWriter{w}, nil
}

type contentWriter struct{ content.Writer }

// Write implements io.Writer.
func (w contentWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	return n, brokenStream(err)
}

// Commit implements content.Writer.
func (w contentWriter) Commit(ctx context.Context, size int64, expected digest.Digest, opts ...content.Opt) error {
	return brokenStream(w.Writer.Commit(ctx, size, expected, opts...))
}

// brokenStream says of an end of the stream to the daemon that the daemon is
// away; that it is one shows in the text alone. What the daemon has against a
// write comes as the answer to that write.
func brokenStream(err error) error {
	if err != nil && strings.HasSuffix(err.Error(), ": EOF") {
		return fmt.Errorf("%w: %w", runtime.ErrUnavailable, err)
	}
	return err
}

func (s *Store) snapshots() snapshots.Snapshotter {
	return s.cfg.Client.SnapshotService(s.cfg.Snapshotter)
}

// detached runs f under the lock of key to its end, with a context that ends by
// opTimeout only: a daemon that is cancelled in the middle leaves things half
// made. The caller's cancellation ends its wait.
func (s *Store) detached(ctx context.Context, key string, f func(context.Context) error) error {
	if err := s.reading.Lock(ctx, key); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		defer s.reading.Unlock(key)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), opTimeout)
		defer cancel()
		done <- f(ctx)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
