package volumes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/volumes/subpath"
	"github.com/davit-agent/davit/test/testbed/fuse"
)

// deadFS mounts a file system that never answers, as NFS does whose server is
// away, until the returned function is called.
func deadFS(t *testing.T, dir string) (revive func()) {
	t.Helper()
	fuse, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	must(t, err)
	must(t, unix.Mount("dead", dir, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fuse.Fd())))
	closed := false
	revive = func() {
		if !closed {
			closed = true
			must(t, fuse.Close()) // all that waits fails now
		}
	}
	t.Cleanup(func() {
		revive()
		must(t, unix.Unmount(dir, unix.MNT_DETACH))
	})
	return revive
}

// TestDeadFileSystem: neither volumes nor subPaths on it hold up their pod's
// worker, and it does not hold up the pod's end.
func TestDeadFileSystem(t *testing.T) {
	dir, dead := podDir(t), t.TempDir()
	revive := deadFS(t, dead)
	o, m := world()
	o.setConfigMap("cm", "a", "0")
	well := host(t.TempDir(), v1.HostPathDirectory)
	well.Name = "well"
	p := inNS(well, host(filepath.Join(dead, "x"), v1.HostPathDirectory), ofConfigMap("cm"))
	limited := func(do func(context.Context) error) error {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		return do(ctx)
	}
	for i := range 2 {
		o.setConfigMap("cm", "a", fmt.Sprint(i))
		err := limited(func(ctx context.Context) error {
			mounts, err := m.Setup(ctx, p, dir)
			if len(mounts) != 2 {
				t.Errorf("mounts: %v", mounts)
			}
			expectFile(t, filepath.Join(mounts["cm"].HostPath, "a"), fmt.Sprint(i))
			return err
		})
		want := fmt.Sprintf(`MountVolume.SetUp failed for volume "host" : looking at %s/x, which does not answer: context deadline exceeded`, dead)
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		for _, volume := range []string{dead, filepath.Dir(dead)} { // all of it, and a part
			err = limited(func(ctx context.Context) error {
				_, err := SubPath(ctx, dir, subpath.Mount{Volume: "host", Path: volume, Container: "c", SubPath: filepath.Base(dead) + "/x"})
				return err
			})
			if want := `failed to prepare subPath for volumeMount "host" of container "c"`; err == nil || err.Error() != want || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want %s", err, want)
			}
		}
	}
	must(t, m.Teardown(t.Context(), dir))
	checks.mu.Lock()
	if n := len(checks.running); n != 3 {
		t.Errorf("%d goroutines wait, want one for each path", n)
	}
	checks.mu.Unlock()
	revive()
	// Nothing that waited for it makes anything afterwards.
	eventually(t, "nobody waits any more", func() bool {
		checks.mu.Lock()
		defer checks.mu.Unlock()
		return len(checks.running) == 0
	})
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestTeardownOfADeadMount: a container that may mount into its volumes on the
// node left a file system there that is dead, and something mounted inside of
// that; the path to it leads through the dead one.
func TestTeardownOfADeadMount(t *testing.T) {
	dir := podDir(t)
	volume := filepath.Join(dir, emptyDirs, "v")
	point := filepath.Join(volume, "dead")
	must(t, os.MkdirAll(point, 0o755))
	inside := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(inside, nil, 0o600))
	base := t.TempDir()
	dead := fuse.Mount(t, base) // the test unmounts it there
	must(t, unix.Mount(base, point, "", unix.MS_BIND, ""))
	t.Cleanup(func() { _ = unix.Unmount(point, unix.MNT_DETACH) }) // where the teardown fails
	must(t, unix.Mount(inside, filepath.Join(point, "fine"), "", unix.MS_BIND, ""))
	dead.Stop()
	_, m := world()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must(t, m.Teardown(ctx, dir))
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestTeardownThatHangs: it is left behind, once, says what it is at, and is not
// needed to be tried for others.
func TestTeardownThatHangs(t *testing.T) {
	base := t.TempDir()
	dead := fuse.Mount(t, base)
	dead.Stop()
	_, m := world()
	hanging, well := filepath.Join(base, "pod"), podDir(t)
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		err := m.Teardown(ctx, hanging)
		cancel()
		if want := "looking at " + hanging + " has been under way since 2"; !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
		must(t, m.Teardown(t.Context(), well))
	}
	running := func() int {
		teardowns.mu.Lock()
		defer teardowns.mu.Unlock()
		return len(teardowns.running)
	}
	if n := running(); n != 1 {
		t.Errorf("%d goroutines wait, want one", n)
	}
	dead.Lift()
	eventually(t, "nobody waits any more", func() bool { return running() == 0 })
}

// TestCancelledTeardownEnds: an agent that leaves removes nothing more.
func TestCancelledTeardownEnds(t *testing.T) {
	dir := podDir(t)
	_, m := world()
	must(t, os.MkdirAll(filepath.Join(dir, emptyDirs, "v", "sub"), 0o755))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Teardown(ctx, dir); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	eventually(t, "it has ended", func() bool {
		teardowns.mu.Lock()
		defer teardowns.mu.Unlock()
		return teardowns.running[dir] == nil
	})
	must(t, m.Teardown(t.Context(), dir))
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
