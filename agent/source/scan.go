package source

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/davit-agent/davit/agent/podspec"
	"github.com/davit-agent/davit/agent/podspec/strictyaml"
)

// maxFiles bounds how many manifests are read. With more, those that come last
// by name are not, and nothing is removed.
const maxFiles = 10_000

// file is what is known of one manifest.
type file struct {
	text
	sign  signature
	mtime time.Time
}

// signature tells versions of a file apart without reading it.
type signature struct {
	dev, ino uint64
	size     int64
	mtim     syscall.Timespec
	ctim     syscall.Timespec
}

func sign(info fs.FileInfo) signature {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return signature{}
	}
	return signature{dev: st.Dev, ino: st.Ino, size: st.Size, mtim: st.Mtim, ctim: st.Ctim}
}

// scan looks at the directory and returns what it wants now.
func (d *Directory) scan(now time.Time) Snapshot {
	d.recheck = time.Time{}
	names, problems := d.list()
	complete := len(problems) == 0
	clear(d.pending)
	if names != nil {
		seen := make(map[string]bool, len(names))
		for _, name := range names {
			path := filepath.Join(d.dir, name)
			if f := d.look(name, path, d.files[path], now); f != nil {
				d.files[path] = f
				seen[path] = true
			}
			complete = complete && !d.pending[path]
		}
		if complete {
			maps.DeleteFunc(d.files, func(path string, _ *file) bool { return !seen[path] })
			maps.DeleteFunc(d.fresh, func(path string, _ time.Time) bool { return !seen[path] })
		}
		d.dirty, d.later = d.later, map[string]bool{}
	}
	snap := d.merge(complete)
	snap.Problems = append(problems, snap.Problems...)
	return snap
}

// list returns the names of the manifests, sorted. With a problem they are not
// all, or nil when nothing is known.
func (d *Directory) list() ([]string, []podspec.Problem) {
	fail := func(format string, args ...any) []podspec.Problem {
		return []podspec.Problem{{File: d.dir, Message: fmt.Sprintf(format, args...)}}
	}
	entries, err := os.ReadDir(d.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fail("the manifest directory does not exist: create it; pods that run from it are kept until then")
	case err != nil:
		return nil, fail("reading the manifest directory: %v; pods that run from it are kept", errors.Unwrap(err))
	}
	names := []string{}
	for _, e := range entries {
		if manifest(e.Name()) && !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	if len(names) > maxFiles {
		return names[:maxFiles], fail("the manifest directory has %d manifests, only the first %d by name are read: put several pods into one file", len(names), maxFiles)
	}
	return names, nil
}

// look returns what is known of a file now, given what was; nil: it is gone, or
// nothing is known of it yet.
func (d *Directory) look(name, path string, old *file, now time.Time) *file {
	if w, open := d.writing[name]; open {
		if until := w.until(); now.Before(until) {
			return d.postpone(path, old, until)
		}
		delete(d.writing, name)
	}
	if old != nil && !d.dirty[name] {
		if info, err := os.Stat(path); err == nil && sign(info) == old.sign {
			return old
		}
	}
	data, info, err := read(path)
	if err == nil && fresh(info, now) {
		// Somebody may be writing, and the event is still on its way. Files that
		// are renamed here one after another are always fresh: wait no longer
		// than settleMax.
		first, waits := d.fresh[path]
		if !waits {
			first, d.fresh[path] = now, now
		}
		if now.Sub(first) < settleMax {
			return d.postpone(path, old, now.Add(settleQuiet))
		}
	}
	delete(d.fresh, path)
	switch {
	case errors.Is(err, errDirectory):
		return nil
	case errors.Is(err, fs.ErrNotExist):
		if _, lerr := os.Lstat(path); lerr != nil {
			return nil
		}
		return old.breaks(path, "it is a symbolic link to a file that does not exist")
	case err != nil:
		return old.breaks(path, err.Error())
	}
	if len(data) == 0 {
		// Made, and about to be written.
		if until := info.ModTime().Add(writeTimeout); now.Before(until) && until.Before(now.Add(2*writeTimeout)) {
			return d.postpone(path, old, until)
		}
	}
	return d.parse(path, data, info, old, now)
}

// fresh tells whether a file was written to within the last settleQuiet, or
// since the scan began.
func fresh(info fs.FileInfo, now time.Time) bool {
	age := now.Sub(info.ModTime())
	return age < settleQuiet && age > -writeTimeout
}

// postpone has a file looked at once more at that time and leaves it at what was
// known of it. What a file wants of which nothing was known is still open.
func (d *Directory) postpone(path string, old *file, at time.Time) *file {
	if d.recheck.IsZero() || at.Before(d.recheck) {
		d.recheck = at
	}
	d.later[filepath.Base(path)] = true
	if old == nil {
		d.pending[path] = true
	}
	return old
}

// breaks returns the state of a file that cannot be read (any more).
func (f *file) breaks(path, why string) *file {
	out := &file{text: text{broken: true, problems: []podspec.Problem{{File: path, Message: "reading the manifest: " + why}}}}
	if f != nil {
		out.entries, out.mtime = f.entries, f.mtime
		if len(f.entries) > 0 {
			out.problems[0].Message += "; what it last defined is kept"
		}
	}
	return out
}

var errDirectory = errors.New("is a directory")

// read returns the content of a regular file, at most strictyaml.MaxSize+1
// bytes. It does not wait for writers of a FIFO.
func read(path string) ([]byte, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return nil, nil, err
	}
	defer func() { _ = f.Close() }() // nothing was written
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, nil, err
	case info.IsDir():
		return nil, nil, errDirectory
	case !info.Mode().IsRegular():
		return nil, nil, errors.New("it is not a regular file")
	}
	data, err := io.ReadAll(io.LimitReader(f, strictyaml.MaxSize+1))
	return data, info, err
}

// parse reads the objects of a file.
func (d *Directory) parse(path string, data []byte, info fs.FileInfo, old *file, now time.Time) *file {
	var before *text
	if old != nil {
		before = &old.text
	}
	f := &file{text: *d.reader.read(data, path, before, now), sign: sign(info), mtime: info.ModTime()}
	if p, exposed := d.exposed(path, info, f.entries); exposed {
		f.problems = append(f.problems, p)
	}
	return f
}

// exposed warns of Secrets in a file that everybody on the node can read.
func (d *Directory) exposed(path string, info fs.FileInfo, entries []entry) (podspec.Problem, bool) {
	if info.Mode().Perm()&0o004 == 0 {
		return podspec.Problem{}, false
	}
	if dir, err := os.Stat(d.dir); err != nil || dir.Mode().Perm()&0o001 == 0 {
		return podspec.Problem{}, false
	}
	for _, e := range entries {
		if o, ok := e.item.(*Object); ok && o.Secret != nil {
			return podspec.Problem{File: path, Line: o.Line, Object: o.id(), Warning: true, Message: fmt.Sprintf(
				"the file holds a Secret and every user of this machine can read it (mode %04o): chmod 600 %s", info.Mode().Perm(), path)}, true
		}
	}
	return podspec.Problem{}, false
}

// merge makes one set of all files; where two define a name, see the package
// comment.
func (d *Directory) merge(complete bool) Snapshot {
	paths := slices.SortedFunc(maps.Keys(d.files), func(a, b string) int {
		if c := d.files[a].mtime.Compare(d.files[b].mtime); c != 0 {
			return c
		}
		return strings.Compare(a, b)
	})
	var items []item
	for _, path := range paths {
		for _, e := range d.files[path].entries {
			items = append(items, e.item)
		}
	}
	snap := d.names.merge(items, func(path string) bool {
		f := d.files[path]
		return d.pending[path] || f != nil && f.broken
	}, complete)
	slices.Sort(paths)
	var problems []podspec.Problem
	for _, path := range paths {
		f := d.files[path]
		problems = append(problems, f.problems...)
		if f.broken {
			snap.Broken = append(snap.Broken, path)
		}
	}
	snap.Problems = append(problems, snap.Problems...)
	return snap
}
