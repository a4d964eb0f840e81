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
	sign     signature
	mtime    time.Time
	pods     []*Pod // what it defines; of a broken file also what it defined last
	problems []podspec.Problem
	broken   bool
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
		}
		d.dirty, d.later = d.later, map[string]bool{}
	}
	snap := d.merge(complete)
	snap.Problems = append(problems, snap.Problems...)
	snap.Complete = complete
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
		// Somebody may be writing, and the event is still on its way.
		return d.postpone(path, old, now.Add(settleQuiet))
	}
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
	out := &file{broken: true, problems: []podspec.Problem{{File: path, Message: "reading the manifest: " + why}}}
	if f != nil {
		out.pods, out.mtime = f.pods, f.mtime
		if len(f.pods) > 0 {
			out.problems[0].Message += "; the pods that it last defined are kept"
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
	f := &file{sign: sign(info), mtime: info.ModTime()}
	objs, problems := podspec.Read(data, path)
	f.problems = problems
	names := map[string]bool{}
	for _, o := range objs {
		p, problem := identify(o, d.nodeName, now)
		if problem != nil {
			f.problems = append(f.problems, *problem)
			continue
		}
		names[key(p.Pod)] = true
		f.pods = append(f.pods, old.reuse(p))
	}
	if len(objs) == 0 && len(f.problems) == 0 {
		f.problems = []podspec.Problem{{File: path, Line: 1, Message: "there is no object in this file: remove the file if that is meant"}}
	}
	if f.broken = len(f.problems) > 0; !f.broken || old == nil {
		return f
	}
	kept := 0
	for _, p := range old.pods {
		if !names[key(p.Pod)] {
			f.pods = append(f.pods, p)
			kept++
		}
	}
	if kept > 0 {
		f.problems = append(f.problems, podspec.Problem{File: path, Message: fmt.Sprintf("%d pods that the file defined before it was broken are kept as they were", kept)})
	}
	return f
}

// reuse gives a pod that was known before the time at which it was first seen.
func (f *file) reuse(p *Pod) *Pod {
	if f == nil {
		return p
	}
	for _, o := range f.pods {
		if o.Pod.UID == p.Pod.UID && key(o.Pod) == key(p.Pod) {
			p.Pod.Annotations[AnnotationSeen] = o.Pod.Annotations[AnnotationSeen]
		}
	}
	return p
}

// merge makes one set of all files; where two define a name, see the package
// comment.
func (d *Directory) merge(complete bool) Snapshot {
	snap := Snapshot{Pods: map[string]*Pod{}}
	paths := slices.SortedFunc(maps.Keys(d.files), func(a, b string) int {
		if c := d.files[a].mtime.Compare(d.files[b].mtime); c != 0 {
			return c
		}
		return strings.Compare(a, b)
	})
	claims := map[string][]*Pod{}
	var order []string
	for _, path := range paths {
		for _, p := range d.files[path].pods {
			k := key(p.Pod)
			if claims[k] == nil {
				order = append(order, k)
			}
			claims[k] = append(claims[k], p)
		}
	}
	var problems []podspec.Problem
	for _, k := range order {
		winner := d.winner(k, claims[k])
		for _, p := range claims[k] {
			if winner == nil {
				problems = append(problems, podspec.Problem{File: p.Origin, Line: p.Line, Object: "Pod/" + k, Field: "metadata.name", Message: fmt.Sprintf(
					"the name is that of a pod from %s, which cannot be read now: repair or remove that file", d.holders[k])})
			} else if p != winner {
				problems = append(problems, duplicate(p, winner))
			}
		}
		if winner == nil {
			continue
		}
		if other := snap.Pods[string(winner.Pod.UID)]; other != nil {
			problems = append(problems, duplicate(winner, other))
			continue
		}
		snap.Pods[string(winner.Pod.UID)] = winner
		d.holders[k] = winner.Origin
	}
	// A name that nobody claims any more is free, unless its file cannot be read.
	maps.DeleteFunc(d.holders, func(k, path string) bool {
		f := d.files[path]
		return complete && claims[k] == nil && (f == nil || !f.broken)
	})
	slices.Sort(paths)
	for _, path := range paths {
		f := d.files[path]
		snap.Problems = append(snap.Problems, f.problems...)
		if f.broken {
			snap.Broken = append(snap.Broken, path)
		}
	}
	snap.Problems = append(snap.Problems, problems...)
	return snap
}

// winner returns which of those that claim a name gets it: the one whose file
// holds it, else the first. nil: it is held by a file that cannot be read.
func (d *Directory) winner(k string, claims []*Pod) *Pod {
	holder := d.holders[k]
	for _, p := range claims {
		if p.Origin == holder {
			return p
		}
	}
	if f := d.files[holder]; d.pending[holder] || (f != nil && f.broken) {
		return nil
	}
	return claims[0]
}
