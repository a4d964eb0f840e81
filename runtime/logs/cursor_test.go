package logs

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/davit-agent/davit/runtime/logs/cri"
)

// A reader that never rests, beside a writer that rotates after every few
// records: each record is read once, in order.
func TestCursorRace(t *testing.T) {
	const records = 600
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for round := range 4 {
		path := filepath.Join(t.TempDir(), "0.log")
		wrote := make(chan error, 1)
		go func() { wrote <- rotateWildly(path, records, at) }()
		c := newCursor(path)
		next := 0
		end := time.Now().Add(time.Minute)
		for next < records && time.Now().Before(end) {
			err := c.readAll(t.Context(), func(r cri.Record) error {
				var i int
				if _, err := fmt.Sscan(string(r.Content), &i); err != nil || i != next {
					return fmt.Errorf("got record %q, %v; want %d", r.Content, err, next)
				}
				next++
				return nil
			}, false)
			if err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
		}
		c.close()
		if err := <-wrote; err != nil || next != records {
			t.Fatalf("round %d: %d records, %v", round, next, err)
		}
	}
}

func rotateWildly(path string, records int, at time.Time) error {
	var f *os.File
	for i := range records {
		if f == nil {
			var err error
			if f, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
				return err
			}
		}
		if _, err := f.Write(cri.AppendRecord(nil, at, cri.Stdout, false, fmt.Append(nil, i))); err != nil {
			return err
		}
		if i%3 == 2 {
			at = at.Add(time.Second)
			if err := os.Rename(path, cri.RotatedName(path, at)); err != nil {
				return err
			}
			f.Close()
			f = nil
		}
		time.Sleep(20 * time.Microsecond)
	}
	return nil
}

// A file that is removed while it is held does not make older ones come again.
func TestCursorHeldFileRemoved(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	path := filepath.Join(t.TempDir(), "0.log")
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, cri.AppendRecord(nil, at, cri.Stdout, false, []byte(text)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(cri.RotatedName(path, at), "one")
	put(path, "two")
	var got string
	c := newCursor(path)
	defer c.close()
	all := func() {
		t.Helper()
		if err := c.readAll(t.Context(), func(r cri.Record) error { got += string(r.Content) + " "; return nil }, false); err != nil {
			t.Fatal(err)
		}
	}
	all()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	all()
	put(cri.RotatedName(path, at.Add(time.Second)), "three")
	put(path, "four")
	all()
	if got != "one two three four " {
		t.Errorf("got %q", got)
	}
}
