package volumes

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/davit-agent/davit/agent/volumes/subpath"
)

// Teardown unmounts and removes all that Setup and SubPath made in dir, the
// pod's own directory, by whatever process. It is fine if nothing of it is there.
// When something cannot be removed, the rest is, and the error tells.
func (m *Maker) Teardown(ctx context.Context, dir string) error {
	m.forget(dir)
	var errs []error
	// subPaths first: they hold what lies below the volumes.
	for _, name := range []string{subpath.Dir, "volumes"} {
		if err := unmountBelow(filepath.Join(dir, name)); err != nil {
			errs = append(errs, fmt.Errorf("unmounting %s: %w", name, err))
		} else if err := removeTree(ctx, dir, name); err != nil {
			errs = append(errs, fmt.Errorf("removing %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// unmountBelow unmounts everything at and below dir, innermost first, without
// looking at any of it. Lazily: what a dead file system or a process holds goes
// from the tree at once and is freed later.
func unmountBelow(dir string) error {
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
		slices.SortStableFunc(mounts, func(a, b *mountinfo.Info) int {
			return strings.Count(b.Mountpoint, "/") - strings.Count(a.Mountpoint, "/")
		})
		var errs []error
		for _, m := range mounts {
			err := unix.Unmount(m.Mountpoint, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
			if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
				errs = append(errs, fmt.Errorf("%s: %w", m.Mountpoint, err))
			}
		}
		if len(errs) > 0 {
			return errors.Join(errs...)
		}
	}
	return fmt.Errorf("something mounts on %s again and again", dir)
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
