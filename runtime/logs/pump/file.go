package pump

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/davit-agent/davit/runtime/logs/cri"
	"github.com/davit-agent/davit/runtime/logs/spool"
)

// logFile is the log of one container: the live file and its rotated ones.
type logFile struct {
	spec spool.Spec
	lost *atomic.Int64 // bytes, of the whole pump

	mu   sync.Mutex
	f    *os.File // nil: could not be opened, tried again at the next write
	size int64
	rot  time.Time // in the name of the newest rotated file
	out  [2]outlet
	subs map[chan struct{}]struct{}
}

// outlet is the state of one stream in the file.
type outlet struct {
	open bool // the last record is a P
	skip bool // the line that goes on was dropped in part
	loss loss
}

// loss is what was dropped since the file last said so.
type loss struct {
	bytes, lines int64
	err          error
	killed       bool // a pump was killed with something in its hands
}

func (l loss) any() bool { return l.bytes > 0 || l.killed }

func (l loss) text(s cri.Stream) string {
	if l.killed {
		return fmt.Sprintf("[davit: the log pump was killed: up to %d bytes of %s may be missing here, also of the next line]",
			readSize+cri.MaxContent+int(l.bytes), s)
	}
	return fmt.Sprintf("[davit: %d bytes of %s (%d line ends) lost here: %v]", l.bytes, s, l.lines, shortReason(l.err))
}

func newLogFile(s spool.Spec, lost *atomic.Int64) *logFile {
	return &logFile{spec: s, lost: lost, subs: map[chan struct{}]struct{}{}}
}

// openLocked opens or makes the live file and finds out how it ends.
func (l *logFile) openLocked() error {
	if l.f != nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(l.spec.Path), 0o755); err != nil {
		return fmt.Errorf("making log directory: %w", err)
	}
	f, err := os.OpenFile(l.spec.Path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return fmt.Errorf("opening log file: %w", err)
	}
	size, tags, err := takeOver(f)
	if err != nil {
		f.Close()
		return fmt.Errorf("taking over log file: %w", err)
	}
	l.f, l.size = f, size
	if names, err := cri.Rotated(l.spec.Path); err == nil && len(names) > 0 {
		t, _ := cri.RotatedTime(l.spec.Path, names[len(names)-1])
		if t.After(l.rot) {
			l.rot = t
		}
		tags.lookFurther(names, l.spec.MaxSize)
	}
	for s := range l.out {
		l.out[s].open = tags.open[s]
	}
	return nil
}

// write appends records of stream s; what cannot be written is dropped and
// counted. batch must be whole records.
func (l *logFile) write(s cri.Stream, batch cri.Batch, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.out[s].skip {
		batch = l.skipLocked(s, batch)
	}
	if len(batch) == 0 {
		return
	}
	defer l.wakeLocked()
	err := l.openLocked()
	if err == nil {
		err = l.reportLocked(now)
	}
	if err != nil {
		l.dropLocked(s, batch, err)
		return
	}
	for len(batch) > 0 {
		if l.size >= 2*l.spec.MaxSize {
			l.rotateLocked(now)
		}
		n := l.cutLocked(s, batch)
		if n > 0 {
			if err := l.appendLocked(s, batch[:n]); err != nil {
				l.dropLocked(s, batch[l.wroteLocked(err):], err)
				return
			}
		}
		if batch = batch[n:]; len(batch) > 0 {
			l.rotateLocked(now)
		}
	}
}

// cutLocked returns how much of batch goes into the live file before it is
// rotated: up to the last end of a line within the limit, else the first one
// beyond it; all of it when no end of a line is in reach.
func (l *logFile) cutLocked(s cri.Stream, batch cri.Batch) int {
	room := l.spec.MaxSize - l.size
	if int64(len(batch)) <= room || l.out[1-s].open {
		return len(batch)
	}
	best, found := 0, l.size > 0 && !l.out[s].open
	for off := 0; off < len(batch); {
		n, partial := batch[off:].Next()
		off += n
		if partial {
			continue
		}
		if int64(off) > room && found {
			break
		}
		best, found = off, true
	}
	if !found {
		return len(batch)
	}
	return best
}

// shortWrite says that only the first n bytes, whole records, are in the file.
type shortWrite struct {
	n   int
	err error
}

func (e *shortWrite) Error() string { return e.err.Error() }
func (e *shortWrite) Unwrap() error { return e.err }

// wroteLocked returns how much of a batch is in the file despite of err.
func (l *logFile) wroteLocked(err error) int {
	var short *shortWrite
	if errors.As(err, &short) {
		return short.n
	}
	return 0
}

// appendLocked writes records with one write(2). On an error the file ends with
// a whole record.
func (l *logFile) appendLocked(s cri.Stream, batch cri.Batch) error {
	if err := l.openLocked(); err != nil {
		return err
	}
	n, err := l.f.Write(batch)
	if err == nil {
		l.size += int64(n)
		l.out[s].open = batch.Open()
		return nil
	}
	whole := batch.Whole(max(n, 0))
	if n != whole {
		if terr := l.f.Truncate(l.size + int64(whole)); terr != nil {
			// Opening it again cuts the torn record off.
			err = errors.Join(err, terr)
			l.f.Close()
			l.f = nil
		}
	}
	l.size += int64(whole)
	if whole > 0 {
		l.out[s].open = batch[:whole].Open()
	}
	return &shortWrite{n: whole, err: err}
}

// skipLocked drops the rest of a line of which a part was dropped.
func (l *logFile) skipLocked(s cri.Stream, batch cri.Batch) cri.Batch {
	for len(batch) > 0 && l.out[s].skip {
		n, partial := batch.Next()
		l.out[s].skip = partial
		l.countLocked(s, batch[:n])
		batch = batch[n:]
	}
	return batch
}

func (l *logFile) dropLocked(s cri.Stream, batch cri.Batch, err error) {
	o := &l.out[s]
	o.loss.err = err
	if len(batch) == 0 {
		return
	}
	o.skip = batch.Open()
	l.countLocked(s, batch)
}

func (l *logFile) countLocked(s cri.Stream, batch cri.Batch) {
	o := &l.out[s]
	for len(batch) > 0 {
		n, partial := batch.Next()
		text := int64(n - cri.HeaderLen - 1)
		if !partial {
			o.loss.lines++
			text++ // the newline
		}
		o.loss.bytes += text
		l.lost.Add(text)
		batch = batch[n:]
	}
}

// reportLocked says in the file what was dropped before; nothing may be written
// to a stream in between. A line whose beginning is in the file is ended first.
func (l *logFile) reportLocked(now time.Time) error {
	for i := range l.out {
		o, s := &l.out[i], cri.Stream(i)
		if !o.loss.any() {
			continue
		}
		var rec cri.Batch
		if o.open {
			rec = cri.AppendRecord(rec, now, s, false, nil)
		}
		rec = cri.AppendRecord(rec, now, s, false, []byte(o.loss.text(s)))
		if err := l.appendLocked(s, rec); err != nil {
			if l.wroteLocked(err) < len(rec) {
				return err
			}
		}
		o.loss = loss{}
	}
	return nil
}

// shortReason returns the innermost cause, without paths and newlines.
func shortReason(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

// retry reports losses if that works by now.
func (l *logFile) retry(now time.Time) (done bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.out[0].loss.any() && !l.out[1].loss.any() {
		return true
	}
	if l.reportLocked(now) != nil {
		return false
	}
	l.wakeLocked()
	return true
}

// isOpen tells whether the last line of s has no end yet. Where its beginning is
// dropped there is nothing to be ended.
func (l *logFile) isOpen(s cri.Stream) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out[s].open
}

// check has a file that somebody removed made anew, and returns why output is
// being dropped if it is.
func (l *logFile) check() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s, o := range l.out {
		if o.loss.bytes > 0 {
			return fmt.Errorf("dropping %v: %w", cri.Stream(s), o.loss.err)
		}
	}
	if l.f == nil {
		return nil
	}
	mine, err := l.f.Stat()
	if err != nil {
		return fmt.Errorf("checking log file: %w", err)
	}
	l.size = mine.Size() // somebody may have emptied it
	there, err := os.Stat(l.spec.Path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(mine, there) {
		l.f.Close()
		l.f = nil
		err = l.openLocked() // else at the next write
		l.wakeLocked()
	}
	return err
}

func (l *logFile) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f != nil {
		l.f.Close()
		l.f = nil
	}
}

// subscribe returns a channel of capacity 1 that wakes after each change.
func (l *logFile) subscribe() chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	ch := make(chan struct{}, 1)
	l.subs[ch] = struct{}{}
	return ch
}

func (l *logFile) unsubscribe(ch chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.subs, ch)
}

func (l *logFile) wakeLocked() {
	for ch := range l.subs {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// lossy tells whether there are losses that the file does not tell of yet.
func (l *logFile) lossy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out[0].loss.any() || l.out[1].loss.any()
}

// open opens the live file if that works; else the next write tries again.
func (l *logFile) open() {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.openLocked()
}

// killed notes that a pump before this one was killed while it held output of s.
func (l *logFile) killed(s cri.Stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.out[s].loss.killed = true
}
