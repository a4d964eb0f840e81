package logs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/davit-agent/davit/runtime/logs/cri"
)

// cursor is a place in a container's log: a file, held open, and the offset of
// the next record in it. Records are consumed whole, so what a pump that was
// killed left torn at the end, and its successor cut off, is never seen.
type cursor struct {
	path string // of the live file
	f    *os.File
	pos  int64
	// floor is the newest rotated file that is not younger than f: where f is
	// not found any more, what comes after it is what comes after floor.
	floor string
	buf   []byte
}

// readAhead must have room for the longest record; others than davit's pump may
// have written it.
const readAhead = 64 << 10

func newCursor(path string) *cursor { return &cursor{path: path, buf: make([]byte, readAhead)} }

func (c *cursor) close() {
	if c.f != nil {
		c.f.Close()
	}
}

// read calls f for each whole record from the place to the end of the file.
// What is not in the format is passed over.
func (c *cursor) read(f func(cri.Record) error) error {
	if c.f == nil {
		return nil
	}
	if st, err := c.f.Stat(); err == nil && st.Size() < c.pos {
		c.pos = 0 // emptied by somebody else
	}
	for {
		n, err := c.f.ReadAt(c.buf, c.pos)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("reading log file: %w", err)
		}
		whole := bytes.LastIndexByte(c.buf[:n], '\n') + 1
		if whole == 0 {
			if n < len(c.buf) {
				return nil
			}
			whole = n // not a record
		}
		for batch := c.buf[:whole]; len(batch) > 0; {
			line, rest, _ := bytes.Cut(batch, []byte{'\n'})
			if r, err := cri.Parse(line); err == nil {
				if err := f(r); err != nil {
					return err
				}
			}
			c.pos += int64(len(batch) - len(rest))
			batch = rest
		}
	}
}

// next moves to the file that follows the one held (the oldest if none is) and
// tells whether there is one. To be called at the end of a file that is known to
// be complete: another call of read must lie between seeing that there is a next
// file and moving to it, so next(false) only looks.
func (c *cursor) next(move bool) (bool, error) {
	for range 100 {
		name, floor, err := c.successor()
		if errors.Is(err, errMoved) {
			time.Sleep(time.Millisecond)
			continue
		}
		if err != nil || name == "" || !move {
			return name != "", err
		}
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // rotated or deleted since
		}
		if err != nil {
			return false, fmt.Errorf("opening log file: %w", err)
		}
		// The name may have become another file's since.
		if again, err := c.successorIs(f); err != nil || !again {
			f.Close()
			continue
		}
		if c.f != nil {
			c.f.Close()
		}
		c.f, c.pos, c.floor = f, 0, floor
		return true, nil
	}
	return false, fmt.Errorf("reading log directory: files of %s are rotated too fast", c.path)
}

// errMoved means that a rotation came between.
var errMoved = errors.New("log files moved")

// successor returns the name of the file after the held one, "" if there is
// none, and the floor that a cursor in it has.
func (c *cursor) successor() (name, floor string, err error) {
	live, err := statOrNil(c.path)
	if err != nil {
		return "", "", err
	}
	names, err := cri.Rotated(c.path)
	if err != nil {
		return "", "", err
	}
	at := 0
	if c.f != nil {
		mine, err := c.f.Stat()
		if err != nil {
			return "", "", fmt.Errorf("reading log file: %w", err)
		}
		if live != nil && os.SameFile(live, mine) {
			at = len(names) + 1
		} else {
			at = after(names, mine, c.floor)
		}
	}
	again, err := statOrNil(c.path)
	if err != nil {
		return "", "", err
	}
	if (live == nil) != (again == nil) || live != nil && !os.SameFile(live, again) {
		return "", "", errMoved
	}
	switch {
	case at < len(names):
		return names[at], names[at], nil
	case at == len(names) && live != nil:
		if len(names) > 0 {
			floor = names[len(names)-1]
		}
		return c.path, floor, nil
	}
	return "", "", nil
}

// after returns the index of the rotated file that follows mine.
func after(names []string, mine os.FileInfo, floor string) int {
	at := 0
	for i, name := range names {
		st, err := os.Stat(name)
		if err == nil && os.SameFile(st, mine) {
			return i + 1
		}
		if name <= floor {
			at = i + 1
		}
	}
	return at
}

// successorIs tells whether f is the successor.
func (c *cursor) successorIs(f *os.File) (bool, error) {
	name, _, err := c.successor()
	if err != nil || name == "" {
		return false, err
	}
	st, err := os.Stat(name)
	if err != nil {
		return false, err
	}
	mine, err := f.Stat()
	return err == nil && os.SameFile(st, mine), err
}

func statOrNil(name string) (os.FileInfo, error) {
	st, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading log directory: %w", err)
	}
	return st, nil
}
