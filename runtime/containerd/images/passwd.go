package images

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"

	"github.com/davit-agent/davit/runtime"
)

// maxAccounts is how much of /etc/passwd and /etc/group is read.
const maxAccounts = 1 << 20

// accounts returns /etc/passwd and /etc/group of an image. They are looked up
// in the directories of the unpacked layers, without mounting: a mount would be
// left over if davit were killed, and unpacking the layers' archives would cost
// seconds for a large image. ctx carries a lease, which holds the view.
func (s *Store) accounts(ctx context.Context, img *runtime.Image) (passwd, group []byte, err error) {
	sn := s.snapshots()
	key := imageLease + shortHash(img.Name)
	mounts, err := sn.View(ctx, key, img.Snapshot)
	if err != nil {
		return nil, nil, fmt.Errorf("viewing snapshot: %w", err)
	}
	defer func() {
		if rerr := sn.Remove(context.WithoutCancel(ctx), key); rerr != nil {
			err = errors.Join(err, fmt.Errorf("removing view: %w", rerr))
		}
	}()
	read := func(dirs []string) error {
		l, err := openLayers(dirs)
		if err != nil {
			return err
		}
		defer l.close()
		if passwd, err = l.read("/etc/passwd"); err != nil {
			return err
		}
		group, err = l.read("/etc/group")
		return err
	}
	if dirs := layerDirs(mounts); dirs != nil {
		err = read(dirs)
	} else { // snapshotters that have block devices instead of directories
		err = mount.WithReadonlyTempMount(ctx, mounts, func(root string) error { return read([]string{root}) })
	}
	return passwd, group, err
}

// layerDirs returns the directories that a view consists of, topmost first;
// nil if it is not made of directories.
func layerDirs(mounts []mount.Mount) []string {
	if len(mounts) != 1 {
		return nil
	}
	switch m := mounts[0]; m.Type {
	case "bind":
		return []string{m.Source}
	case "overlay":
		for _, o := range m.Options {
			if dirs, ok := strings.CutPrefix(o, "lowerdir="); ok {
				return strings.Split(dirs, ":")
			}
		}
	}
	return nil
}

// layers looks files up in overlayfs layers as the kernel would if they were
// mounted (Documentation/filesystems/overlayfs.rst): a directory is merged of
// the directories of that name down to an opaque one, a whiteout or something
// else; a symbolic link leads within the merged tree and never out of it.
type layers []int // O_PATH descriptors of the layers' roots, topmost first

func openLayers(dirs []string) (layers, error) {
	var l layers
	for _, dir := range dirs {
		fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			l.close()
			return nil, fmt.Errorf("opening layer %s: %w", dir, err)
		}
		l = append(l, fd)
	}
	return l, nil
}

func (l layers) close() {
	for _, fd := range l {
		unix.Close(fd)
	}
}

// maxLinks is how many symbolic links a path may lead through, as in the kernel.
const maxLinks = 40

// read returns a file's first megabyte, cut at the end of a line; nil if there
// is no regular file of that name.
func (l layers) read(name string) ([]byte, error) {
	all := make([]int, len(l))
	for i := range l {
		all[i] = i
	}
	dirs := [][]int{all} // for each directory on the way: the layers that make it
	var at []string      // its path
	links := 0
	for todo := split(name); len(todo) > 0; {
		next := todo[0]
		todo = todo[1:]
		if next == ".." {
			if len(at) > 0 {
				at, dirs = at[:len(at)-1], dirs[:len(dirs)-1]
			}
			continue
		}
		e, err := l.entry(path.Join(append(slices.Clone(at), next)...), dirs[len(dirs)-1])
		if err != nil {
			return nil, fmt.Errorf("looking up %s in the image: %w", name, err)
		}
		switch {
		case e.dirs != nil:
			at, dirs = append(at, next), append(dirs, e.dirs)
		case e.link != "":
			if links++; links > maxLinks {
				return nil, nil
			}
			if strings.HasPrefix(e.link, "/") {
				at, dirs = nil, dirs[:1]
			}
			todo = append(split(e.link), todo...)
		case e.file != nil:
			defer e.file.Close()
			if len(todo) > 0 {
				return nil, nil // a file where a directory should be
			}
			data, err := readLines(e.file)
			if err != nil {
				return nil, fmt.Errorf("reading %s of the image: %w", name, err)
			}
			return data, nil
		default:
			return nil, nil
		}
	}
	return nil, nil // a directory
}

func split(name string) []string {
	return slices.DeleteFunc(strings.Split(name, "/"), func(s string) bool { return s == "" || s == "." })
}

// readLines reads up to maxAccounts bytes; of a longer file, whole lines.
func readLines(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxAccounts+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxAccounts {
		data = data[:maxAccounts]
		data = data[:bytes.LastIndexByte(data, '\n')+1]
	}
	return data, nil
}

// layerEntry is what a name stands for; all fields are zero if there is nothing, or
// nothing of use.
type layerEntry struct {
	dirs []int    // a directory: the layers that make it
	link string   // a symbolic link: where it leads
	file *os.File // a regular file, open for reading
}

// entry looks a name up in those layers whose directory above it is visible.
func (l layers) entry(name string, visible []int) (layerEntry, error) {
	var found layerEntry
	for _, i := range visible {
		how := unix.OpenHow{Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC,
			Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS}
		fd, err := unix.Openat2(l[i], name, &how)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return layerEntry{}, err
		}
		stop, err := found.add(i, fd)
		unix.Close(fd)
		if stop || err != nil {
			return found, err
		}
	}
	return found, nil
}

// add takes what one layer has for the name; stop: lower layers do not count.
func (e *layerEntry) add(layer, fd int) (stop bool, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return true, err
	}
	kind := st.Mode & unix.S_IFMT
	if kind == unix.S_IFDIR {
		e.dirs = append(e.dirs, layer)
		return opaque(fd), nil
	}
	if e.dirs != nil {
		return true, nil // hidden below a directory
	}
	switch kind {
	case unix.S_IFLNK:
		buf := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(fd, "", buf)
		e.link = string(buf[:max(n, 0)])
		return true, err
	case unix.S_IFREG:
		e.file, err = os.Open(procFD(fd))
		return true, err
	}
	return true, nil // a whiteout, or something that is not to be opened
}

func procFD(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

// opaque tells whether a directory hides those below it.
func opaque(fd int) bool {
	for _, attr := range []string{"trusted.overlay.opaque", "user.overlay.opaque"} {
		var v [1]byte
		if n, err := unix.Getxattr(procFD(fd), attr, v[:]); err == nil && n == 1 && v[0] == 'y' {
			return true
		}
	}
	return false
}
