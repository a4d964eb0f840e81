package spool

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// FormatVersion is the version of the directory's format. A pump takes up its
// own version and all older ones.
const FormatVersion = 1

// Names in the directory and in an entry.
const (
	LockName    = "pump.lock"
	SocketName  = "pump.sock"
	StdoutName  = "stdout"
	StderrName  = "stderr"
	specName    = "spec.json"
	closingName = "closing.json"
	marksName   = "unwritten"
	gonePrefix  = ".gone-"
)

const maxSpec = 64 << 10

// Defaults and the least values of a Spec's limits, kubelet's where it has them.
const (
	DefaultMaxSize  = 10 << 20
	DefaultMaxFiles = 5
	minMaxSize      = 4 << 10
	minMaxFiles     = 2
)

// Spec says what is to be done with a container's output.
type Spec struct {
	Format   int    `json:"format"`
	ID       string `json:"id"`
	Path     string `json:"path"` // absolute; the live file
	Terminal bool   `json:"terminal,omitempty"`
	MaxSize  int64  `json:"maxSize"`  // bytes
	MaxFiles int    `json:"maxFiles"` // the live one included
}

// Complete fills in defaults and lifts limits to their least values.
func (s Spec) Complete() Spec {
	s.Format = FormatVersion
	if s.MaxSize <= 0 {
		s.MaxSize = DefaultMaxSize
	}
	if s.MaxFiles <= 0 {
		s.MaxFiles = DefaultMaxFiles
	}
	s.MaxSize = max(s.MaxSize, minMaxSize)
	s.MaxFiles = max(s.MaxFiles, minMaxFiles)
	return s
}

// CheckID refuses what cannot be an entry's name: an ID has 1 to 128 letters,
// digits, '_', '.' and '-', the first a letter or digit.
func CheckID(id string) error {
	ok := id != "" && len(id) <= 128 && id != LockName && id != SocketName
	for i := 0; ok && i < len(id); i++ {
		c := id[i]
		ok = '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' ||
			i > 0 && (c == '_' || c == '.' || c == '-')
	}
	if !ok {
		return fmt.Errorf("invalid log stream ID %.140q", id)
	}
	return nil
}

func (s Spec) validate(id string) error {
	switch {
	case s.Format < 1 || s.Format > FormatVersion:
		return fmt.Errorf("format %d is not known to this version (up to %d)", s.Format, FormatVersion)
	case s.ID != id:
		return fmt.Errorf("spec is of %.140q", s.ID)
	case !filepath.IsAbs(s.Path) || filepath.Clean(s.Path) != s.Path:
		return fmt.Errorf("path %.1000q is not absolute and clean", s.Path)
	case s.MaxSize < minMaxSize || s.MaxFiles < minMaxFiles:
		return fmt.Errorf("limits %d bytes, %d files are below %d, %d", s.MaxSize, s.MaxFiles, minMaxSize, minMaxFiles)
	}
	return nil
}

// Write makes the entry of a completed s: FIFOs first, the spec last. An entry
// that is there already stays as it is but for its spec, which is replaced.
func Write(dir string, s Spec) error {
	if err := CheckID(s.ID); err != nil {
		return err
	}
	if err := s.validate(s.ID); err != nil {
		return fmt.Errorf("checking log stream %q: %w", s.ID, err)
	}
	if Closing(dir, s.ID) {
		return fmt.Errorf("making log stream %q: it is being closed", s.ID)
	}
	entry := filepath.Join(dir, s.ID)
	if err := os.MkdirAll(entry, 0o700); err != nil {
		return fmt.Errorf("making log stream %q: %w", s.ID, err)
	}
	for _, name := range s.FIFOs() {
		if err := makeFIFO(filepath.Join(entry, name)); err != nil {
			return fmt.Errorf("making log stream %q: %w", s.ID, err)
		}
	}
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encoding spec of log stream %q: %w", s.ID, err)
	}
	name := filepath.Join(entry, specName)
	if have, err := os.ReadFile(name); err == nil && bytes.Equal(have, data) {
		return nil
	}
	if err := os.WriteFile(name+".tmp", data, 0o600); err != nil {
		return fmt.Errorf("writing spec of log stream %q: %w", s.ID, err)
	}
	if err := os.Rename(name+".tmp", name); err != nil {
		return fmt.Errorf("writing spec of log stream %q: %w", s.ID, err)
	}
	return nil
}

// FIFOs returns the names of the entry's FIFOs, stdout first.
func (s Spec) FIFOs() []string {
	if s.Terminal {
		return []string{StdoutName}
	}
	return []string{StdoutName, StderrName}
}

// Read returns the spec of an entry. An error that wraps fs.ErrNotExist: there
// is no entry, or a half-made one. An entry that is being closed has one, too.
func Read(dir, id string) (Spec, error) {
	if err := CheckID(id); err != nil {
		return Spec{}, err
	}
	f, err := os.Open(filepath.Join(dir, id, specName))
	if errors.Is(err, fs.ErrNotExist) {
		f, err = os.Open(filepath.Join(dir, id, closingName))
	}
	if err != nil {
		return Spec{}, fmt.Errorf("reading spec of log stream: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSpec))
	if err != nil {
		return Spec{}, fmt.Errorf("reading spec of log stream %q: %w", id, err)
	}
	var s Spec
	if err := json.Unmarshal(data, &s); err != nil {
		return Spec{}, fmt.Errorf("decoding spec of log stream %q: %w", id, err)
	}
	if err := s.validate(id); err != nil {
		return Spec{}, fmt.Errorf("checking spec of log stream %q: %w", id, err)
	}
	return s, nil
}

// List returns the IDs of all entries, half-made ones too, in ascending order.
func List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing log streams: %w", err)
	}
	var ids []string
	for _, e := range entries {
		if e.IsDir() && CheckID(e.Name()) == nil {
			ids = append(ids, e.Name())
		}
	}
	sort.Strings(ids)
	return ids, nil
}

// Exists tells whether there is an entry.
func Exists(dir, id string) bool {
	_, err := os.Lstat(filepath.Join(dir, id))
	return err == nil || !errors.Is(err, fs.ErrNotExist)
}

// MarkClosing says that no writer is left: it renames the spec, which needs no
// space. It does nothing without an entry.
func MarkClosing(dir, id string) error {
	entry := filepath.Join(dir, id)
	err := os.Rename(filepath.Join(entry, specName), filepath.Join(entry, closingName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("marking log stream %q: %w", id, err)
	}
	return nil
}

// Closing tells whether MarkClosing was called.
func Closing(dir, id string) bool {
	_, err := os.Lstat(filepath.Join(dir, id, closingName))
	return err == nil
}

// Remove removes an entry: for everybody else it is gone at once.
func Remove(dir, id string) error {
	if err := CheckID(id); err != nil {
		return err
	}
	gone := filepath.Join(dir, gonePrefix+id)
	if err := os.RemoveAll(gone); err != nil { // left by a removal that was cut
		return fmt.Errorf("removing log stream %q: %w", id, err)
	}
	err := os.Rename(filepath.Join(dir, id), gone)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing log stream %q: %w", id, err)
	}
	if err := os.RemoveAll(gone); err != nil {
		return fmt.Errorf("removing log stream %q: %w", id, err)
	}
	return nil
}

// Sweep completes removals that were cut.
func Sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("listing log streams: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), gonePrefix) {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}
