package source

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"github.com/davit-agent/davit/agent/podspec"
)

// Times of Run; see the package comment.
const (
	settleQuiet  = 10 * time.Millisecond
	settleMax    = 50 * time.Millisecond
	rescanEvery  = 20 * time.Second
	retryEvery   = time.Second     // while there is no watch
	writeTimeout = 2 * time.Second // after the last write to a file that stays open
	writeMax     = 10 * time.Second
)

// writes are the first and the last write to a file that is held open.
type writes struct{ first, last time.Time }

// until is when a file is read although it was not closed.
func (w writes) until() time.Time {
	if end := w.first.Add(writeMax); end.Before(w.last.Add(writeTimeout)) {
		return end
	}
	return w.last.Add(writeTimeout)
}

// Directory is the source that reads *.yaml, *.yml and *.json in one directory.
type Directory struct {
	dir      string
	nodeName string
	log      *slog.Logger
	deliver  func(Snapshot)

	files     map[string]*file  // by path
	holders   map[string]string // namespace/name -> path that has it
	writing   map[string]writes // by base name: files that are open for writing
	dirty     map[string]bool   // base names to be read even if they look the same
	later     map[string]bool   // the dirty ones of the next turn
	pending   map[string]bool   // paths of which nothing is known yet
	recheck   time.Time         // when to look again although nothing happens; zero: never
	delivered *Snapshot
	told      map[string]bool // problems that are in the log
}

// NewDirectory returns the source of the manifests in dir for the node of that
// name. deliver is called by Run, never twice at a time, and whenever something
// changed.
func NewDirectory(dir, nodeName string, log *slog.Logger, deliver func(Snapshot)) *Directory {
	return &Directory{
		dir: dir, nodeName: nodeName, log: log.With("dir", dir), deliver: deliver,
		files: map[string]*file{}, holders: map[string]string{}, writing: map[string]writes{},
		dirty: map[string]bool{}, later: map[string]bool{}, pending: map[string]bool{}, told: map[string]bool{},
	}
}

// Hold tells before Run that a pod of this namespace and full name (with the
// node's suffix) runs from a file: that file keeps the name as long as it
// defines it.
func (d *Directory) Hold(namespace, name, file string) { d.holders[namespace+"/"+name] = file }

// Run reads the directory until ctx is cancelled; that changes nothing about
// the pods. It returns nil then. Errors of the directory are problems in the
// Snapshot, never an end of Run.
func (d *Directory) Run(ctx context.Context) error {
	var w *watch
	defer func() { w.Close() }()
	for {
		if w != nil && !w.Current(d.dir) {
			w.Close()
			w = nil
		}
		if w == nil {
			var err error
			if w, err = openWatch(d.dir); err != nil && !errors.Is(err, os.ErrNotExist) {
				d.log.Debug("watching the manifest directory failed, polling it", "err", err)
			}
			clear(d.writing)
		}
		d.turn(time.Now())
		if !d.wait(ctx, w) {
			return nil
		}
	}
}

// wait returns when it is time to look again; false: ctx is cancelled.
func (d *Directory) wait(ctx context.Context, w *watch) bool {
	pause := rescanEvery
	if w == nil {
		pause = retryEvery
	}
	if !d.recheck.IsZero() {
		pause = min(pause, max(time.Until(d.recheck), settleQuiet))
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	var last time.Time // the end of settling
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case e, ok := <-w.Events():
			if !ok {
				return true
			}
			now := time.Now()
			if !d.note(e, now) {
				continue
			}
			if last.IsZero() {
				last = now.Add(settleMax)
			}
			timer.Reset(min(settleQuiet, max(0, last.Sub(now))))
		}
	}
}

// note takes an event in; false: it is no reason to look at the directory.
func (d *Directory) note(e event, now time.Time) bool {
	switch {
	case e.lost:
		clear(d.writing)
		return true
	case e.name == "" || e.name == "..data": // the directory itself, or a swap of a mounted volume
		return true
	case !manifest(e.name):
		return false
	}
	d.dirty[e.name] = true
	if e.modified {
		w, known := d.writing[e.name]
		if !known {
			w.first = now
		}
		w.last = now
		d.writing[e.name] = w
		return !known // turn then sees to it that it is looked at in time
	}
	if e.settled {
		delete(d.writing, e.name)
	}
	return true
}

// turn reads what is new and delivers what changed.
func (d *Directory) turn(now time.Time) {
	snap := d.scan(now)
	d.tell(snap.Problems)
	if d.delivered != nil && same(*d.delivered, snap) {
		return
	}
	d.delivered = &snap
	d.deliver(snap)
}

func same(a, b Snapshot) bool {
	if a.Complete != b.Complete || len(a.Pods) != len(b.Pods) || !slices.Equal(a.Broken, b.Broken) || !slices.Equal(a.Problems, b.Problems) {
		return false
	}
	for uid, p := range a.Pods {
		if b.Pods[uid] != p && !reflect.DeepEqual(b.Pods[uid], p) {
			return false
		}
	}
	return true
}

// tell logs each problem once, and once more when it is back after it was gone.
func (d *Directory) tell(problems []podspec.Problem) {
	now := make(map[string]bool, len(problems))
	for _, p := range problems {
		text := p.String()
		now[text] = true
		if !d.told[text] {
			d.log.Warn("manifest problem", "file", p.File, "line", p.Line, "object", p.Object, "field", p.Field, "problem", p.Message)
		}
	}
	if len(d.told) > 0 && len(now) == 0 {
		d.log.Info("manifest problems are solved")
	}
	d.told = now
}

// manifest tells whether a file of this name is one.
func manifest(name string) bool {
	if name == "" || name[0] == '.' || name[0] == '#' {
		return false
	}
	switch filepath.Ext(name) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}
