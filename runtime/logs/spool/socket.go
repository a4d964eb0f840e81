package spool

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// ProtocolVersion is the version of the socket's messages. Fields and
// operations are added without changing it; a pump refuses other versions.
const ProtocolVersion = 1

// MaxMessage is the most bytes a message may have, its newline included.
const MaxMessage = 4 << 10

// The operations of a Request.
const (
	OpStatus   = "status"
	OpSync     = "sync"
	OpFollow   = "follow"
	OpHandover = "handover"
	OpGo       = "go"
)

// The events that follow the answer to OpFollow.
const (
	EventWake = "wake"
	EventEnd  = "end"
)

// Request is what a client sends.
type Request struct {
	V  int    `json:"v"`
	Op string `json:"op"`
	ID string `json:"id,omitempty"`
}

// Reply is what the pump sends.
type Reply struct {
	V         int    `json:"v"`
	OK        bool   `json:"ok"`
	Error     string `json:"error,omitempty"`
	Version   string `json:"version,omitempty"` // hash of the pump's program
	Pid       int    `json:"pid,omitempty"`
	Streams   int    `json:"streams,omitempty"`
	LostBytes int64  `json:"lostBytes,omitempty"` // since its start, because files could not be written
	Event     string `json:"event,omitempty"`
}

// Conn speaks the protocol; either side uses it. It is for one goroutine at a
// time, but for Close.
type Conn struct {
	net.Conn
	r *bufio.Reader
}

// NewConn wraps an open connection.
func NewConn(c net.Conn) *Conn { return &Conn{Conn: c, r: bufio.NewReaderSize(c, MaxMessage)} }

// Send writes one message.
func (c *Conn) Send(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding message: %w", err)
	}
	if _, err := c.Write(append(data, '\n')); err != nil {
		return fmt.Errorf("sending message: %w", err)
	}
	return nil
}

// Receive reads one message into v.
func (c *Conn) Receive(v any) error {
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		if errors.Is(err, bufio.ErrBufferFull) {
			err = fmt.Errorf("message has more than %d bytes", MaxMessage)
		}
		return fmt.Errorf("receiving message: %w", err)
	}
	if err := json.Unmarshal(bytes.TrimSpace(line), v); err != nil {
		return fmt.Errorf("decoding message: %w", err)
	}
	return nil
}

// Ask sends a request and returns the answer; a refusal is an error.
func (c *Conn) Ask(op, id string) (Reply, error) {
	if err := c.Send(Request{V: ProtocolVersion, Op: op, ID: id}); err != nil {
		return Reply{}, err
	}
	var r Reply
	if err := c.Receive(&r); err != nil {
		return Reply{}, err
	}
	if !r.OK {
		return r, &RefusedError{Op: op, ID: id, Reason: r.Error}
	}
	return r, nil
}

// RefusedError is what the pump answered where it did not do as asked.
type RefusedError struct{ Op, ID, Reason string }

// Error says what was asked and why it was refused.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("log pump refused %s %s: %s", e.Op, e.ID, e.Reason)
}

// Dial connects to the pump that serves dir.
func Dial(ctx context.Context, dir string) (*Conn, error) {
	var c net.Conn
	err := atSocket(dir, func(name string) (err error) {
		d := net.Dialer{Timeout: 5 * time.Second}
		c, err = d.DialContext(ctx, "unix", name)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("connecting to log pump: %w", err)
	}
	return NewConn(c), nil
}

// Listen makes the socket in dir, replacing one that is there: the caller holds
// the directory's lock.
func Listen(dir string) (net.Listener, error) {
	if err := os.RemoveAll(filepath.Join(dir, SocketName)); err != nil {
		return nil, fmt.Errorf("removing old socket: %w", err)
	}
	var l *net.UnixListener
	err := atSocket(dir, func(name string) (err error) {
		l, err = net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: name})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	// Not unlinked on close: by then the name may be a successor's.
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(filepath.Join(dir, SocketName), 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("listening: %w", err)
	}
	return l, nil
}

// atSocket calls f with a name of dir's socket that fits into a socket address
// (108 bytes), however long dir is.
func atSocket(dir string, f func(name string) error) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return f("/proc/self/fd/" + strconv.Itoa(int(d.Fd())) + "/" + SocketName)
}
