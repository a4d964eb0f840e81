package volumes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/volumes/subpath"
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
