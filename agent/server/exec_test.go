package server_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/davit-agent/davit/agent/server/client"
	"github.com/davit-agent/davit/agent/server/wire"
	"github.com/davit-agent/davit/runtime"
)

func (f *fixture) exec(t *testing.T, o client.ExecOptions) (int, error) {
	t.Helper()
	o.Namespace, o.Pod = "default", "web"
	if o.Container == "" {
		o.Container = "server"
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	return f.Exec(ctx, o)
}

func TestExec(t *testing.T) {
	f := newFixture(t)
	f.table.Set(webPod())
	var out, errw bytes.Buffer
	code, err := f.exec(t, client.ExecOptions{
		Command: []string{"sh", "-c", "echo out; echo err >&2; exit 42"}, Stdout: &out, Stderr: &errw})
	if code != 42 || err != nil || out.String() != "out\n" || errw.String() != "err\n" {
		t.Errorf("code %d, error %v, out %q, err %q", code, err, out.String(), errw.String())
	}
	if id := <-f.host.ids; id != runtime.ContainerID("u1", "server", 2) {
		t.Errorf("ran in %s", id)
	}
	for name, c := range map[string]struct {
		o    client.ExecOptions
		want string
	}{
		"no command":        {client.ExecOptions{}, "must specify at least one command"},
		"no such container": {client.ExecOptions{Container: "nope", Command: []string{"x"}}, "choose one of: [server writer slow]"},
		"ended":             {client.ExecOptions{Container: "init", Command: []string{"x"}}, "is not running: it ended with exit code 3"},
		"waiting":           {client.ExecOptions{Container: "slow", Command: []string{"x"}}, "is not running: PodInitializing"},
		"no such program":   {client.ExecOptions{Command: []string{"/no/such/program"}}, "no such file"},
	} {
		_, err := f.exec(t, c.o)
		if t.Log(name); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

// Megabytes go through cat and come back, and the end of stdin is seen while
// output still flows.
func TestExecStdin(t *testing.T) {
	f := newFixture(t)
	f.table.Set(webPod())
	data := bytes.Repeat([]byte("0123456789abcdef"), 5<<20/16)
	var out bytes.Buffer
	code, err := f.exec(t, client.ExecOptions{
		Command: []string{"sh", "-c", "cat; echo end"}, Stdin: bytes.NewReader(data), Stdout: &out})
	if code != 0 || err != nil {
		t.Fatalf("code %d, error %v", code, err)
	}
	if want := append(data, "end\n"...); !bytes.Equal(out.Bytes(), want) {
		t.Errorf("%d bytes came back, want %d", out.Len(), len(want))
	}
}

// endless is a stdin that never runs dry.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// A process that reads nothing does not keep resizes, nor the end of the
// connection, from being seen; at the end of the connection it is killed.
func TestExecBlockedStdin(t *testing.T) {
	f := newFixture(t)
	f.table.Set(webPod())
	sizes := make(chan runtime.WinSize)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := f.Exec(ctx, client.ExecOptions{Namespace: "default", Pod: "web", Container: "server",
			Command: []string{"sizes"}, Stdin: endless{}, Stdout: io.Discard, TTY: true, Resize: sizes})
		ended <- err
	}()
	for _, want := range []runtime.WinSize{{Width: 80, Height: 25}, {Width: 65535, Height: 1}} {
		sizes <- want
		select {
		case got := <-f.host.sizes:
			if got != want {
				t.Fatalf("size %v, want %v", got, want)
			}
		case <-time.After(limit):
			t.Fatal("no size arrived")
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	f.leave() // waits for the session's end, and fails if there is none
}

func TestLeaveWithExec(t *testing.T) {
	f := newFixture(t)
	f.table.Set(webPod())
	ended := make(chan error, 1)
	go func() {
		_, err := f.exec(t, client.ExecOptions{Command: []string{"sleep", "1000"}, Stdout: io.Discard})
		ended <- err
	}()
	<-f.host.ids
	f.leave()
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "davit is leaving") {
		t.Errorf("error %v", err)
	}
}

// A client that breaks the protocol is told so, and its process is killed.
func TestExecProtocolErrors(t *testing.T) {
	f := newFixture(t)
	f.table.Set(webPod())
	for name, c := range map[string]struct {
		send func(w *wire.Writer)
		want string
	}{
		"window": {func(w *wire.Writer) { w.Write(wire.Stdin, make([]byte, wire.StdinWindow+1)) }, "stdin under way"},
		"kind":   {func(w *wire.Writer) { w.Write(wire.Exit, nil) }, "not the client's to send"},
		"size":   {func(w *wire.Writer) { w.Write(wire.Resize, []byte{1}) }, "where 4 were expected"},
	} {
		conn := f.raw(t, "/v1/pods/default/web/exec?container=server&command=sleep&command=1000", wire.ExecProtocol)
		<-f.host.ids
		c.send(wire.NewWriter(conn))
		kind, payload, err := wire.NewReader(conn).Next()
		if err != nil || kind != wire.Error || !strings.Contains(string(payload), c.want) {
			t.Errorf("%s: kind %d, %q, error %v; want %q", name, kind, payload, err, c.want)
		}
		conn.Close()
	}
}
