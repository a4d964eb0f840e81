package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/davit-agent/davit/test/node"
	"github.com/davit-agent/davit/test/testbed"
)

// output is what a program printed so far.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// await waits until the output contains text.
func (o *output) await(t *testing.T, text string) {
	t.Helper()
	testbed.Poll(t, patience, func() string {
		if strings.Contains(o.String(), text) {
			return ""
		}
		return fmt.Sprintf("the output has no %q: %q", text, tailOf(o.String()))
	})
}

func tailOf(s string) string { return s[max(0, len(s)-2000):] }

// command is a davit subcommand that runs.
type command struct {
	t         *testing.T
	cmd       *exec.Cmd
	out, errs output
	done      chan struct{}
}

// begin starts a davit subcommand; prepare may change it before.
func begin(t *testing.T, n *node.Node, prepare func(*exec.Cmd), args ...string) *command {
	t.Helper()
	c := &command{t: t, done: make(chan struct{})}
	c.cmd = exec.Command(n.Binary, append([]string{"--socket", n.Socket()}, args...)...)
	c.cmd.Stdout, c.cmd.Stderr = &c.out, &c.errs
	c.cmd.WaitDelay = 10 * time.Second
	if prepare != nil {
		prepare(c.cmd)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = c.cmd.Wait(); close(c.done) }()
	t.Cleanup(c.kill)
	return c
}

func (c *command) kill() {
	_ = c.cmd.Process.Kill()
	<-c.done
}

// ends waits for the end and returns the exit code.
func (c *command) ends() int {
	c.t.Helper()
	select {
	case <-c.done:
		return c.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		c.t.Fatalf("davit %v hangs; it printed %q and %q", c.cmd.Args[3:], tailOf(c.out.String()), tailOf(c.errs.String()))
		return -1
	}
}

// peak is the most memory that a process ever had, in bytes.
func peak(t *testing.T, pid int) int {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, err := strconv.Atoi(strings.Fields(value)[0])
			if err != nil {
				t.Fatal(err)
			}
			return n << 10
		}
	}
	t.Fatal("no VmHWM in " + string(data))
	return 0
}

// terminal is a pseudo terminal; the command has the far end.
type terminal struct {
	t    *testing.T
	near *os.File
	far  *os.File
	out  output
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	near, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close() })
	if err := unix.IoctlSetPointerInt(int(near.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(near.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	far, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	p := &terminal{t: t, near: near, far: far}
	go func() {
		buf := make([]byte, 4096)
		for {
			k, err := near.Read(buf)
			if err != nil {
				return
			}
			p.out.Write(buf[:k])
		}
	}()
	return p
}

// attach gives a command the terminal as its own.
func (p *terminal) attach(cmd *exec.Cmd) {
	cmd.Stdin, cmd.Stdout, cmd.Stderr = p.far, p.far, p.far
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
}

func (p *terminal) resize(rows, columns uint16) {
	p.t.Helper()
	if err := unix.IoctlSetWinsize(int(p.near.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}); err != nil {
		p.t.Fatal(err)
	}
}

// types is what somebody does at the keyboard.
func (p *terminal) types(text string) {
	p.t.Helper()
	if _, err := p.near.WriteString(text); err != nil {
		p.t.Fatal(err)
	}
}

// raw tells whether keys are passed on as they are.
func (p *terminal) raw() bool {
	p.t.Helper()
	mode, err := unix.IoctlGetTermios(int(p.far.Fd()), unix.TCGETS)
	if err != nil {
		p.t.Fatal(err)
	}
	return mode.Lflag&(unix.ICANON|unix.ISIG|unix.ECHO) == 0
}
