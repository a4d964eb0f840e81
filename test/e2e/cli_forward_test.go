package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/davit-agent/davit/test/node"
	"github.com/davit-agent/davit/test/testbed"
)

func TestCLIPortForward(t *testing.T) {
	n := start(t, "")
	n.Apply("srv.yaml", withPort(podtool("srv", "Always", "tcp", "127.0.0.1:7000"), 7000))
	n.Apply("six.yaml", podtool("six", "Always", "tcp", "[::1]:7001"))
	n.Apply("host.yaml", strings.Replace(podtool("host", "Always", "tcp", "127.0.0.1:7002"), "spec:\n", "spec:\n  hostNetwork: true\n", 1))
	for _, name := range []string{"srv", "six", "host"} {
		n.WaitPod(name, patience, node.Ready)
	}
	t.Run("ports", func(t *testing.T) { forwardPorts(t, n) })
	t.Run("100 MB", func(t *testing.T) { forwardMuch(t, n) })
	t.Run("half closed", func(t *testing.T) { forwardHalfClosed(t, n) })
	t.Run("errors", func(t *testing.T) { forwardErrors(t, n) })
	t.Run("stopped reader", func(t *testing.T) { forwardStuck(t, n) })
	t.Run("client killed", func(t *testing.T) { forwardClientKilled(t, n) })
	t.Run("interrupted", func(t *testing.T) {
		c, addr := forward(t, n, "srv", ":7000")
		conn := dial(t, addr, "hold\n")
		_ = c.cmd.Process.Signal(syscall.SIGINT)
		if code := c.ends(); code != 0 {
			t.Errorf("exit code %d: %s", code, &c.errs)
		}
		wantReset(t, conn)
	})
	t.Run("pod goes", func(t *testing.T) { forwardPodGoes(t, n) })
	t.Run("davit killed", func(t *testing.T) {
		c, addr := forward(t, n, "six", ":7001")
		conn := dial(t, addr, "hold\n")
		n.Kill()
		if code := c.ends(); code != 1 || !strings.Contains(c.errs.String(), "lost connection to pod six-"+node.Name) {
			t.Errorf("exit code %d: %s", code, &c.errs)
		}
		wantReset(t, conn)
		n.Start()
		n.Await()
	})
	for _, name := range []string{"six", "host"} {
		n.Withdraw(name + ".yaml")
		n.WaitPod(name, patience, node.Gone)
	}
	noLeaks(t, n)
}

func withPort(manifest string, port int) string {
	return strings.Replace(manifest, "{name: main,", fmt.Sprintf("{name: main, ports: [{name: web, containerPort: %d}],", port), 1)
}

// forward starts davit port-forward and returns the first local address it tells.
func forward(t *testing.T, n *node.Node, args ...string) (*command, string) {
	t.Helper()
	c := begin(t, n, nil, append([]string{"port-forward"}, args...)...)
	testbed.Poll(t, patience, func() string {
		if strings.Contains(c.out.String(), " -> ") {
			return ""
		}
		select {
		case <-c.done:
			t.Fatalf("davit port-forward ended: %s", &c.errs)
		default:
		}
		return "nothing is forwarded"
	})
	_, rest, _ := strings.Cut(c.out.String(), "Forwarding from ")
	addr, _, _ := strings.Cut(rest, " -> ")
	return c, addr
}

// dial connects and says which of podtool's answers is wanted.
func dial(t *testing.T, addr, command string) *net.TCPConn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, command); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

// wantReset fails unless the connection broke, which is no orderly end.
func wantReset(t *testing.T, conn net.Conn) {
	t.Helper()
	if n, err := io.Copy(io.Discard, conn); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the connection ended after %d bytes with %v, want a reset", n, err)
	}
}

func forwardPorts(t *testing.T, n *node.Node) {
	for _, p := range []struct{ pod, port string }{{"srv", ":7000"}, {"pod/srv", ":web"}, {"six", ":7001"}, {"host", ":7002"}} {
		c, addr := forward(t, n, p.pod, p.port)
		testbed.Poll(t, patience, func() string { // both loopback addresses lead there
			if strings.Count(c.out.String(), "Forwarding from ") == 2 {
				return ""
			}
			return c.out.String()
		})
		_, port, _ := net.SplitHostPort(addr)
		for _, at := range []string{addr, net.JoinHostPort("::1", port)} {
			conn := dial(t, at, "hash\n")
			conn.CloseWrite()
			if got, want := read(t, conn), sumOf(t, strings.NewReader("")); got != want {
				t.Errorf("%v through %s: %q, want %q", p, at, got, want)
			}
		}
		if want := "Handling connection for " + port + "\n"; strings.Count(c.out.String(), want) != 2 {
			t.Errorf("it printed %q", &c.out)
		}
		c.kill()
	}
}

func read(t *testing.T, r io.Reader) string {
	t.Helper()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Error(err)
	}
	return string(data)
}

// Much goes both ways at once, in several connections, through little memory.
func forwardMuch(t *testing.T, n *node.Node) {
	want := sumOf(t, noise(much))
	c, addr := forward(t, n, "srv", ":7000")
	var all sync.WaitGroup
	for _, what := range []string{"echo\n", fmt.Sprintf("bytes %d\n", much), "hash\n"} {
		conn := dial(t, addr, what)
		if !strings.HasPrefix(what, "bytes") {
			all.Go(func() {
				if _, err := io.Copy(conn, noise(much)); err != nil {
					t.Errorf("%s: %v", what, err)
				}
				conn.CloseWrite()
			})
		}
		all.Go(func() {
			got := ""
			if what == "hash\n" {
				got, _ = bufio.NewReader(conn).ReadString('\n')
			} else {
				got = sumOf(t, conn)
			}
			if got != want {
				t.Errorf("%q: %s, want %s", what, got, want)
			}
		})
	}
	all.Wait()
	if c.errs.String() != "" {
		t.Errorf("it told of %s", &c.errs)
	}
	if client, server := peak(t, c.cmd.Process.Pid), peak(t, n.Pid()); client > memoryLimit || server > memoryLimit {
		t.Errorf("the command had %d MiB at most, davit %d, want at most %d", client>>20, server>>20, memoryLimit>>20)
	}
}

// Either direction ends alone.
func forwardHalfClosed(t *testing.T, n *node.Node) {
	testbed.Poll(t, patience, func() string { // it runs before it listens
		if out, _, _ := n.CLI("logs", "srv"); strings.Contains(out, "listening") {
			return ""
		}
		return "the pod does not listen"
	})
	c, addr := forward(t, n, "srv", ":7000")
	defer func() {
		if t.Failed() {
			t.Logf("davit port-forward told: %s", &c.errs)
		}
	}()
	conn := dial(t, addr, "end\n")
	if got := read(t, conn); got != "" { // the pod's direction has ended
		t.Errorf("got %q", got)
	}
	const text = "this still arrives"
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	conn.CloseWrite()
	want := sumOf(t, strings.NewReader(text))
	testbed.Poll(t, patience, func() string {
		out, _, _ := n.CLI("logs", "srv")
		if strings.Contains(out, want) {
			return ""
		}
		return fmt.Sprintf("the pod did not get what was sent after its own end, want %s in its log:\n%s", want, out)
	})
}

// What goes wrong with a connection is told, and the forwarding goes on.
func forwardErrors(t *testing.T, n *node.Node) {
	c, addr := forward(t, n, "srv", ":7000", ":7999")
	testbed.Poll(t, patience, func() string {
		if strings.Contains(c.out.String(), " -> 7999") {
			return ""
		}
		return c.out.String()
	})
	_, rest, _ := strings.Cut(c.out.String(), " -> 7000\nForwarding from [::1]")
	_, rest, _ = strings.Cut(rest, "Forwarding from ")
	refused, _, _ := strings.Cut(rest, " -> 7999")
	conn, err := net.DialTimeout("tcp", refused, patience)
	if err != nil {
		t.Fatalf("%s: %v", &c.out, err)
	}
	defer conn.Close()
	wantReset(t, conn)
	c.errs.await(t, "-> 7999: failed to connect to localhost:7999 inside pod srv-"+node.Name+": connection refused")
	wantReset(t, dial(t, addr, "reset\n"))
	c.errs.await(t, "-> 7000: ")
	conn2 := dial(t, addr, "echo\nstill here\n")
	conn2.CloseWrite()
	if got := read(t, conn2); got != "still here\n" {
		t.Errorf("after errors: %q", got)
	}

	_, port, _ := net.SplitHostPort(addr)
	for _, e := range []struct {
		args []string
		code int
		text string
	}{
		{[]string{"srv", port + ":7000"}, 1, "unable to listen on port " + port},
		{[]string{"srv", ":nope"}, 1, "pod 'srv-n1' does not have a named port 'nope'"},
		{[]string{"srv", "0"}, 2, "remote port must be > 0"},
		{[]string{"srv", "1:2:3"}, 2, "invalid port format '1:2:3'"},
		{[]string{"srv", "x:80"}, 2, "error parsing local port 'x'"},
		{[]string{"srv", ":80", "--address", "example"}, 2, "--address example is not a valid IP"},
		{[]string{"none", "80"}, 1, `pods "none" not found`},
		{[]string{"deployment/x", "80"}, 2, "only a pod can be named"},
		{[]string{"srv"}, 2, "at least one [LOCAL:]REMOTE port"},
	} {
		if _, stderr, code := n.CLI(append([]string{"port-forward"}, e.args...)...); code != e.code || !strings.Contains(stderr, e.text) {
			t.Errorf("port-forward %v: %d, %s, want %d and %s", e.args, code, stderr, e.code, e.text)
		}
	}
}

// Whoever stops reading holds up the pod's sender, and nobody else.
func forwardStuck(t *testing.T, n *node.Node) {
	c, addr := forward(t, n, "srv", ":7000")
	dial(t, addr, fmt.Sprintf("bytes %d\n", 10*much)) // and reads nothing
	stuck := dial(t, addr, "hold\n")
	go io.Copy(stuck, noise(10*much))
	for range 5 {
		conn := dial(t, addr, "hash\n")
		conn.CloseWrite()
		read(t, conn)
	}
	if client, server := peak(t, c.cmd.Process.Pid), peak(t, n.Pid()); client > memoryLimit || server > memoryLimit {
		t.Errorf("the command had %d MiB at most, davit %d", client>>20, server>>20)
	}
}

// A command that is killed takes its connections along, also those into which
// nothing can be written because the pod does not read.
func forwardClientKilled(t *testing.T, n *node.Node) {
	none := func() string {
		if got := established(t, n); got > 0 {
			return fmt.Sprintf("%d connections are left", got)
		}
		return ""
	}
	testbed.Poll(t, patience, none) // of the commands before
	c, addr := forward(t, n, "srv", ":7000")
	stuck := dial(t, addr, "hold\n")
	go io.Copy(stuck, noise(much))
	conn := dial(t, addr, "echo\nhi\n")
	if line, err := bufio.NewReader(conn).ReadString('\n'); line != "hi\n" {
		t.Fatalf("%q, %v", line, err)
	}
	testbed.Poll(t, patience, func() string {
		if got := established(t, n); got >= 2 {
			return ""
		}
		return "the connections do not show"
	})
	c.kill()
	testbed.Poll(t, patience, none)
}

// established counts the server's ends of connections to port 7000 in the pod.
func established(t *testing.T, n *node.Node) (count int) {
	t.Helper()
	for line := range strings.Lines(execIn(t, n, "srv", "main", "cat", "/proc/net/tcp")) {
		// local address, remote address, state; 1B58 is 7000, 01 is established.
		if f := strings.Fields(line); len(f) > 3 && strings.HasSuffix(f[2], ":1B58") && f[3] == "01" {
			count++
		}
	}
	return count
}

func forwardPodGoes(t *testing.T, n *node.Node) {
	c, addr := forward(t, n, "srv", ":7000")
	conn := dial(t, addr, "hold\n")
	n.Withdraw("srv.yaml")
	if code := c.ends(); code != 1 || !strings.Contains(c.errs.String(), "lost connection to pod srv-"+node.Name) {
		t.Errorf("exit code %d: %s", code, &c.errs)
	}
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection outlives the pod")
	}
	n.WaitPod("srv", patience, node.Gone)
	_, stderr, code := n.CLI("port-forward", "srv", ":7000")
	if code != 1 || !strings.Contains(stderr, `pods "srv" not found`) {
		t.Errorf("%d: %s", code, stderr)
	}
}
