package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/davit-agent/davit/runtime/logs/cri"
)

// openReach is how far back tail looks for the beginning of a line that may
// have been begun long ago. The log of a container that printed one line to
// stderr in its life must not be read as a whole to find out that nothing came
// before; the price is that the rest of a line of which the beginning is
// further back counts as a line of its own.
const openReach = 1 << 20

// tail goes backwards through a container's log until the last lines are in
// what it has passed. Lines count where they begin, and a record begins a line
// if the record before it in its stream ended one; so each stream has a record
// of which it is not known yet, until the next one further back is seen.
type tail struct {
	want int64
	// found is how many beginnings were passed.
	found   int64
	streams [2]struct {
		pending bool  // the last record that was passed may begin a line
		above   int64 // found at that time: so many lines begin behind it
	}
	excess int64 // bytes that were passed since found reached want
	read   int64 // bytes that were passed
}

// start is where the last lines are to be printed from.
type start struct {
	cur  *cursor
	open [2]bool // the stream's next record goes on with a line that is not wanted
	skip int64   // so many lines that begin from cur on are not wanted
}

// lastLines returns from where the last n lines of what is there are printed. It
// reads backwards, little more than what is printed.
func lastLines(ctx context.Context, path string, n int64) (start, error) {
	n = max(n, 0)
	t := &tail{want: max(n, 1)} // one, to learn whether a line is open
	cur, err := t.walk(ctx, path)
	if err != nil {
		cur.close()
		return start{}, err
	}
	s := start{cur: cur}
	for i := range t.streams {
		st := &t.streams[i]
		// What is pending and may matter begins a line: at the beginning of the
		// log there is nothing before it, and beyond openReach nobody looks.
		begins := !st.pending || st.above < t.want
		if st.pending && begins {
			t.found++
		}
		s.open[i] = !begins
	}
	s.skip = max(0, t.found-n)
	return s, nil
}

// walk passes records backwards, file by file, until enough is passed, and
// returns a cursor at the last one. The cursor is to be closed also with an
// error.
func (t *tail) walk(ctx context.Context, path string) (*cursor, error) {
	cur := newCursor(path)
	older, err := cur.openLive()
	if err != nil {
		return cur, err
	}
	if cur.f != nil {
		if done, err := t.walkFile(ctx, cur); err != nil || done {
			return cur, err
		}
	}
	for _, name := range slices.Backward(older) {
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			break // the oldest are deleted first: none is left
		}
		if err != nil {
			return cur, fmt.Errorf("opening log file: %w", err)
		}
		cur.close()
		cur.f, cur.floor = f, name
		if done, err := t.walkFile(ctx, cur); err != nil || done {
			return cur, err
		}
	}
	return cur, nil
}

// openLive moves to the live file, if there is one, and returns the rotated
// files that are older, oldest first. Their names do not change any more.
func (c *cursor) openLive() (older []string, err error) {
	f, err := os.Open(c.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("opening log file: %w", err)
	}
	names, err := cri.Rotated(c.path)
	if err != nil || f == nil {
		if f != nil {
			f.Close()
		}
		return names, err
	}
	c.f = f
	mine, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("reading log file: %w", err)
	}
	for i, name := range names {
		if st, err := os.Stat(name); err == nil && os.SameFile(st, mine) {
			names = names[:i] // rotated since it was opened
			break
		}
	}
	if len(names) > 0 {
		c.floor = names[len(names)-1]
	}
	return names, nil
}

// walkFile passes the records of the cursor's file from its end and sets the
// cursor to the last one that was passed.
func (t *tail) walkFile(ctx context.Context, cur *cursor) (done bool, err error) {
	st, err := cur.f.Stat()
	if err != nil {
		return false, fmt.Errorf("reading log file: %w", err)
	}
	// What is after the last newline is torn or still being written.
	buf, torn := cur.buf, true
	for end := st.Size(); end > 0; {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		n := min(end, int64(len(buf)))
		chunk := buf[:n]
		if _, err := cur.f.ReadAt(chunk, end-n); err != nil {
			if errors.Is(err, io.EOF) {
				break // emptied by somebody else
			}
			return false, fmt.Errorf("reading log file: %w", err)
		}
		t.read += n
		used, done := t.walkChunk(cur, chunk, end-n, torn)
		if done {
			return true, nil
		}
		end -= used
		torn = torn && used == n
	}
	cur.pos = 0
	return false, nil
}

// walkChunk passes the records of a chunk that begins at offset at, backwards,
// and returns how many of its bytes, from its end, are dealt with. torn: the
// chunk's end may not be the end of a record.
func (t *tail) walkChunk(cur *cursor, chunk []byte, at int64, torn bool) (used int64, done bool) {
	end := len(chunk)
	if torn {
		end = bytes.LastIndexByte(chunk, '\n') + 1
		if end == 0 {
			return int64(len(chunk)), false
		}
	}
	for end > 0 {
		begin := bytes.LastIndexByte(chunk[:end-1], '\n') + 1
		if begin == 0 && at > 0 {
			break // its beginning is in the chunk before
		}
		if r, err := cri.Parse(chunk[begin:end]); err == nil {
			t.pass(r)
		}
		if t.found >= t.want {
			t.excess += int64(end - begin)
		}
		end = begin
		if t.done() {
			cur.pos = at + int64(end)
			return 0, true
		}
	}
	if end == len(chunk) {
		return int64(len(chunk)), false // longer than any record
	}
	return int64(len(chunk) - end), false
}

// pass counts a record. The one passed before it in its stream begins a line if
// this one ends one.
func (t *tail) pass(r cri.Record) {
	s := &t.streams[r.Stream]
	if s.pending && !r.Partial {
		t.found++
	}
	s.pending, s.above = true, t.found
}

// done tells whether enough was passed: whether what is pending begins a line
// does not matter where enough lines begin behind it.
func (t *tail) done() bool {
	if t.found < t.want {
		return false
	}
	for _, s := range t.streams {
		if s.pending && s.above < t.want && t.excess < openReach {
			return false
		}
	}
	return true
}
