package agent

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/davit-agent/davit/agent/images"
	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/containerd"
)

const (
	// preloadEvery is how often the directory is looked at without an event.
	preloadEvery = time.Minute
	// preloadSettle is how long the directory must be quiet: an archive that
	// is being copied is not read after each write.
	preloadSettle = 300 * time.Millisecond
	preloadRetry  = 2 * time.Second
)

// importer is what the preloader needs of containerd.
type importer interface {
	// Preload is containerd.Client's.
	Preload(ctx context.Context, dir string) ([]containerd.PreloadResult, error)
}

// preloader imports the archives of a directory: at start, whenever it changes,
// and again when containerd has come back without them.
type preloader struct {
	rt   importer
	dir  string
	log  *slog.Logger
	told map[string]string // errors that are in the log, by file
	note func()            // called after a pass that brought an image

	mu   sync.Mutex
	pass chan struct{} // closed when the import under way, or the next, is over
	idle bool          // the last pass found all there is
}

func newPreloader(rt importer, dir string, note func(), log *slog.Logger) *preloader {
	return &preloader{rt: rt, dir: dir, note: note, log: log, told: map[string]string{}, pass: make(chan struct{})}
}

// Run imports until ctx is cancelled.
func (p *preloader) Run(ctx context.Context) error {
	changes, stop := p.watch()
	defer func() { stop() }()
	for {
		ok := p.once(ctx)
		pause := preloadEvery
		if !ok {
			pause = preloadRetry
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changes:
			if !settle(ctx, changes) {
				return nil
			}
		case <-time.After(pause):
			if changes == nil { // the directory may be there by now
				stop()
				changes, stop = p.watch()
			}
		}
		p.begin()
	}
}

// begin says that what is not found may be found after the coming pass.
func (p *preloader) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.idle {
		p.idle, p.pass = false, make(chan struct{})
	}
}

// once makes one pass; it is false if containerd could not be asked.
func (p *preloader) once(ctx context.Context) bool {
	if p.dir == "" {
		p.end()
		return true
	}
	results, err := p.rt.Preload(ctx, p.dir)
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, runtime.ErrUnavailable) && ctx.Err() == nil {
			p.log.Warn("cannot import images", "dir", p.dir, "err", err)
		}
		if !errors.Is(err, runtime.ErrUnavailable) { // an image is not waited for that a broken directory may hold
			p.end()
		}
		return errors.Is(err, os.ErrNotExist)
	}
	came := false
	for _, r := range results {
		came = came || r.Err == nil && !r.Unchanged
		switch {
		case r.Err != nil && p.told[r.File] != r.Err.Error():
			p.told[r.File] = r.Err.Error()
			p.log.Error("cannot import an image archive", "file", r.File, "err", r.Err)
		case r.Err == nil:
			delete(p.told, r.File)
			if !r.Unchanged {
				p.log.Info("image archive imported", "file", r.File, "images", r.Images)
			}
		}
	}
	p.end()
	if came {
		p.note()
	}
	return true
}

func (p *preloader) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.idle {
		p.idle = true
		close(p.pass)
	}
}

// wait waits for the pass under way, if there is one.
func (p *preloader) wait(ctx context.Context) (waited bool) {
	p.mu.Lock()
	idle, pass := p.idle, p.pass
	p.mu.Unlock()
	if idle {
		return false
	}
	select {
	case <-pass:
		return true
	case <-ctx.Done():
		return false
	}
}

// watch returns a channel of changes of the directory; nil if it is not there.
func (p *preloader) watch() (<-chan fsnotify.Event, func()) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		p.log.Warn("cannot watch the image directory; it is looked at every minute", "err", err)
		return nil, func() {}
	}
	if p.dir == "" || w.Add(filepath.Clean(p.dir)) != nil {
		w.Close()
		return nil, func() {}
	}
	return w.Events, func() { w.Close() }
}

// settle waits until nothing has changed for a while.
func settle(ctx context.Context, changes <-chan fsnotify.Event) bool {
	for {
		select {
		case <-ctx.Done():
			return false
		case <-changes:
		case <-time.After(preloadSettle):
			return true
		}
	}
}

// wrap makes Image wait for an import that is under way before it says that an
// image is not there.
func (p *preloader) wrap(rt images.Runtime) images.Runtime { return waitingImages{rt, p} }

type waitingImages struct {
	images.Runtime
	p *preloader
}

// imageWait bounds how long a pod's worker waits; after that the pod says that
// the image is missing and tries again.
const imageWait = time.Minute

func (w waitingImages) Image(ctx context.Context, ref string) (*runtime.Image, error) {
	img, err := w.Runtime.Image(ctx, ref)
	if !errors.Is(err, runtime.ErrImageNotFound) {
		return img, err
	}
	wait, cancel := context.WithTimeout(ctx, imageWait)
	defer cancel()
	if !w.p.wait(wait) {
		return nil, err
	}
	return w.Runtime.Image(ctx, ref)
}
