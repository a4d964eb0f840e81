package atomic

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
)

// entries returns what lies in the volume's directory.
func (w *writer) entries() ([]fs.DirEntry, error) {
	top, err := w.root.Open(".")
	if err != nil {
		return nil, err
	}
	found, err := top.ReadDir(-1)
	return found, errors.Join(err, top.Close())
}

// sweep removes what a Write that was cut left, and old generations that need
// not be kept.
func (w *writer) sweep(current string) error {
	found, err := w.entries()
	if err != nil {
		return err
	}
	for _, e := range found {
		if name := e.Name(); name == dataTemp || isGeneration(name) && name != current && !slices.Contains(w.o.Keep, name) {
			if err := w.cut(); err != nil {
				return err
			}
			if err := w.root.RemoveAll(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// mountpoints makes directories for others to be mounted on; a link in their
// way goes.
func (w *writer) mountpoints() error {
	for _, p := range w.o.Mountpoints {
		at := ""
		for name := range strings.SplitSeq(p, "/") {
			at = path.Join(at, name)
			if err := w.mountpoint(at); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *writer) mountpoint(at string) error {
	switch info, err := w.root.Lstat(at); {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		if err := w.cut(); err != nil {
			return err
		}
		if err := w.root.Remove(at); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := w.cut(); err != nil {
		return err
	}
	if err := w.root.Mkdir(at, 0o700); err != nil {
		return err
	}
	return w.directory(w.root, at)
}

// links makes a link for each name at the top of the files and removes those
// whose files are gone.
func (w *writer) links() error {
	found, err := w.entries()
	if err != nil {
		return err
	}
	tops, reserved := w.want.Tops(), map[string]bool{}
	for _, p := range w.o.Mountpoints {
		top, _, _ := strings.Cut(p, "/")
		reserved[top] = true
	}
	there := map[string]bool{}
	for _, e := range found {
		name := e.Name()
		switch link := e.Type() == fs.ModeSymlink; {
		case strings.HasPrefix(name, ".."):
		case link && tops[name], reserved[name]:
			there[name] = true
		case link || tops[name]:
			// An old link; or a directory that was made as the subPath of
			// a file that was not there yet, which gives way if it is empty.
			if err := w.cut(); err != nil {
				return err
			}
			if err := w.root.Remove(name); err != nil && link {
				return err
			} else if err != nil {
				there[name] = true
			}
		}
	}
	for name := range tops {
		if !there[name] {
			if err := w.link(path.Join(dataLink, name), name); err != nil {
				return err
			}
		}
	}
	return nil
}

// same tells whether a generation is what is wanted. What cannot be read is not.
func (w *writer) same(generation string) bool {
	dir, err := w.root.OpenRoot(generation)
	if err != nil {
		return false
	}
	defer func() { _ = dir.Close() }()
	dirs := map[string]bool{".": true}
	for _, d := range w.want.Dirs() {
		dirs[d] = true
	}
	files := 0
	differs := errors.New("differs")
	err = fs.WalkDir(dir.FS(), ".", func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := dir.Lstat(p)
		if err != nil {
			return err
		}
		if w.o.Group != nil && int64(info.Sys().(*syscall.Stat_t).Gid) != *w.o.Group {
			return differs
		}
		if e.IsDir() {
			if !dirs[p] || info.Mode() != w.dirMode()|fs.ModeDir {
				return differs
			}
			delete(dirs, p)
			return nil
		}
		f, ok := w.want[p]
		if !ok || info.Mode() != w.fileMode(f) || info.Size() != int64(len(f.Data)) || !content(dir, p, f.Data) {
			return differs
		}
		files++
		return nil
	})
	return err == nil && len(dirs) == 0 && files == len(w.want)
}

// content tells whether a file of the right size holds these bytes.
func content(dir *os.Root, name string, want []byte) bool {
	f, err := dir.Open(name)
	if err != nil {
		return false
	}
	have := make([]byte, len(want))
	_, err = io.ReadFull(f, have)
	return errors.Join(err, f.Close()) == nil && bytes.Equal(have, want)
}
