package subpath

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Dir is the directory of all subPaths, in the pod's own.
const Dir = "volume-subpaths"

// Mount is one volumeMount that has a subPath.
type Mount struct {
	Volume    string // name of the volume
	Path      string // its path on the host, as Setup returned it
	Container string
	Index     int    // of the volumeMount in the container
	SubPath   string // subPath or subPathExpr, expanded
}

// target is the path that the container gets.
func (m Mount) target(podDir string) (string, error) {
	for _, name := range []string{m.Volume, m.Container} {
		if name == "" || name != filepath.Base(name) || name[0] == '.' {
			return "", fmt.Errorf("%q is no name of a volume or container", name)
		}
	}
	return filepath.Join(podDir, Dir, m.Volume, m.Container, strconv.Itoa(m.Index)), nil
}

// Bind mounts what f refers to and returns where.
func Bind(f *os.File, podDir string, m Mount) (string, error) {
	target, err := m.target(podDir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o750); err != nil {
		return "", err
	}
	if err := unmount(target); err != nil {
		return "", err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return "", err
	}
	if err := place(target, st.Mode&unix.S_IFMT == unix.S_IFDIR); err != nil {
		return "", err
	}
	clone, err := unix.OpenTree(int(f.Fd()), "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return "", fmt.Errorf("cloning the mount of %s: %w", f.Name(), err)
	}
	defer func() { _ = unix.Close(clone) }()
	if err := unix.MoveMount(clone, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return "", fmt.Errorf("mounting %s on %s: %w", f.Name(), target, err)
	}
	return target, nil
}

// unmount takes away whatever earlier calls mounted on target.
func unmount(target string) error {
	for range 100 {
		err := unix.Unmount(target, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		switch {
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT): // nothing is mounted there
			return nil
		case err != nil:
			return fmt.Errorf("unmounting %s: %w", target, err)
		}
	}
	return fmt.Errorf("something mounts on %s again and again", target)
}

// place makes what is mounted upon: a directory for a directory, else a file.
func place(target string, dir bool) error {
	info, err := os.Lstat(target)
	switch {
	case err == nil && info.Mode().Type() == fs.ModeDir && dir, err == nil && info.Mode().IsRegular() && !dir:
		return nil
	case err == nil:
		if err := os.Remove(target); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if dir {
		return os.Mkdir(target, 0o750)
	}
	f, err := os.OpenFile(target, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	return f.Close()
}
