package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ForwardProtocol is the name in the Upgrade header of a forwarded connection.
const ForwardProtocol = "davit-portforward/1"

// abortTimeout bounds telling the other side why a tunnel breaks.
const abortTimeout = 2 * time.Second

// HalfConn is a connection of which either direction can end alone, as TCP's.
type HalfConn interface {
	net.Conn
	CloseWrite() error
}

// PeerError is what the other end of a tunnel said of its connection.
type PeerError string

// Error implements error.
func (e PeerError) Error() string { return string(e) }

// Tunnel is one end of a forwarded connection: it copies between local and the
// frames on conn, of which in reads, until both directions have ended (nil), one
// breaks (an error; local's peer then sees a reset, not an end), or ctx does
// (its cause). It closes both connections.
func Tunnel(ctx context.Context, conn net.Conn, in io.Reader, local HalfConn) error {
	out := NewWriter(conn)
	t := &tunnel{out: out, local: local, credit: NewCredit()}
	t.inbox = NewInbox(func(n int) { out.WriteUint32(Window, uint32(n)) })
	// Each direction has an end of its own; what is received has none.
	ends, lost := make(chan error, 2), make(chan error, 1)
	var all sync.WaitGroup
	all.Go(func() { ends <- t.send() })
	all.Go(func() { ends <- t.deliver() })
	all.Go(func() { lost <- t.receive(NewReader(in)) })
	err := outcome(ctx, ends, lost)
	if err != nil {
		t.abort(conn, err)
	}
	t.credit.Close()
	t.inbox.Close(io.ErrClosedPipe)
	conn.Close()
	local.Close()
	all.Wait()
	return err
}

// ErrGone: the other side went away before both directions had ended.
var ErrGone = errors.New("the tunnel broke off")

// outcome waits for both directions, or for what breaks the tunnel.
func outcome(ctx context.Context, ends, lost <-chan error) (err error) {
	for left := 2; left > 0 && err == nil; {
		select {
		case err = <-ends:
			left--
			if errors.Is(err, ErrGone) && lost != nil {
				ends = nil // why, receive knows
				left, err = 1, nil
			}
		case err = <-lost:
			lost = nil
			if ends == nil && err == nil {
				err = ErrGone
			}
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	return err
}

type tunnel struct {
	out    *Writer
	local  HalfConn
	inbox  *Inbox      // to local
	credit *Credit     // from local
	sent   atomic.Bool // what comes from local has ended
	ended  atomic.Bool // what goes to local has
}

// send copies what comes from local.
func (t *tunnel) send() error {
	buf := make([]byte, MaxPayload)
	for {
		n, err := t.local.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) { // a late wake of stall's
			t.local.SetReadDeadline(time.Time{})
			err = nil
		}
		if n > 0 {
			if err := t.stall(n); err != nil {
				return err
			}
			if !t.credit.Take(n) {
				return net.ErrClosed
			}
			if t.out.Write(Data, buf[:n]) != nil {
				return ErrGone
			}
		}
		if errors.Is(err, io.EOF) {
			// The system tells of a reset once, and deliver may have heard it.
			if !t.ended.Load() && isReset(t.local) {
				return errReset
			}
			t.sent.Store(true)
			if t.out.Write(End, nil) != nil {
				return ErrGone
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading from the connection: %w", bareOp(err))
		}
	}
}

var errReset = fmt.Errorf("reading from the connection: %w", syscall.ECONNRESET)

// stall waits until n bytes may be sent, or until local is reset: while nothing
// is read from it nobody else would notice.
func (t *tunnel) stall(n int) error {
	sc, ok := t.local.(syscall.Conn)
	if !ok || t.credit.Has(n) {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	// A deadline in the past is what wakes it.
	t.credit.OnGive(func() { t.local.SetReadDeadline(time.Unix(1, 0)) })
	defer t.credit.OnGive(nil)
	for reset := false; !t.credit.Has(n); {
		t.local.SetReadDeadline(time.Time{})
		err := raw.Read(func(fd uintptr) bool {
			reset = !t.ended.Load() && isClosed(fd)
			return reset || t.credit.Has(n)
		})
		if reset {
			return errReset
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
	t.local.SetReadDeadline(time.Time{})
	return nil
}

// isReset tells whether a TCP connection is over, for a connection of which the
// direction from here was not ended: then it was not an orderly end.
func isReset(conn net.Conn) (reset bool) {
	if sc, ok := conn.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			raw.Control(func(fd uintptr) { reset = isClosed(fd) })
		}
	}
	return reset
}

func isClosed(fd uintptr) bool {
	info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	return err == nil && info.State == unix.BPF_TCP_CLOSE
}

// deliver copies what goes to local.
func (t *tunnel) deliver() error {
	buf := make([]byte, MaxPayload)
	for {
		n, err := t.inbox.Read(buf)
		if errors.Is(err, io.EOF) {
			t.ended.Store(true)
			// One that is closed already has ended in this direction too.
			if err := t.local.CloseWrite(); err != nil && !t.sent.Load() {
				return fmt.Errorf("ending the connection: %w", bareOp(err))
			}
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := t.local.Write(buf[:n]); err != nil {
			return fmt.Errorf("writing to the connection: %w", bareOp(err))
		}
	}
}

// receive takes the other side's frames until the connection ends: nil if both
// directions had their end before.
func (t *tunnel) receive(in *Reader) error {
	got := false
	for {
		kind, payload, err := in.Next()
		if err != nil {
			if got && t.sent.Load() {
				return nil
			}
			return fmt.Errorf("%w: %w", ErrGone, err)
		}
		switch kind {
		case Data:
			if err := t.inbox.Put(payload); err != nil {
				return err
			}
		case End:
			got = true
			t.inbox.Close(io.EOF)
		case Window:
			n, err := Uint32(payload)
			if err != nil {
				return err
			}
			t.credit.Give(n)
		case Error:
			return PeerError(payload)
		default:
			return fmt.Errorf("reading frame: kind %d is not one of a tunnel", kind)
		}
	}
}

// abort tells both sides that this is no orderly end.
func (t *tunnel) abort(conn net.Conn, cause error) {
	if l, ok := t.local.(interface{ SetLinger(int) error }); ok {
		l.SetLinger(0)
	}
	if _, told := cause.(PeerError); !told {
		conn.SetWriteDeadline(time.Now().Add(abortTimeout))
		text := cause.Error()
		t.out.Write(Error, []byte(text[:min(len(text), MaxPayload)]))
	}
}

// bareOp leaves the addresses of a failed operation out: they are of the inside.
func bareOp(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
