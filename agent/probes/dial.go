package probes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
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

// dial connects to "host:port" from inside the pod. Errors are worded as those
// of Go's own dialer, which are what kubelet shows.
func (l *line) dial(ctx context.Context, _, address string) (net.Conn, error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.AddrError{Err: "invalid port", Addr: portText}}
	}
	addrs := []netip.Addr{}
	if addr, err := netip.ParseAddr(host); err == nil {
		addrs = append(addrs, addr)
	} else if addrs, err = l.p.cfg.Lookup(ctx, host); err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	err = &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}}
	for i, addr := range addrs {
		to := netip.AddrPortFrom(addr.Unmap(), uint16(port))
		conn, failure := l.p.cfg.Dial.Dial(ctx, l.uid, to)
		if failure == nil {
			return conn, nil
		}
		if i == 0 { // of several addresses the first one's error is told
			err = l.explain(ctx, to, failure)
		}
	}
	return nil, err
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

// portOf is a port by its number or by the name that the container gives it. The
// errors are kubelet's, the odd one too.
func portOf(port intstr.IntOrString, c *v1.Container) (int, error) {
	n := int(port.IntVal)
	if port.Type == intstr.String {
		n = -1
		for _, p := range c.Ports {
			if p.Name == port.StrVal {
				n = int(p.ContainerPort)
			}
		}
		if n < 0 {
			var err error
			if n, err = strconv.Atoi(port.StrVal); err != nil {
				return 0, err
			}
		}
	}
	if n < 1 || n > 65535 {
		return 0, fmt.Errorf("invalid port number: %d", n)
	}
	return n, nil
}

func (p *Prober) tcp(ctx context.Context, s subject, timeout time.Duration) answer {
	port, err := portOf(s.spec.TCPSocket.Port, s.container)
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
