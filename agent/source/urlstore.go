package source

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/davit-agent/davit/agent/podspec"
)

const (
	storeName = "set.json"
	maxStored = 128 << 20 // bytes: as JSON a set may be longer than it came
)

// stored is the form in which the last good set is kept. Fields are added, never
// renamed.
type stored struct {
	Origin   string       `json:"origin"`
	ETag     string       `json:"etag,omitempty"`
	Modified string       `json:"lastModified,omitempty"`
	Received time.Time    `json:"received"`
	Broken   bool         `json:"broken,omitempty"` // some of what came could not be taken
	Items    []storedItem `json:"items"`
}

type storedItem struct {
	Line   int             `json:"line"`
	Kind   string          `json:"kind"` // of Object, which need not say
	Object json.RawMessage `json:"object"`
}

// store keeps a set in a directory. It may hold Secrets: the directory has mode
// 0700, the file 0600.
type store struct{ dir string }

// save writes a set so that it is there whole, or the one before is. If it cannot
// be written none is: a set that is not the last one would start pods that are not
// wanted any more.
func (s store) save(set stored) error {
	err := s.write(set)
	if err != nil {
		if rerr := os.Remove(filepath.Join(s.dir, storeName)); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}
	return err
}

func (s store) write(set stored) error {
	data, err := json.Marshal(set)
	if err != nil {
		return fmt.Errorf("writing the set as JSON: %w", err)
	}
	if len(data) > maxStored {
		return fmt.Errorf("storing the set: as JSON it has %d bytes, at most %d are stored", len(data), maxStored)
	}
	if err := s.open(); err != nil {
		return err
	}
	tmp := filepath.Join(s.dir, storeName+".tmp")
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a run that was killed
		return fmt.Errorf("storing the set: %w", err)
	}
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("storing the set: %w", err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp, filepath.Join(s.dir, storeName))
	}
	if err != nil {
		_ = os.Remove(tmp) // the error that counts is the other
		return fmt.Errorf("storing the set: %w", err)
	}
	d, err := os.Open(s.dir)
	if err != nil {
		return fmt.Errorf("storing the set: %w", err)
	}
	err = d.Sync()
	_ = d.Close() // only synced
	if err != nil {
		return fmt.Errorf("storing the set: %w", err)
	}
	return nil
}

// Forget removes the set that a URL source stored in a directory (URLConfig.Dir):
// for an agent that has such a source no more, since the set may hold Secrets.
func Forget(dir string) error {
	for _, name := range []string{storeName, storeName + ".tmp"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing the stored set of a URL source: %w", err)
		}
	}
	return nil
}

// open makes the directory.
func (s store) open() error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("making the directory for the set: %w", err)
	}
	if err := os.Chmod(s.dir, 0o700); err != nil {
		return fmt.Errorf("making the directory for the set: %w", err)
	}
	return nil
}

// load returns the set that is stored of an origin; nil: there is none.
func (s store) load(origin string) (*stored, error) {
	f, err := os.Open(filepath.Join(s.dir, storeName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the stored set: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	data, err := io.ReadAll(io.LimitReader(f, maxStored+1))
	if err != nil {
		return nil, fmt.Errorf("reading the stored set: %w", err)
	}
	var set stored
	if json.Unmarshal(data, &set) != nil { // its error may quote
		return nil, fmt.Errorf("reading the stored set: %s is damaged", filepath.Join(s.dir, storeName))
	}
	if set.Origin != origin {
		return nil, nil
	}
	return &set, nil
}

// text reads the objects of a stored set as if they came just now. What this
// version of davit does not take is left out; the text counts as broken then.
func (r reader) text(set *stored, now time.Time) *text {
	t := &text{broken: set.Broken}
	for _, i := range set.Items {
		list := fmt.Appendf(nil, `{"apiVersion":"v1","kind":"%sList","items":[%s]}`, i.Kind, i.Object)
		one := r.read(list, set.Origin, nil, now)
		for _, e := range one.entries {
			switch it := e.item.(type) {
			case *Pod:
				it.Line = i.Line
			case *Object:
				it.Line = i.Line
			}
			t.entries = append(t.entries, e)
		}
		for _, p := range one.problems {
			p.Line = i.Line
			t.problems = append(t.problems, p)
		}
		t.broken = t.broken || one.broken
	}
	if set.Broken {
		t.problems = append(t.problems, podspec.Problem{File: set.Origin, Message: "some of what the server had was not valid when this set was stored"})
	}
	return t
}
