package ns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// DialTCP connects to addr from inside the network namespace at path. The
// socket is made on a thread that is in the namespace, and thrown away at once;
// a socket stays in the namespace it was made in, so everything after that is
// done from here, also when the namespace has lost its pin meanwhile. The error
// of a refused connection wraps syscall.ECONNREFUSED.
func DialTCP(ctx context.Context, path string, addr netip.AddrPort) (net.Conn, error) {
	conn, err := dialTCP(ctx, path, addr)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s in network namespace %s: %w", addr, path, err)
	}
	return conn, nil
}

func dialTCP(ctx context.Context, path string, addr netip.AddrPort) (net.Conn, error) {
	family := unix.AF_INET6
	if addr.Addr().Is4() {
		family = unix.AF_INET
	}
	fd := -1
	err := Do(path, func() (err error) {
		fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		return os.NewSyscallError("socket", err)
	})
	if err != nil {
		return nil, err
	}
	// The file puts the descriptor to the poller; the connection has a copy.
	f := os.NewFile(uintptr(fd), "tcp")
	defer f.Close()
	if err := connect(ctx, f, sockaddr(addr)); err != nil {
		return nil, err
	}
	return net.FileConn(f)
}

func sockaddr(addr netip.AddrPort) unix.Sockaddr {
	if addr.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16()}
}

// connect connects a socket that does not block and waits for the outcome.
func connect(ctx context.Context, f *os.File, to unix.Sockaddr) error {
	// A deadline in the past wakes whoever waits.
	defer context.AfterFunc(ctx, func() { f.SetDeadline(time.Unix(1, 0)) })()
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	first := true
	var failed error
	err = raw.Write(func(fd uintptr) (done bool) {
		if first {
			first = false
			failed = unix.Connect(int(fd), to)
			done = failed != unix.EINPROGRESS && failed != unix.EINTR
			return done
		}
		done, failed = connected(int(fd))
		return done
	})
	if err == nil {
		err = os.NewSyscallError("connect", failed)
	}
	if ctx.Err() != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		return ctx.Err()
	}
	return err
}

// connected tells whether an attempt to connect has ended, and how. A wake can
// be an old one, so "no error" needs a peer to be believed.
func connected(fd int) (done bool, err error) {
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return true, err
	}
	if code != 0 {
		return true, unix.Errno(code)
	}
	_, err = unix.Getpeername(fd)
	if err == unix.ENOTCONN {
		return false, nil
	}
	return true, err
}
