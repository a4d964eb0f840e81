package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/davit-agent/davit/agent/server/wire"
	"github.com/davit-agent/davit/runtime"
)

// execRequest is what the query of an exec request says.
type execRequest struct {
	id                         string
	notice                     string
	command                    []string
	stdin, stdout, stderr, tty bool
}

func (s *Server) exec(w http.ResponseWriter, r *http.Request) {
	req, fail := s.parseExec(r)
	if fail != nil {
		fail.reply(w)
		return
	}
	conn, in, err := s.upgrade(w, wire.ExecProtocol, req.notice)
	if err != nil {
		internal(err).reply(w)
		return
	}
	defer s.sessions.remove()
	defer conn.Close()
	defer cutWith(r.Context(), conn.SetDeadline)()
	s.runExec(r.Context(), conn, in, req)
}

func (s *Server) parseExec(r *http.Request) (req execRequest, fail *failure) {
	pod, fail := s.find(r)
	if fail != nil {
		return req, fail
	}
	fail = flags(r, map[string]*bool{"stdin": &req.stdin, "stdout": &req.stdout, "stderr": &req.stderr, "tty": &req.tty})
	if fail != nil {
		return req, fail
	}
	name, notice, fail := choose(pod, r.URL.Query().Get("container"))
	if fail != nil {
		return req, fail
	}
	req.notice = notice
	if req.id, fail = running(pod, name); fail != nil {
		return req, fail
	}
	if req.command = r.URL.Query()["command"]; len(req.command) == 0 {
		return req, badRequest("you must specify at least one command for the container")
	}
	if req.tty && req.stderr {
		return req, badRequest("tty and stderr cannot both be true")
	}
	return req, upgrades(r, wire.ExecProtocol)
}

// runExec runs the process and speaks frames on conn until it ended. The
// process is killed when ctx ends or the connection does.
func (s *Server) runExec(ctx context.Context, conn net.Conn, in *bufio.Reader, req execRequest) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out := wire.NewWriter(conn)
	stdin := wire.NewInbox(func(n int) { out.WriteUint32(wire.Window, uint32(n)) })
	defer stdin.Close(io.ErrClosedPipe)
	resize := make(chan runtime.WinSize, 1)
	go func() {
		err := receive(wire.NewReader(in), stdin, resize)
		stdin.Close(io.ErrUnexpectedEOF)
		cancel(err)
	}()

	cfg := runtime.ExecConfig{Command: req.command, Stdout: io.Discard, Stderr: io.Discard, TTY: req.tty}
	if req.stdin {
		cfg.Stdin = stdin
	}
	if req.stdout {
		cfg.Stdout = out.Stream(wire.Stdout)
	}
	if req.stderr {
		cfg.Stderr = out.Stream(wire.Stderr)
	}
	if req.tty {
		cfg.Resize = resize
	}
	code, err := s.opts.Execer.Exec(ctx, req.id, cfg)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.Canceled) {
			err = cause
			if errors.Is(cause, context.Canceled) {
				err = errors.New("davit is leaving; the process was killed")
			}
		}
		out.Write(wire.Error, []byte(clip(err.Error(), wire.MaxPayload)))
		return
	}
	out.WriteUint32(wire.Exit, uint32(int32(code)))
}

// receive takes the client's frames until the connection ends and returns why
// it did.
func receive(in *wire.Reader, stdin *wire.Inbox, resize chan runtime.WinSize) error {
	for {
		kind, payload, err := in.Next()
		if err != nil {
			return fmt.Errorf("reading from the client: %w", err)
		}
		switch kind {
		case wire.Stdin:
			if err := stdin.Put(payload); err != nil {
				return err
			}
		case wire.CloseStdin:
			stdin.Close(io.EOF)
		case wire.Resize:
			v, err := wire.Uint32(payload)
			if err != nil {
				return err
			}
			newest(resize, runtime.WinSize{Width: uint16(v >> 16), Height: uint16(v)})
		default:
			return fmt.Errorf("reading from the client: a frame of kind %d is not the client's to send", kind)
		}
	}
}

// newest replaces what waits in ch. There is one sender.
func newest(ch chan runtime.WinSize, size runtime.WinSize) {
	select {
	case <-ch:
	default:
	}
	ch <- size
}

func clip(text string, n int) string { return text[:min(len(text), n)] }
