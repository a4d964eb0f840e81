package atomic

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"strings"
	"time"

	"github.com/davit-agent/davit/agent/volumes/payload"
)

const (
	dataLink = "..data"
	dataTemp = "..data_tmp"
)

// Options is what files are made with besides their content.
type Options struct {
	// Group, if not nil, owns everything; it may then read all files and
	// search all directories, as kubelet gives an fsGroup access to a
	// read-only volume.
	Group *int64
	// Mountpoints are paths of directories in the volume at which others are
	// mounted.
	Mountpoints []string
	// Keep are names of generations that are not removed yet.
	Keep []string
}

// Result tells what Write did.
type Result struct {
	Generation string // name of the directory that ..data points to
	Replaced   string // name of the generation before, which is still there; "": none was
}

// Write makes dir, which exists, hold exactly the files wanted.
func Write(dir string, want payload.Payload, o Options) (Result, error) {
	w := &writer{want: want, o: o, cut: func() error { return nil }}
	return w.write(dir)
}

// Current returns the name of the directory that ..data points to; "": there
// is none.
func Current(dir string) string {
	to, err := os.Readlink(path.Join(dir, dataLink))
	if err != nil || !isGeneration(to) {
		return ""
	}
	return to
}

// Sweep removes all generations but the current one and those to be kept.
func Sweep(dir string, keep ...string) error {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	w := &writer{root: root, o: Options{Keep: keep}, cut: func() error { return nil }}
	return errors.Join(w.sweep(Current(dir)), root.Close())
}

// isGeneration tells the names of generations from those of keys and of ..data.
func isGeneration(name string) bool {
	return strings.HasPrefix(name, "..2") && !strings.Contains(name, "/")
}

type writer struct {
	root *os.Root
	want payload.Payload
	o    Options
	cut  func() error // called before each change; tests stop there
}

func (w *writer) write(dir string) (Result, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Result{}, err
	}
	w.root = root
	defer func() { _ = root.Close() }() // nothing was written through it
	current := Current(dir)
	if err := w.sweep(current); err != nil {
		return Result{}, fmt.Errorf("removing old files: %w", err)
	}
	res := Result{Generation: current}
	if current == "" || !w.same(current) {
		next, err := w.generation()
		if err == nil {
			err = w.swap(next)
		}
		if err != nil {
			return Result{}, errors.Join(err, w.sweep(current))
		}
		res = Result{Generation: next, Replaced: current}
	}
	if err := w.mountpoints(); err != nil {
		return Result{}, fmt.Errorf("making mount points inside of the volume: %w", err)
	}
	if err := w.links(); err != nil {
		return Result{}, fmt.Errorf("linking files: %w", err)
	}
	return res, nil
}

// generation writes the files into a directory of their own.
func (w *writer) generation() (string, error) {
	name, err := w.newName()
	if err != nil {
		return "", err
	}
	dir, err := w.root.OpenRoot(name)
	if err != nil {
		return "", err
	}
	defer func() { _ = dir.Close() }()
	dirs := w.want.Dirs()
	for _, d := range dirs {
		if err := w.cut(); err != nil {
			return "", err
		}
		if err := dir.Mkdir(d, 0o700); err != nil {
			return "", err
		}
	}
	for p, f := range w.want {
		if err := w.file(dir, p, f); err != nil {
			return "", err
		}
	}
	for _, d := range append(dirs, ".") {
		if err := w.directory(dir, d); err != nil {
			return "", err
		}
	}
	return name, nil
}

// newName makes an empty directory with a name that was never used.
func (w *writer) newName() (string, error) {
	for range 100 {
		if err := w.cut(); err != nil {
			return "", err
		}
		name := time.Now().UTC().Format("..2006_01_02_15_04_05.") + fmt.Sprintf("%010d", rand.Uint32())
		if err := w.root.Mkdir(name, 0o700); !errors.Is(err, fs.ErrExist) {
			return name, err
		}
	}
	return "", errors.New("no unused name for a directory was found")
}

// file writes one file. Nobody can read it before its mode is set, and nobody
// of a pod can find it before ..data points here.
func (w *writer) file(dir *os.Root, name string, want payload.File) error {
	if err := w.cut(); err != nil {
		return err
	}
	f, err := dir.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	err = w.fill(f, want)
	return errors.Join(err, f.Close())
}

func (w *writer) fill(f *os.File, want payload.File) error {
	if err := w.cut(); err != nil {
		return err
	}
	if _, err := f.Write(want.Data); err != nil {
		return err
	}
	if w.o.Group != nil {
		if err := f.Chown(-1, int(*w.o.Group)); err != nil {
			return err
		}
	}
	return f.Chmod(w.fileMode(want))
}

func (w *writer) directory(dir *os.Root, name string) error {
	if err := w.cut(); err != nil {
		return err
	}
	if err := w.own(dir, name); err != nil {
		return err
	}
	return dir.Chmod(name, w.dirMode())
}

func (w *writer) fileMode(f payload.File) fs.FileMode {
	mode := fs.FileMode(f.Mode).Perm()
	if w.o.Group != nil {
		mode |= 0o440
	}
	return mode
}

func (w *writer) dirMode() fs.FileMode {
	if w.o.Group != nil {
		return 0o755 | fs.ModeSetgid
	}
	return 0o755
}

// own gives an entry, which may be a symlink, to the group.
func (w *writer) own(dir *os.Root, name string) error {
	if w.o.Group == nil {
		return nil
	}
	return dir.Lchown(name, -1, int(*w.o.Group))
}

// swap makes a generation the current one.
func (w *writer) swap(name string) error {
	if err := w.link(name, dataTemp); err != nil {
		return err
	}
	if err := w.cut(); err != nil {
		return err
	}
	return w.root.Rename(dataTemp, dataLink)
}

func (w *writer) link(to, name string) error {
	if err := w.cut(); err != nil {
		return err
	}
	if err := w.root.Symlink(to, name); err != nil {
		return err
	}
	return w.own(w.root, name)
}
