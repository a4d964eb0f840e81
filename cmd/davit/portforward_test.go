package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/davit-agent/davit/agent/server/client"
)

func TestParsePort(t *testing.T) {
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: v1.PodSpec{Containers: []v1.Container{{Ports: []v1.ContainerPort{
		{Name: "dns", ContainerPort: 53, Protocol: v1.ProtocolUDP}, {Name: "http", ContainerPort: 8080}}}}}}
	for spec, want := range map[string]struct {
		local, remote uint16
		err           string
	}{
		"80":        {80, 80, ""},
		"8080:80":   {8080, 80, ""},
		":80":       {0, 80, ""},
		"0:80":      {0, 80, ""},
		":http":     {0, 8080, ""},
		"http":      {8080, 8080, ""},
		"81:http":   {81, 8080, ""},
		":dns":      {err: "pod 'web' does not have a named port 'dns'"},
		"0":         {err: "remote port must be > 0"},
		"":          {err: "error parsing remote port ''"},
		"80:":       {err: "error parsing remote port ''"},
		"65536":     {err: "error parsing remote port '65536'"},
		"-1:80":     {err: "error parsing local port '-1'"},
		"http:80":   {err: "error parsing local port 'http'"},
		"65536:80":  {err: "error parsing local port '65536'"},
		"1:2:3":     {err: "invalid port format '1:2:3'"},
		"127.1:80x": {err: "error parsing remote port '80x'"},
	} {
		p, err := parsePort(spec, pod)
		if want.err != "" {
			if err == nil || !strings.Contains(err.Error(), want.err) {
				t.Errorf("%q: %+v, error %v, want %s", spec, p, err, want.err)
			}
			continue
		}
		if err != nil || p.local != want.local || p.remote != want.remote {
			t.Errorf("%q: %+v, error %v, want %+v", spec, p, err, want)
		}
	}
}

func TestLocalAddresses(t *testing.T) {
	got, err := localAddresses([]string{"localhost", "127.0.0.1", "192.0.2.1"})
	v4, v6 := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")
	if err != nil || len(got) != 3 || got[0] != (localAddress{v4, true}) || got[1] != (localAddress{v6, true}) || got[2].either {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range [][]string{{"example.com"}, {}, {""}} {
		var usage usageError
		if got, err := localAddresses(bad); !errors.As(err, &usage) {
			t.Errorf("%q: %v, %v", bad, got, err)
		}
	}
}

// A port is listened on at all addresses or at none; a random one is the same at
// all.
func TestListen(t *testing.T) {
	var out bytes.Buffer
	f := &forwarder{out: &out, errw: io.Discard}
	defer f.close()
	if err := f.listen(forwardedPort{remote: 80}, []string{"localhost"}); err != nil {
		t.Fatal(err)
	}
	if len(f.listeners) != 2 || f.listeners[0].port != f.listeners[1].port || f.listeners[0].port.local == 0 {
		t.Fatalf("%+v", f.listeners)
	}
	taken := f.listeners[0].port.local
	if want := "Forwarding from " + f.listeners[1].Addr().String() + " -> 80\n"; !strings.HasSuffix(out.String(), want) || !strings.Contains(out.String(), "from 127.0.0.1:") {
		t.Errorf("it says %q", &out)
	}
	f.listeners[0].Close() // IPv6 is still taken
	err := (&forwarder{out: io.Discard}).listen(forwardedPort{local: taken, remote: 80}, []string{"localhost"})
	if err == nil || !strings.Contains(err.Error(), "address already in use; take another local port, such as :80") {
		t.Errorf("error %v", err)
	}
	again, err := net.Listen("tcp4", f.listeners[0].Addr().String())
	if err != nil {
		t.Fatalf("what failed kept an address: %v", err)
	}
	again.Close()
	if _, err := listenAll(forwardedPort{remote: 80}, []localAddress{{netip.MustParseAddr("192.0.2.1"), true}}); err == nil {
		t.Error("it listens at an address that the machine has not")
	}
}

// The forwarding ends with the pod, and says why.
func TestPodEnds(t *testing.T) {
	socket, table := serve(t)
	other := pod("default", "other-n1", "9")
	table.Set(other)
	for want, end := range map[string]func(){
		"lost connection to pod web-n1: it was deleted": func() { table.Delete("u1") },
		"lost connection to pod web-n1: it has ended, its phase is Failed": func() {
			p := pod("default", "web-n1", "1")
			p.Status.Phase = v1.PodFailed
			table.Set(p)
		},
		"": nil,
	} {
		table.Set(pod("default", "web-n1", "1"))
		said, out := io.Pipe()
		o := &portForward{client: client.New(socket), out: out, errw: io.Discard,
			namespace: "default", pod: "web", specs: []string{":80"}, addresses: []string{"127.0.0.1"}}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- o.run(ctx) }()
		if line := lines(said)(); !strings.HasPrefix(line, "Forwarding from 127.0.0.1:") {
			t.Fatalf("it says %q", line)
		}
		table.Set(other) // is no matter
		if end == nil {
			cancel()
		} else {
			end()
		}
		select {
		case err := <-ended:
			if want == "" && err != nil || want != "" && (err == nil || err.Error() != want) {
				t.Errorf("error %v, want %q", err, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("it goes on: want %q", want)
		}
		cancel()
	}
}
