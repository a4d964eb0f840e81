package cri

import (
	"bytes"
	"errors"
	"fmt"
	"time"
)

// ErrFormat is wrapped by the errors of Parse.
var ErrFormat = errors.New("not a CRI log record")

// Record is a record that was read. Stamp and Content are parts of what was
// parsed, not copies.
type Record struct {
	Stamp   []byte // RFC 3339, valid
	Time    time.Time
	Stream  Stream
	Partial bool
	Content []byte
}

// Parse reads one record, with or without its newline.
func Parse(line []byte) (Record, error) {
	line = bytes.TrimSuffix(line, []byte{'\n'})
	stamp, rest, ok := bytes.Cut(line, []byte{' '})
	if !ok {
		return Record{}, fmt.Errorf("reading time stamp: %w", ErrFormat)
	}
	r := Record{Stamp: stamp}
	if err := r.Time.UnmarshalText(stamp); err != nil {
		return Record{}, fmt.Errorf("reading time stamp: %w", ErrFormat)
	}
	name, rest, ok := bytes.Cut(rest, []byte{' '})
	switch {
	case ok && string(name) == "stdout":
		r.Stream = Stdout
	case ok && string(name) == "stderr":
		r.Stream = Stderr
	default:
		return Record{}, fmt.Errorf("reading stream: %w", ErrFormat)
	}
	// Some writers leave the last space out where the text is empty.
	tags, text, _ := bytes.Cut(rest, []byte{' '})
	first, _, _ := bytes.Cut(tags, []byte{':'})
	switch string(first) {
	case "P":
		r.Partial = true
	case "F":
	default:
		return Record{}, fmt.Errorf("reading tag: %w", ErrFormat)
	}
	r.Content = text
	return r, nil
}
