package pump

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/davit-agent/davit/runtime/logs/cri"
)

// rotateLocked renames the live file and begins a new one. Where that fails the
// old one is written on.
func (l *logFile) rotateLocked(now time.Time) {
	if l.openLocked() != nil {
		return
	}
	// The name has seconds only: a name in use or a clock that went back must
	// neither overwrite a file nor spoil the order of names.
	t := now.UTC().Truncate(time.Second)
	if !t.After(l.rot) {
		t = l.rot.Add(time.Second)
	}
	if err := os.Rename(l.spec.Path, cri.RotatedName(l.spec.Path, t)); err != nil {
		return
	}
	l.rot = t
	l.f.Close()
	l.f = nil
	l.pruneLocked()
	_ = l.openLocked() // else at the next write
}

// pruneLocked removes the oldest rotated files beyond the limit.
func (l *logFile) pruneLocked() {
	names, err := cri.Rotated(l.spec.Path)
	if err != nil {
		return // the next rotation tries again
	}
	for len(names) > l.spec.MaxFiles-1 {
		_ = os.Remove(names[0])
		names = names[1:]
	}
}

// lookBack is how far from its end a file is searched for the last record of
// each stream. A stream that is silent for longer is taken to be between lines.
const lookBack = 256 << 10

// lastTags is how the streams' last records in a file are.
type lastTags struct{ seen, open [2]bool }

func (t *lastTags) all() bool { return t.seen[0] && t.seen[1] }

// add looks at records that lie before those seen already.
func (t *lastTags) add(records []byte) {
	for len(records) > 0 && !t.all() {
		start := bytes.LastIndexByte(records[:len(records)-1], '\n') + 1
		if r, err := cri.Parse(records[start:]); err == nil && !t.seen[r.Stream] {
			t.seen[r.Stream], t.open[r.Stream] = true, r.Partial
		}
		records = records[:start]
	}
}

// takeOver makes f end with a whole record, as a write that was killed may not
// have, and returns its size and its last tags.
func takeOver(f *os.File) (size int64, tags lastTags, err error) {
	buf, size, err := end(f)
	if err != nil {
		return 0, tags, err
	}
	whole := bytes.LastIndexByte(buf, '\n') + 1
	if whole != len(buf) && (whole > 0 || int64(len(buf)) == size) {
		size -= int64(len(buf) - whole)
		if err := f.Truncate(size); err != nil {
			return 0, tags, err
		}
	}
	tags.add(buf[:whole])
	return size, tags, nil
}

// end reads the last lookBack bytes of f.
func end(f *os.File) (buf []byte, size int64, err error) {
	st, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if !st.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s is not a regular file", f.Name())
	}
	size = st.Size()
	from := max(0, size-lookBack)
	buf = make([]byte, size-from)
	_, err = io.ReadFull(io.NewSectionReader(f, from, size-from), buf)
	return buf, size, err
}

// lookFurther completes tags from rotated files, newest last. Only one that grew
// to twice the limit can end within a line.
func (t *lastTags) lookFurther(names []string, maxSize int64) {
	for i := len(names) - 1; i >= 0 && !t.all(); i-- {
		f, err := os.Open(names[i])
		if err != nil {
			return
		}
		buf, size, err := end(f)
		f.Close()
		if err != nil || size < 2*maxSize {
			return
		}
		t.add(buf)
	}
}
