package wire

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"
)

// ExecProtocol is the name in the Upgrade header.
const ExecProtocol = "davit-exec/1"

// Bounds of the protocol, in bytes.
const (
	MaxPayload  = 32 << 10  // of one frame
	StdinWindow = 256 << 10 // of stdin, or of Data in one direction, that may be under way
)

// Kind tells what a frame is.
type Kind byte

// The kinds of frames; see the package comment.
const (
	Stdin Kind = iota
	CloseStdin
	Resize
	Window
	Stdout
	Stderr
	Exit
	Error
	Data
	End
	kinds // their number
)

const headerLen = 5

// Writer writes frames. It is safe for concurrent use.
type Writer struct {
	mu  sync.Mutex
	w   io.Writer
	buf [headerLen + MaxPayload]byte
}

// NewWriter returns a Writer on w. Each frame is one Write.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write writes payload in as many frames of the kind as it needs, and one empty
// frame if it is empty.
func (w *Writer) Write(kind Kind, payload []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for first := true; first || len(payload) > 0; first = false {
		n := min(len(payload), MaxPayload)
		w.buf[0] = byte(kind)
		binary.BigEndian.PutUint32(w.buf[1:headerLen], uint32(n))
		copy(w.buf[headerLen:], payload[:n])
		if _, err := w.w.Write(w.buf[:headerLen+n]); err != nil {
			return fmt.Errorf("writing frame: %w", err)
		}
		payload = payload[n:]
	}
	return nil
}

// WriteUint32 writes a frame that holds one number.
func (w *Writer) WriteUint32(kind Kind, v uint32) error {
	return w.Write(kind, binary.BigEndian.AppendUint32(nil, v))
}

// WriteSize writes a Resize frame.
func (w *Writer) WriteSize(width, height uint16) error {
	return w.WriteUint32(Resize, uint32(width)<<16|uint32(height))
}

// Stream returns an io.Writer whose bytes become frames of the kind.
func (w *Writer) Stream(kind Kind) io.Writer { return stream{w, kind} }

type stream struct {
	w    *Writer
	kind Kind
}

func (s stream) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := s.w.Write(s.kind, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Reader reads frames.
type Reader struct {
	r   io.Reader
	buf [MaxPayload]byte
}

// NewReader returns a Reader on r.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// Next returns the next frame. Its payload is valid until the next call. The
// error is io.EOF only between two frames.
func (r *Reader) Next() (Kind, []byte, error) {
	var h [headerLen]byte
	if _, err := io.ReadFull(r.r, h[:]); err != nil {
		return 0, nil, err
	}
	kind, n := Kind(h[0]), binary.BigEndian.Uint32(h[1:])
	if kind >= kinds {
		return 0, nil, fmt.Errorf("reading frame: unknown kind %d", kind)
	}
	if n > MaxPayload {
		return 0, nil, fmt.Errorf("reading frame: %d bytes are over the limit of %d", n, MaxPayload)
	}
	if _, err := io.ReadFull(r.r, r.buf[:n]); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, fmt.Errorf("reading frame: %w", err)
	}
	return kind, r.buf[:n], nil
}

// Uint32 returns the number in the payload of a Window, Exit or Resize frame.
func Uint32(payload []byte) (uint32, error) {
	if len(payload) != 4 {
		return 0, fmt.Errorf("reading frame: %d bytes where 4 were expected", len(payload))
	}
	return binary.BigEndian.Uint32(payload), nil
}
