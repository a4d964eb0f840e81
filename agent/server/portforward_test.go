package server_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/davit-agent/davit/agent/server/client"
	"github.com/davit-agent/davit/agent/server/wire"
)

// pair is a TCP connection on loopback: both ends.
func pair(t *testing.T) (a, b *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	d, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	for _, conn := range []net.Conn{c, d} {
		conn.SetDeadline(time.Now().Add(limit))
		t.Cleanup(func() { conn.Close() })
	}
	return c.(*net.TCPConn), d.(*net.TCPConn)
}

// forward forwards one connection and returns the user's end, the pod's end, and
// where the outcome comes.
func (f *fixture) forward(t *testing.T, ctx context.Context) (user, pod *net.TCPConn, ended <-chan error) {
	t.Helper()
	dialled, pod := pair(t)
	dial := dialFunc(func(_ context.Context, uid string, port uint16) (net.Conn, error) {
		if uid != "u1" || port != 80 {
			return nil, fmt.Errorf("dialled port %d of %s", port, uid)
		}
		return dialled, nil
	})
	f.dial.Store(&dial)
	user, local := pair(t)
	out := make(chan error, 1)
	go func() {
		out <- f.Forward(ctx, client.ForwardOptions{Namespace: "default", Pod: "web", UID: "u1", Port: 80}, local)
	}()
	return user, pod, out
}

func ends(t *testing.T, ended <-chan error) error {
	t.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(limit):
		t.Fatal("the connection does not end")
		return nil
	}
}

func isReset(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, conn); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the connection ended with %v, want a reset", err)
	}
}

// Each direction carries its own bytes and ends by itself, whichever is first.
func TestForward(t *testing.T) {
	f := newFixture(t)
	f.table.Set(webPod())
	// Often, for who ends last hangs up at once, which must not overtake what it sent.
	for round := range 200 {
		userFirst := round%2 == 0
		user, pod, ended := f.forward(t, t.Context())
		first, second := pod, user
		if userFirst {
			first, second = user, pod
		}
		for from, to := range map[*net.TCPConn]*net.TCPConn{first: second, second: first} {
			text := rand.Text()
			if _, err := io.WriteString(from, text); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(text))
			if _, err := io.ReadFull(to, got); err != nil || string(got) != text {
				t.Fatalf("%q, %v, want %q", got, err, text)
			}
		}
		first.CloseWrite()
		if got, err := io.ReadAll(second); err != nil || len(got) != 0 {
			t.Errorf("at the first end: %q, %v", got, err)
		}
		if _, err := io.WriteString(second, "and still"); err != nil {
			t.Fatal(err)
		}
		second.CloseWrite()
		if got, err := io.ReadAll(first); err != nil || string(got) != "and still" {
			t.Errorf("after the first end: %q, %v", got, err)
		}
		if err := ends(t, ended); err != nil {
			t.Error(err)
		}
	}
}

// What the pod sent before both directions ended arrives in full, however late it
// is read.
func TestForwardSlowReader(t *testing.T) {
	f := newFixture(t)
	f.table.Set(webPod())
	user, pod, ended := f.forward(t, t.Context())
	data := strings.Repeat("0123456789abcdef", 8<<20/16)
	user.CloseWrite()
	io.Copy(io.Discard, pod) // until the user's end is here
	go func() {
		io.WriteString(pod, data)
		pod.Close()
	}()
	buf := make([]byte, 256<<10)
	var got strings.Builder
	for {
		n, err := user.Read(buf)
		got.Write(buf[:n])
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("after %d bytes: %v", got.Len(), err)
		}
		time.Sleep(time.Millisecond)
	}
	if got.String() != data {
		t.Errorf("%d bytes arrived, want %d", got.Len(), len(data))
	}
	if err := ends(t, ended); err != nil {
		t.Error(err)
	}
}

func TestForwardRefused(t *testing.T) {
	f := newFixture(t)
	pod := webPod()
	f.table.Set(pod)
	for name, c := range map[string]struct {
		o    client.ForwardOptions
		dial error
		want string
	}{
		"nobody listens": {client.ForwardOptions{Port: 80}, fmt.Errorf("in /run/x: %w", syscall.ECONNREFUSED),
			"failed to connect to localhost:80 inside pod web-n1: connection refused: nothing listens there, neither on 127.0.0.1 nor on ::1"},
		"no answer":   {client.ForwardOptions{Port: 80}, context.DeadlineExceeded, "takes no connections"},
		"other":       {client.ForwardOptions{Port: 80}, errors.New("first\nsecond"), "inside pod web-n1: first second"},
		"port 0":      {client.ForwardOptions{}, nil, "not a port number from 1 to 65535"},
		"another pod": {client.ForwardOptions{Port: 80, UID: "u0"}, nil, "pod web-n1 is another one by now: its UID is u1"},
	} {
		dial := dialFunc(func(context.Context, string, uint16) (net.Conn, error) { return nil, c.dial })
		f.dial.Store(&dial)
		user, local := pair(t)
		c.o.Namespace, c.o.Pod = "default", "web"
		err := f.Forward(t.Context(), c.o, local)
		t.Log(name)
		wantErr(t, err, c.want)
		isReset(t, user)
	}
	ended := webPod()
	ended.Status.Phase = "Succeeded"
	f.table.Set(ended)
	_, local := pair(t)
	wantErr(t, f.Forward(t.Context(), client.ForwardOptions{Namespace: "default", Pod: "web", Port: 80}, local),
		"unable to forward port because pod is not running. Current status=Succeeded")
}

// A reset on one side is one on the other, also where the other does not read.
func TestForwardReset(t *testing.T) {
	f := newFixture(t)
	f.table.Set(webPod())
	for _, full := range []bool{false, true} {
		user, pod, ended := f.forward(t, t.Context())
		if full {
			fill(t, user)
		}
		pod.SetLinger(0)
		pod.Close()
		wantErr(t, ends(t, ended), "connection reset by peer")
		isReset(t, user)

		user, pod, ended = f.forward(t, t.Context())
		if full {
			fill(t, user)
		}
		user.SetLinger(0)
		user.Close()
		wantErr(t, ends(t, ended), "reset by peer")
		isReset(t, pod)
	}
}

// fill writes until nothing goes any more: the other side does not read.
func fill(t *testing.T, conn *net.TCPConn) {
	t.Helper()
	conn.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
	n, err := conn.ReadFrom(endless{})
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Fatalf("after %d bytes: %v", n, err)
	}
	conn.SetWriteDeadline(time.Now().Add(limit))
}

// A direction that stands still does not hold up the other.
func TestForwardDirectionsAreApart(t *testing.T) {
	f := newFixture(t)
	f.table.Set(webPod())
	user, pod, _ := f.forward(t, t.Context())
	fill(t, pod) // the user does not read
	data := strings.Repeat("0123456789abcdef", 4<<20/16)
	wrote := make(chan error, 1)
	go func() {
		_, err := io.WriteString(user, data)
		wrote <- err
	}()
	got := make([]byte, len(data))
	if _, err := io.ReadFull(pod, got); err != nil || string(got) != data {
		t.Errorf("reading beside a direction that is stuck: %v", err)
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
}

// Whoever goes takes the connection along, whatever the other does.
func TestForwardLeave(t *testing.T) {
	f := newFixture(t)
	f.table.Set(webPod())
	ctx, cancel := context.WithCancel(t.Context())
	user, pod, ended := f.forward(t, ctx)
	fill(t, user)
	cancel()
	if err := ends(t, ended); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	isReset(t, user)
	isReset(t, pod)

	user, pod, ended = f.forward(t, t.Context())
	fill(t, user)
	fill(t, pod)
	f.leave()
	wantErr(t, ends(t, ended), "davit is leaving")
	isReset(t, user)
	isReset(t, pod)
}

// A client that breaks the protocol is told so, and the pod's end is closed.
func TestForwardProtocolErrors(t *testing.T) {
	f := newFixture(t)
	f.table.Set(webPod())
	for name, c := range map[string]struct {
		send func(w *wire.Writer)
		want string
	}{
		"window": {func(w *wire.Writer) {
			for range 100 {
				if w.Write(wire.Data, make([]byte, wire.StdinWindow)) != nil {
					return // it was noticed, sooner or later
				}
			}
		}, "under way"},
		"kind": {func(w *wire.Writer) { w.Write(wire.Stdin, nil) }, "not one of a tunnel"},
		"size": {func(w *wire.Writer) { w.Write(wire.Window, []byte{1}) }, "where 4 were expected"},
	} {
		dialled, pod := pair(t)
		dial := dialFunc(func(context.Context, string, uint16) (net.Conn, error) { return dialled, nil })
		f.dial.Store(&dial)
		conn := f.raw(t, "/v1/pods/default/web/portforward?port=80", wire.ForwardProtocol)
		go c.send(wire.NewWriter(conn))
		in := wire.NewReader(conn)
		for {
			kind, payload, err := in.Next()
			if kind == wire.Window && err == nil {
				continue
			}
			if err != nil || kind != wire.Error || !strings.Contains(string(payload), c.want) {
				t.Errorf("%s: kind %d, %q, error %v; want %q", name, kind, payload, err, c.want)
			}
			break
		}
		isReset(t, pod)
	}
}

// raw is a connection on which a protocol is spoken.
func (f *fixture) raw(t *testing.T, path, protocol string) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", f.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(limit))
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: davit\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", path, protocol)
	for head := ""; !strings.HasSuffix(head, "\r\n\r\n"); {
		b := make([]byte, 1)
		if _, err := conn.Read(b); err != nil {
			t.Fatal(err)
		}
		head += string(b)
	}
	return conn
}
