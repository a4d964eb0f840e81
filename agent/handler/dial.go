package handler

import (
	"context"
	"net"
	"net/netip"
	"strconv"
)

// Line dials from inside a pod.
type Line struct {
	// Lookup resolves a host that is no address.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// Connect opens a TCP connection.
	Connect func(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	// Explain words an error of Connect as that of Go's own dialer, which is what
	// kubelet shows.
	Explain func(ctx context.Context, to netip.AddrPort, err error) error
}

// Dial connects to "host:port". Of several addresses the first one's error is
// told.
func (l Line) Dial(ctx context.Context, address string) (net.Conn, error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.AddrError{Err: "invalid port", Addr: portText}}
	}
	var addrs []netip.Addr
	if addr, err := netip.ParseAddr(host); err == nil {
		addrs = append(addrs, addr)
	} else if addrs, err = l.Lookup(ctx, host); err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	err = &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}}
	for i, addr := range addrs {
		to := netip.AddrPortFrom(addr.Unmap(), uint16(port))
		conn, failure := l.Connect(ctx, to)
		if failure == nil {
			return conn, nil
		}
		if i == 0 {
			err = l.Explain(ctx, to, failure)
		}
	}
	return nil, err
}
