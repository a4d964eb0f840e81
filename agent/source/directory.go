package source

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
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
	dir     string
	reader  reader
	log     *slog.Logger
	deliver func(Snapshot)

	files     map[string]*file     // by path
	names     names                // who has which
	writing   map[string]writes    // by base name: files that are open for writing
	dirty     map[string]bool      // base names to be read even if they look the same
	later     map[string]bool      // the dirty ones of the next turn
	fresh     map[string]time.Time // since when paths were found just written to
	pending   map[string]bool      // paths of which nothing is known yet
	recheck   time.Time            // when to look again although nothing happens; zero: never
	delivered *Snapshot
	told      teller
}

// NewDirectory returns the source of the manifests in dir for the node of that
// name. deliver is called by Run, never twice at a time, and whenever something
// changed.
func NewDirectory(dir, nodeName string, log *slog.Logger, deliver func(Snapshot)) *Directory {
	return &Directory{
		dir: dir, reader: reader{nodeName: nodeName, scheme: schemeFile}, log: log.With("dir", dir), deliver: deliver,
		files: map[string]*file{}, names: names{holders: map[string]string{}}, writing: map[string]writes{},
		dirty: map[string]bool{}, later: map[string]bool{}, fresh: map[string]time.Time{}, pending: map[string]bool{}, told: teller{log: log.With("dir", dir)},
	}
}

// Hold tells before Run that a pod of this namespace and full name (with the
// node's suffix) runs from a file: that file keeps the name as long as it
// defines it.
func (d *Directory) Hold(namespace, name, file string) {
	d.names.holders[ID(podspec.KindPod, namespace, name)] = file
}

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
	d.told.tell(snap.Problems)
	if d.delivered != nil && same(*d.delivered, snap) {
		return
	}
	d.delivered = &snap
	d.deliver(snap)
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
