package volumes

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/davit-agent/davit/agent/volumes/subpath"
)

// teardownTime is how long a caller waits for a teardown, which goes on.
const teardownTime = 15 * time.Second

// Teardown unmounts and removes all that Setup and SubPath made in dir, the
// pod's own directory, by whatever process. It is fine if nothing of it is there.
// When something cannot be removed, the rest is, and the error tells. What takes
// long goes on behind the caller, the error says what it is at, and the next
// call waits for the same; a caller's cancellation, but not its deadline, ends it.
func (m *Maker) Teardown(ctx context.Context, dir string) error {
	m.forget(dir)
	return teardowns.wait(ctx, dir)
}

// teardowns is shared by all pods: a directory that does not answer holds one
// goroutine, however often it is tried.
var teardowns = &tearing{running: map[string]*teardown{}}

type tearing struct {
	mu      sync.Mutex
	running map[string]*teardown // by the pod's directory
}

// teardown is one that is under way.
type teardown struct {
	dir    string
	cancel context.CancelFunc
	done   chan struct{}
	err    error // valid once done is closed

	at    atomic.Pointer[string] // what it is at
	since time.Time
}

func (ts *tearing) wait(ctx context.Context, dir string) error {
	ts.mu.Lock()
	t := ts.running[dir]
	if t == nil {
		t = &teardown{dir: dir, done: make(chan struct{}), since: time.Now()}
		var tctx context.Context
		tctx, t.cancel = context.WithCancel(context.WithoutCancel(ctx))
		ts.running[dir] = t
		go func() {
			defer t.cancel()
			t.err = t.run(tctx)
			ts.mu.Lock()
			delete(ts.running, dir)
			ts.mu.Unlock()
			close(t.done)
		}()
	}
	ts.mu.Unlock()
	wctx, cancel := context.WithTimeout(ctx, teardownTime)
	defer cancel()
	select {
	case <-t.done:
		return t.err
	case <-wctx.Done():
		if errors.Is(wctx.Err(), context.Canceled) {
			t.cancel()
		}
		what := "looking at " + dir
		if at := t.at.Load(); at != nil {
			what = *at
		}
		return fmt.Errorf("%s has been under way since %s: %w", what, t.since.UTC().Format(time.RFC3339), wctx.Err())
	}
}

func (t *teardown) note(doing, path string) {
	s := doing + " " + path
	t.at.Store(&s)
}

func (t *teardown) run(ctx context.Context) error {
	var errs []error
	// subPaths first: they hold what lies below the volumes.
	for _, name := range []string{subpath.Dir, "volumes"} {
		if err := t.unmountBelow(filepath.Join(t.dir, name)); err != nil {
			errs = append(errs, fmt.Errorf("unmounting %s: %w", name, err))
			continue
		}
		t.note("removing", filepath.Join(t.dir, name))
		if err := removeTree(ctx, t.dir, name); err != nil {
			errs = append(errs, fmt.Errorf("removing %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// unmountBelow unmounts everything at and below dir without looking at any of
// it. Lazily: what a dead file system or a process holds goes from the tree at
// once and is freed later. Outermost first: that takes along what is mounted
// inside, to which the path may lead through a file system that is dead.
func (t *teardown) unmountBelow(dir string) error {
	real, err := resolveParent(dir)
	if errors.Is(err, unix.ENOENT) {
		return nil
	} else if err != nil {
		return err
	}
	for range 10 { // mounts may be stacked on one another
		mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(real))
		if err != nil {
			return fmt.Errorf("reading the mount table: %w", err)
		}
		if len(mounts) == 0 {
			return nil
		}
		var errs []error
		for _, path := range outermost(mounts) {
			t.note("unmounting", path)
			err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
			if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
				errs = append(errs, fmt.Errorf("%s: %w", path, err))
			}
		}
		if len(errs) > 0 {
			return errors.Join(errs...)
		}
	}
	return fmt.Errorf("something mounts on %s again and again", dir)
}

// outermost returns the mount points that lie in no other, each once.
func outermost(mounts []*mountinfo.Info) []string {
	points := make([]string, 0, len(mounts))
	for _, m := range mounts {
		points = append(points, m.Mountpoint)
	}
	slices.SortFunc(points, func(a, b string) int { return strings.Compare(a+"/", b+"/") })
	return slices.CompactFunc(points, func(outer, p string) bool { return p == outer || strings.HasPrefix(p, outer+"/") })
}

// resolveParent returns dir as the mount table has it: its parent, which no
// container can write to, without symlinks.
func resolveParent(dir string) (string, error) {
	parent, err := filepath.EvalSymlinks(filepath.Dir(dir))
	if err != nil {
		return "", err
	}
	return filepath.Join(parent, filepath.Base(dir)), nil
}
