package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"

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
	conn, err := c.dial(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	in, err := upgrade(conn, o)
	if err != nil {
		return 0, err
	}
	s := &session{o: o, out: wire.NewWriter(conn), window: newWindow(wire.StdinWindow)}
	defer s.window.close()
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

// upgrade asks for the session and returns where its frames come from.
func upgrade(conn net.Conn, o ExecOptions) (io.Reader, error) {
	q := url.Values{"container": {o.Container}, "command": o.Command}
	setFlags(q, map[string]bool{"stdin": o.Stdin != nil, "stdout": o.Stdout != nil,
		"stderr": o.Stderr != nil && !o.TTY, "tty": o.TTY})
	req, err := http.NewRequest(http.MethodPost, "http://davit"+podPath(o.Namespace, o.Pod, "/exec")+"?"+q.Encode(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", wire.ExecProtocol)
	if err := req.Write(conn); err != nil {
		return nil, fmt.Errorf("asking davit: %w", err)
	}
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, req)
	if err != nil {
		return nil, fmt.Errorf("reading davit's answer: %w", err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		defer resp.Body.Close()
		return nil, refusal(resp)
	}
	if text := resp.Header.Get(wire.HeaderNotice); text != "" && o.Notice != nil {
		o.Notice(text)
	}
	return in, nil
}

// session is one exec session after the upgrade.
type session struct {
	o      ExecOptions
	out    *wire.Writer
	window *window
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
				s.window.give(int(n))
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
		if n > 0 && (!s.window.take(n) || s.out.Write(wire.Stdin, buf[:n]) != nil) {
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

// window is how much stdin may still be sent.
type window struct {
	mu     sync.Mutex
	cond   *sync.Cond
	free   int
	closed bool
}

func newWindow(free int) *window {
	w := &window{free: free}
	w.cond = sync.NewCond(&w.mu)
	return w
}

// take waits until n bytes may be sent; false: the session is over.
func (w *window) take(n int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.free < n && !w.closed {
		w.cond.Wait()
	}
	w.free -= n
	return !w.closed
}

func (w *window) give(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.free += n
	w.cond.Broadcast()
}

func (w *window) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.cond.Broadcast()
}
