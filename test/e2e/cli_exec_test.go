package e2e

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/davit-agent/davit/test/node"
	"github.com/davit-agent/davit/test/testbed"
)

// much is more than any buffer on the way holds; memoryLimit, what davit and its
// command may have at most when they carry it.
const (
	much        = 100 << 20
	memoryLimit = 96 << 20
)

// noise is what podtool's bytes prints.
func noise(n int64) io.Reader { return io.LimitReader(rand.NewChaCha8([32]byte{}), n) }

// sumOf is what podtool's hash says of r.
func sumOf(t *testing.T, r io.Reader) string {
	t.Helper()
	h := sha256.New()
	n, err := io.Copy(h, r)
	if err != nil {
		t.Errorf("after %d bytes: %v", n, err)
	}
	return fmt.Sprintf("%d %x\n", n, h.Sum(nil))
}

func TestCLIExec(t *testing.T) {
	t.Run("containerd of Debian", func(t *testing.T) { cliExec(t, "") })
	t.Run("containerd 2", func(t *testing.T) { cliExec(t, testbed.BuildContainerd2(t)) })
}

func cliExec(t *testing.T, bin string) {
	n := node.Start(t, testbed.New(t, testbed.Options{Containerd: bin}), node.Options{})
	n.Apply("box.yaml", podtool("box", "Always", "sleep"))
	n.WaitPod("box", patience, node.Ready)
	t.Run("terminal", func(t *testing.T) { execTerminal(t, n) })
	t.Run("interrupted", func(t *testing.T) { execInterrupted(t, n) })
	t.Run("streams", func(t *testing.T) { execStreams(t, n) })
	t.Run("100 MB", func(t *testing.T) { execMuch(t, n) })
	t.Run("client stopped", func(t *testing.T) { execStuckReader(t, n) })
	t.Run("client killed", func(t *testing.T) { execClientKilled(t, n) })
	t.Run("container ends", func(t *testing.T) { execContainerEnds(t, n) })
	t.Run("davit leaves", func(t *testing.T) { execServerLeaves(t, n, n.Restart, func() {}, "davit is leaving") })
	t.Run("davit killed", func(t *testing.T) {
		execServerLeaves(t, n, n.Kill, func() { n.Start(); n.Await() }, "davit went away")
	})
	t.Run("containerd killed", func(t *testing.T) {
		execServerLeaves(t, n, n.Bed.Containerd.Kill, n.Bed.Containerd.Start, "container runtime is not reachable")
	})
	n.Withdraw("box.yaml")
	n.WaitPod("box", patience, node.Gone)
	noLeaks(t, n)
}

// A shell at a terminal: its size, a change of it, Ctrl-C, the exit code, and the
// terminal as it was.
func execTerminal(t *testing.T, n *node.Node) {
	tty := newTerminal(t)
	tty.resize(33, 101)
	c := begin(t, n, tty.attach, "exec", "-it", "box", "--", "sh")
	testbed.Poll(t, patience, func() string { // the size comes after the shell has started
		tty.types("stty size\n")
		if strings.Contains(tty.out.String(), "33 101") {
			return ""
		}
		return "no size in " + tailOf(tty.out.String())
	})
	if !tty.raw() {
		t.Error("the terminal is not in raw mode")
	}
	tty.resize(44, 122)
	testbed.Poll(t, patience, func() string {
		tty.types("stty size\n")
		if strings.Contains(tty.out.String(), "44 122") {
			return ""
		}
		return "no new size in " + tailOf(tty.out.String())
	})
	tty.types("trap 'echo caught' INT; echo wait''ing; sleep 1000; echo code=$?\n")
	tty.out.await(t, "waiting")
	tty.types("\x03")
	tty.out.await(t, "code=130")
	tty.types("exit 7\n")
	if code := c.ends(); code != 7 {
		t.Errorf("exit code %d, want 7: %s", code, tailOf(tty.out.String()))
	}
	if tty.raw() {
		t.Error("the terminal is still in raw mode")
	}
}

// Without a terminal in the container Ctrl-C is for davit, and the command ends
// with it.
func execInterrupted(t *testing.T, n *node.Node) {
	tty := newTerminal(t)
	c := begin(t, n, tty.attach, "exec", "box", "--", "sh", "-c", "echo up; exec sleep 71")
	tty.out.await(t, "up")
	tty.types("\x03")
	if code := c.ends(); code != 130 {
		t.Errorf("exit code %d, want 130", code)
	}
	noProcess(t, n, "sleep 71")
}

// noProcess waits until no process in the container has text in its command line.
func noProcess(t *testing.T, n *node.Node, text string) {
	t.Helper()
	testbed.Poll(t, patience, func() string {
		out, stderr, code := n.CLI("exec", "box", "--", "ps")
		if code != 0 {
			return stderr
		}
		for line := range strings.Lines(out) {
			if strings.Contains(line, text) {
				return "there is still " + line
			}
		}
		return ""
	})
}

func execStreams(t *testing.T, n *node.Node) {
	for _, c := range []struct {
		args        []string
		stdin       string
		code        int
		out, stderr string
	}{
		{args: []string{"box", "--", "sh", "-c", "echo out; echo err >&2; exit 3"}, code: 3, out: "out\n", stderr: "err\n"},
		{args: []string{"-i", "box", "-c", "main", "--", "sh", "-c", "cat; echo end"}, stdin: "in\n", out: "in\nend\n"},
		{args: []string{"-i", "box", "--", "true"}, stdin: strings.Repeat("nobody reads this\n", 1<<16)},
		{args: []string{"-it", "pod/box", "--", "cat"}, stdin: "x", out: "x", stderr: "Unable to use a TTY - input is not a terminal or the right kind of file\n"},
		{args: []string{"box", "--", "sh", "-c", "kill -9 $$"}, code: 137},
	} {
		cmd := begin(t, n, func(cmd *exec.Cmd) { cmd.Stdin = strings.NewReader(c.stdin) }, append([]string{"exec"}, c.args...)...)
		if code := cmd.ends(); code != c.code || cmd.out.String() != c.out || cmd.errs.String() != c.stderr {
			t.Errorf("davit exec %v: %d, %q, %q, want %+v", c.args, code, &cmd.out, &cmd.errs, c)
		}
	}
	_, stderr, code := n.CLI("exec", "box", "--", "no-such-program")
	if code != 1 || !strings.Contains(stderr, "no-such-program") {
		t.Errorf("a program that is not there: %d, %s", code, stderr)
	}
}

func execMuch(t *testing.T, n *node.Node) {
	want := sumOf(t, noise(much))
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := begin(t, n, func(cmd *exec.Cmd) { cmd.Stdin, cmd.Stdout = noise(much), write }, "exec", "-i", "box", "--", "podtool", "echo")
	write.Close()
	buf, h := make([]byte, 32<<10), sha256.New()
	var total, most int
	for {
		k, err := read.Read(buf)
		h.Write(buf[:k])
		if total += k; total > much*9/10 && most == 0 {
			most = peak(t, c.cmd.Process.Pid)
		}
		if err != nil {
			break
		}
	}
	if code := c.ends(); code != 0 {
		t.Errorf("exit code %d: %s", code, &c.errs)
	}
	if got := fmt.Sprintf("%d %x\n", total, h.Sum(nil)); got != want {
		t.Errorf("what comes back is %s, want %s", got, want)
	}
	if server := peak(t, n.Pid()); most == 0 || most > memoryLimit || server > memoryLimit {
		t.Errorf("the command had %d MiB at most, davit %d, want at most %d", most>>20, server>>20, memoryLimit>>20)
	}
}

// A client that does not take its output stops the process, not davit, and it
// does not keep the pod from ending.
func execStuckReader(t *testing.T, n *node.Node) {
	n.Apply("stuck.yaml", podtool("stuck", "Always", "sleep"))
	n.WaitPod("stuck", patience, node.Ready)
	c := begin(t, n, nil, "exec", "stuck", "--", "podtool", "lines", "0")
	c.out.await(t, "line 1000\n")
	if err := c.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	n.Withdraw("stuck.yaml")
	n.WaitPod("stuck", patience, node.Gone)
	if err := c.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if code := c.ends(); code != 137 {
		t.Errorf("exit code %d, want 137: %s", code, &c.errs)
	}
	if most := peak(t, n.Pid()); most > memoryLimit {
		t.Errorf("davit had %d MiB", most>>20)
	}
}

func execClientKilled(t *testing.T, n *node.Node) {
	in, keyboard, err := os.Pipe() // on which nobody types
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer keyboard.Close()
	c := begin(t, n, func(cmd *exec.Cmd) { cmd.Stdin = in }, "exec", "-i", "box", "--", "sh", "-c", "echo up; exec sleep 72")
	c.out.await(t, "up")
	c.kill()
	noProcess(t, n, "sleep 72")
}

func execContainerEnds(t *testing.T, n *node.Node) {
	n.Apply("brief.yaml", podtool("brief", "Never", "sleep", "1000h", "5"))
	n.WaitPod("brief", patience, node.Ready)
	c := begin(t, n, nil, "exec", "brief", "--", "sh", "-c", "echo up; exec sleep 1000")
	c.out.await(t, "up")
	n.Withdraw("brief.yaml")
	if code := c.ends(); code != 137 {
		t.Errorf("exit code %d, want 137: %s", code, &c.errs)
	}
	n.WaitPod("brief", patience, node.Gone)
}

// execServerLeaves: what is in the middle goes away. The command ends with an
// error at once, and the process when that is back.
func execServerLeaves(t *testing.T, n *node.Node, leave, back func(), text string) {
	n.WaitPod("box", patience, node.Ready)
	tty := newTerminal(t)
	c := begin(t, n, tty.attach, "exec", "-it", "box", "--", "sh", "-c", "echo up; exec sleep 73")
	tty.out.await(t, "up")
	leave()
	if code := c.ends(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	tty.out.await(t, text)
	if tty.raw() {
		t.Error("the terminal is still in raw mode")
	}
	back()
	n.WaitPod("box", patience, node.Ready)
	noProcess(t, n, "sleep 73")
}
