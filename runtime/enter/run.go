package enter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"

	"github.com/davit-agent/davit/runtime/enter/inside"
)

const (
	// killGrace is how long a killed command is waited for. It needs no time, but
	// for one that is frozen or in the kernel (a dead mount) it may be for ever.
	killGrace = 5 * time.Second
	// askLimit is for the helper to read its request.
	askLimit = time.Minute
	// maxLate bounds what is read of a command's output after its end: as much as
	// a pipe holds when nobody enlarged it.
	maxLate = 64 << 10
)

// helperRun is one helper, from its start to its result.
type helperRun struct {
	cmd     *exec.Cmd
	control *os.File // closed: the command shall die
	output  *os.File
	result  *os.File
	buf     *bounded
}

// start starts a helper with a request. Nothing of davit's goes along: not its
// environment, not its descriptors.
func start(prog *program, r *Request, limit int) (_ *helperRun, err error) {
	var files []*os.File
	defer func() {
		if err != nil {
			closeAll(files)
		}
	}()
	var ends [3][2]*os.File // control, result, output: reading end, writing end
	for i := range ends {
		if ends[i][0], ends[i][1], err = os.Pipe(); err != nil {
			return nil, fmt.Errorf("making a pipe: %w", err)
		}
		files = append(files, ends[i][0], ends[i][1])
	}
	h := &helperRun{control: ends[0][1], result: ends[1][0], output: ends[2][0], buf: &bounded{limit: limit}}
	h.cmd = &exec.Cmd{Path: prog.path(), Args: []string{"davit-helper", "exec"}, Env: []string{}, Dir: "/",
		Stdout: ends[2][1], Stderr: ends[2][1], ExtraFiles: []*os.File{ends[0][0], ends[1][1]}}
	if err := h.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting helper: %w", err)
	}
	closeAll([]*os.File{ends[0][0], ends[1][1], ends[2][1]})
	_ = h.control.SetWriteDeadline(time.Now().Add(askLimit)) // more than a pipe holds waits for the helper
	if _, err := h.control.Write(r.Encode()); err != nil {
		_ = h.cmd.Process.Kill()
		_ = h.cmd.Wait()
		return nil, fmt.Errorf("asking helper: %w", err)
	}
	return h, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close() // some were closed before
	}
}

// wait returns the helper's result and the command's output, which is whole if the
// context did not end.
func (h *helperRun) wait(ctx context.Context) (inside.Result, []byte, error) {
	copied := make(chan struct{})
	go func() { defer close(copied); _, _ = io.Copy(h.buf, h.output) }()
	type told struct {
		text []byte
		err  error
	}
	ended := make(chan told, 1)
	go func() {
		text, err := io.ReadAll(io.LimitReader(h.result, 4096))
		ended <- told{text, errors.Join(err, h.cmd.Wait())}
		_ = h.result.Close()
		_ = h.control.Close()
	}()
	var end told
	select {
	case end = <-ended:
	case <-ctx.Done():
		_ = h.control.Close()
		select {
		case end = <-ended:
		case <-time.After(killGrace):
			// A container that traces its processes, or whose are frozen, can keep
			// the helper waiting. It must not be able to collect helpers.
			_ = h.cmd.Process.Kill()
		}
		end.err = ctx.Err()
	}
	// Whatever the command itself printed is in the pipe. What it left running may
	// hold the pipe for ever, and is not waited for.
	_ = h.output.SetReadDeadline(time.Unix(1, 0))
	<-copied
	h.late()
	_ = h.output.Close()
	if ctx.Err() != nil && end.err != nil {
		return inside.Result{}, h.buf.b, ctx.Err()
	}
	res, err := inside.DecodeResult(end.text)
	if err = errors.Join(err, end.err); err != nil {
		return inside.Result{}, nil, fmt.Errorf("running helper: %w", err)
	}
	return res, h.buf.b, nil
}

// late reads what is in the pipe without waiting for more.
func (h *helperRun) late() {
	_ = h.output.SetReadDeadline(time.Time{})
	conn, err := h.output.SyscallConn()
	if err != nil {
		return
	}
	buf := make([]byte, 16<<10)
	for read := 0; read < maxLate; {
		n := 0
		err := conn.Read(func(fd uintptr) bool {
			n, _ = unix.Read(int(fd), buf)
			return true
		})
		if err != nil || n <= 0 {
			return
		}
		_, _ = h.buf.Write(buf[:n])
		read += n
	}
}

// bounded keeps the first bytes that are written to it.
type bounded struct {
	b     []byte
	limit int
}

func (w *bounded) Write(p []byte) (int, error) {
	w.b = append(w.b, p[:min(len(p), max(w.limit-len(w.b), 0))]...)
	return len(p), nil
}
