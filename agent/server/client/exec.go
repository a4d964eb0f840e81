package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"

	"github.com/davit-agent/davit/agent/server/wire"
	"github.com/davit-agent/davit/runtime"
)

// ExecOptions says what is to be run where.
type ExecOptions struct {
	Namespace, Pod string
	Container      string // "": the default one
	Command        []string
	Stdin          io.Reader // nil: none. A Read under way is left behind at the end.
	Stdout         io.Writer // nil: discarded
	Stderr         io.Writer // nil: discarded; with TTY all comes on Stdout
	TTY            bool
	Resize         <-chan runtime.WinSize // with TTY; nil: none
	// Notice, if set, is called with a line for the person who asked.
	Notice func(string)
}

// Exec runs a process in a container and returns its exit code. When ctx ends
// the process is killed.
func (c *Client) Exec(ctx context.Context, o ExecOptions) (int, error) {
	q := url.Values{"container": {o.Container}, "command": o.Command}
	setFlags(q, map[string]bool{"stdin": o.Stdin != nil, "stdout": o.Stdout != nil,
		"stderr": o.Stderr != nil && !o.TTY, "tty": o.TTY})
	conn, in, notice, err := c.upgrade(ctx, podPath(o.Namespace, o.Pod, "/exec")+"?"+q.Encode(), wire.ExecProtocol)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if notice != "" && o.Notice != nil {
		o.Notice(notice)
	}
	s := &session{o: o, out: wire.NewWriter(conn), credit: wire.NewCredit()}
	defer s.credit.Close()
	done := make(chan struct{})
	defer close(done)
	if o.Stdin != nil {
		go s.sendStdin()
	}
	if o.TTY && o.Resize != nil {
		go s.sendSizes(done)
	}
	code, err := s.receive(wire.NewReader(in))
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return code, err
}

// session is one exec session after the upgrade.
type session struct {
	o      ExecOptions
	out    *wire.Writer
	credit *wire.Credit
}

// receive takes the server's frames until the last one.
func (s *session) receive(in *wire.Reader) (int, error) {
	for {
		kind, payload, err := in.Next()
		if err != nil {
			return 0, fmt.Errorf("%w in the middle of exec: %v", ErrBrokeOff, err)
		}
		switch kind {
		case wire.Stdout:
			err = write(s.o.Stdout, payload)
		case wire.Stderr:
			err = write(s.o.Stderr, payload)
		case wire.Window:
			var n uint32
			if n, err = wire.Uint32(payload); err == nil {
				s.credit.Give(n)
			}
		case wire.Exit:
			n, err := wire.Uint32(payload)
			return int(int32(n)), err
		case wire.Error:
			return 0, errors.New(string(payload))
		default:
			err = fmt.Errorf("reading frame: kind %d is not the server's to send", kind)
		}
		if err != nil {
			return 0, err
		}
	}
}

func write(w io.Writer, p []byte) error {
	if w == nil {
		return nil
	}
	if _, err := w.Write(p); err != nil {
		return fmt.Errorf("writing output: %w", err)
	}
	return nil
}

func (s *session) sendStdin() {
	buf := make([]byte, wire.MaxPayload)
	for {
		n, err := s.o.Stdin.Read(buf)
		if n > 0 && (!s.credit.Take(n) || s.out.Write(wire.Stdin, buf[:n]) != nil) {
			return
		}
		if err != nil {
			s.out.Write(wire.CloseStdin, nil)
			return
		}
	}
}

func (s *session) sendSizes(done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case size, ok := <-s.o.Resize:
			if !ok || s.out.WriteSize(size.Width, size.Height) != nil {
				return
			}
		}
	}
}
