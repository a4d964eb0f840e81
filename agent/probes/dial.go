package probes

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/davit-agent/davit/agent/handler"
)

// line dials for one try of a probe, and remembers an error that is not the
// other side's.
type line struct {
	p   *Prober
	uid string

	mu    sync.Mutex
	fault error
}

func (p *Prober) line(s subject) *line { return &line{p: p, uid: string(s.pod.UID)} }

// broken is the error that is not the other side's, if there was one.
func (l *line) broken() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fault
}

// dial connects to "host:port" from inside the pod.
func (l *line) dial(ctx context.Context, _, address string) (net.Conn, error) {
	return handler.Line{Lookup: l.p.cfg.Lookup, Connect: l.connect, Explain: l.explain}.Dial(ctx, address)
}

func (l *line) connect(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	return l.p.cfg.Dial.Dial(ctx, l.uid, to)
}

// explain words an error of a Dialer, and remembers it if it is not the other
// side's.
func (l *line) explain(ctx context.Context, to netip.AddrPort, err error) error {
	said := &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(to)}
	var call *os.SyscallError
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &call) && call.Syscall == "connect":
		said.Err = call
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(ctx.Err(), context.DeadlineExceeded):
		said.Err = os.ErrDeadlineExceeded
	case ctx.Err() != nil: // whoever wanted the connection has given up
		said.Err = ctx.Err()
	default:
		l.mu.Lock()
		defer l.mu.Unlock()
		l.fault = err
		return err
	}
	return said
}

// hostOf is where a probe goes that does not name a host: to the pod.
func (s subject) hostOf(named string) (string, error) {
	if named != "" {
		return named, nil
	}
	if !s.ip.IsValid() {
		return "", errors.New("the pod has no address yet")
	}
	return s.ip.String(), nil
}

func (p *Prober) tcp(ctx context.Context, s subject, timeout time.Duration) answer {
	port, err := handler.Port(s.spec.TCPSocket.Port, s.container)
	if err != nil {
		return broken(err)
	}
	host, err := s.hostOf(s.spec.TCPSocket.Host)
	if err != nil {
		return broken(err)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	l := p.line(s)
	conn, err := l.dial(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if fault := l.broken(); fault != nil && err != nil {
		return broken(fault)
	}
	if err != nil {
		return failed("%s", err)
	}
	conn.Close()
	return answer{verdict: success}
}
