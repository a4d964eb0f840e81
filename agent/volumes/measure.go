package volumes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
)

// Usage is what an emptyDir takes of its file system.
type Usage struct {
	Bytes  int64 // blocks, not lengths; a file with several names counts once
	Inodes int64
	// Partial: there was not enough time, or memory, to see all; it is more.
	Partial bool
}

// Measure returns the usage of a pod's emptyDirs by volume, of those that are
// there. It does not leave them: it follows no symlink and crosses no mount. It
// looks at every file of those on disk (about a second for a million) and ends
// with ctx, returning what it has seen.
func Measure(ctx context.Context, pod *v1.Pod, podDir string) (map[string]Usage, error) {
	out := map[string]Usage{}
	var errs []error
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if v.EmptyDir == nil && v.VolumeSource != (v1.VolumeSource{}) {
			continue
		}
		u, err := measure(ctx, filepath.Join(podDir, emptyDirs, v.Name))
		switch {
		case errors.Is(err, unix.ENOENT):
		case err != nil:
			errs = append(errs, fmt.Errorf("measuring volume %q: %w", v.Name, err))
		default:
			out[v.Name] = u
		}
	}
	return out, errors.Join(errs...)
}

// OverLimit returns kubelet's message about the first emptyDir that takes more
// than its sizeLimit, "" if none does. The pod is to be evicted then.
func OverLimit(pod *v1.Pod, used map[string]Usage) string {
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if v.EmptyDir == nil || v.EmptyDir.SizeLimit == nil {
			continue
		}
		limit := v.EmptyDir.SizeLimit
		if limit.Sign() == 1 && used[v.Name].Bytes > limit.Value() {
			return fmt.Sprintf("Usage of EmptyDir volume %q exceeds the limit %q. ", v.Name, limit.String())
		}
	}
	return ""
}

// maxPending bounds what a measurement remembers: bytes of names of directories
// that it has still to enter, and numbers of inodes with several names.
const maxPending = 64 << 20

func measure(ctx context.Context, dir string) (Usage, error) {
	top, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return Usage{}, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(top.Fd()), &st); err != nil {
		return Usage{}, errors.Join(err, top.Close())
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(top.Fd()), &fs); err == nil && fs.Type == unix.TMPFS_MAGIC {
		if there, err := mounted(dir, "tmpfs"); err == nil && there { // a file system of its own knows
			return Usage{Bytes: int64(fs.Blocks-fs.Bfree) * fs.Bsize, Inodes: int64(fs.Files - fs.Ffree)}, top.Close()
		}
	}
	w := &walker{ctx: ctx, dev: st.Dev, seen: map[uint64]bool{}}
	w.count(&st)
	w.walk(top, &st)
	return w.sum, nil
}

type walker struct {
	ctx     context.Context
	dev     uint64
	seen    map[uint64]bool // inodes with several names
	pending int             // bytes of names in frames
	sum     Usage
}

// frame is a directory between the top and the one that is being read.
type frame struct {
	f    *os.File // nil: too deep to be kept open
	ino  uint64
	dirs []string // still to be entered
}

// walk counts what is below a directory, which it closes. It keeps maxOpen
// directories open; to deeper ones it returns by "..".
func (w *walker) walk(top *os.File, st *unix.Stat_t) {
	stack := []frame{{f: top, ino: st.Ino, dirs: w.read(top)}}
	cur := top // the directory of the last frame
	for len(stack) > 0 && w.ctx.Err() == nil {
		last := &stack[len(stack)-1]
		if len(last.dirs) == 0 {
			below := cur
			stack = stack[:len(stack)-1]
			cur, stack = w.up(below, stack)
			_ = below.Close() // read only, as all here
			continue
		}
		name := last.dirs[len(last.dirs)-1]
		last.dirs = last.dirs[:len(last.dirs)-1]
		w.pending -= len(name)
		next, ino := w.enter(cur, name)
		if next == nil {
			continue
		}
		if len(stack) > maxOpen {
			_ = cur.Close()
			last.f = nil
		}
		stack = append(stack, frame{f: next, ino: ino, dirs: w.read(next)})
		cur = next
	}
	w.sum.Partial = w.sum.Partial || len(stack) > 0
	for i := range stack {
		if stack[i].f != nil {
			_ = stack[i].f.Close()
		}
	}
}

// up returns the directory of the last frame. If the way back is not there any
// more, because directories were moved, frames are given up until it is.
func (w *walker) up(from *os.File, stack []frame) (*os.File, []frame) {
	for len(stack) > 0 {
		last := &stack[len(stack)-1]
		if last.f != nil {
			return last.f, stack
		}
		if f, ino := w.open(from, "..", 0); f != nil && ino == last.ino {
			last.f = f
			return f, stack
		} else if f != nil {
			_ = f.Close()
		}
		w.sum.Partial = true
		stack = stack[:len(stack)-1]
	}
	return nil, stack
}

func (w *walker) enter(in *os.File, name string) (*os.File, uint64) {
	return w.open(in, name, unix.RESOLVE_BENEATH)
}

// open returns nil for what went, is no directory any more or lies on another mount.
func (w *walker) open(in *os.File, name string, resolve uint64) (*os.File, uint64) {
	fd, err := unix.Openat2(int(in.Fd()), name, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: resolve | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV,
	})
	if err != nil {
		return nil, 0
	}
	f := os.NewFile(uintptr(fd), name)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Dev != w.dev {
		_ = f.Close()
		return nil, 0
	}
	return f, st.Ino
}

// read counts what is in a directory and returns the directories in it.
func (w *walker) read(dir *os.File) []string {
	var dirs []string
	for w.ctx.Err() == nil {
		names, err := dir.Readdirnames(1024)
		if err != nil {
			w.sum.Partial = w.sum.Partial || !errors.Is(err, io.EOF)
			return dirs
		}
		for _, name := range names {
			var st unix.Stat_t
			if unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil || st.Dev != w.dev {
				continue
			}
			w.count(&st)
			if st.Mode&unix.S_IFMT != unix.S_IFDIR {
				continue
			}
			if w.pending += len(name); w.pending > maxPending {
				w.sum.Partial = true
				return dirs
			}
			dirs = append(dirs, name)
		}
	}
	w.sum.Partial = true
	return dirs
}

// count adds one inode.
func (w *walker) count(st *unix.Stat_t) {
	if st.Nlink > 1 && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		if w.seen[st.Ino] {
			return
		}
		if len(w.seen) >= maxPending/64 { // of its memory
			w.sum.Partial = true
			return
		}
		w.seen[st.Ino] = true
	}
	w.sum.Inodes++
	w.sum.Bytes += st.Blocks * 512
}
