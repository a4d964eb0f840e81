package ns

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// listen listens inside the namespace at path and hands out what it accepts.
func listen(t *testing.T, path, network, addr string) (netip.AddrPort, <-chan net.Conn) {
	t.Helper()
	var l net.Listener
	if err := Do(path, func() (err error) { l, err = net.Listen(network, addr); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	conns := make(chan net.Conn, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns <- c
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort(), conns
}

func TestDialTCP(t *testing.T) {
	root := tempRoot(t)
	dir := filepath.Join(root, "a")
	mustCreate(t, dir, Options{Kinds: []Kind{Net}})
	path := filepath.Join(dir, "net")
	for network, at := range map[string]string{"tcp4": "127.0.0.1:0", "tcp6": "[::1]:0"} {
		addr, conns := listen(t, path, network, at)
		// On the host nobody listens there: the connection is the namespace's.
		conn, err := DialTCP(t.Context(), path, addr)
		if err != nil {
			t.Fatal(err)
		}
		peer := <-conns
		if got := conn.RemoteAddr().String(); got != addr.String() {
			t.Errorf("connected to %s, want %s", got, addr)
		}
		go func() {
			io.Copy(peer, peer)
			peer.(*net.TCPConn).CloseWrite()
		}()
		if _, err := io.WriteString(conn, "there and back"); err != nil {
			t.Fatal(err)
		}
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(conn); err != nil || string(got) != "there and back" {
			t.Errorf("got %q, %v", got, err)
		}
		conn.Close()
		peer.Close()
	}

	other := filepath.Join(root, "b")
	mustCreate(t, other, Options{Kinds: []Kind{Net}})
	addr, _ := listen(t, path, "tcp4", "127.0.0.1:0")
	_, err := DialTCP(t.Context(), filepath.Join(other, "net"), addr)
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("another namespace's port: %v", err)
	}
	if _, err := DialTCP(t.Context(), filepath.Join(root, "none"), addr); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no namespace: %v", err)
	}
}

// An attempt that nobody answers ends with its context, and leaves nothing open.
func TestDialTCPCancelled(t *testing.T) {
	dir := filepath.Join(tempRoot(t), "a")
	mustCreate(t, dir, Options{Kinds: []Kind{Net}})
	path := filepath.Join(dir, "net")
	// A listener whose queue is full answers no further connection.
	var fd int
	if err := Do(path, func() (err error) {
		fd, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	to := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(name.(*syscall.SockaddrInet4).Port))
	before := openFiles(t)
	for range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		conn, err := DialTCP(ctx, path, to)
		cancel()
		if err == nil {
			defer conn.Close() // there was room
			before++
			continue
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error %v", err)
		}
		if after := openFiles(t); after > before+2 {
			t.Errorf("%d files are open, %d were before", after, before)
		}
		return
	}
	t.Fatal("the queue never fills")
}

func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
