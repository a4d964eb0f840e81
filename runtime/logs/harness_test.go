package logs_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/helper/helpertest"
	"github.com/davit-agent/davit/runtime/logs"
	"github.com/davit-agent/davit/runtime/logs/spool"
)

// limit is how long anything that must happen may take on a busy machine.
const limit = 60 * time.Second

// bench is a spool directory, a client and pumps that are real processes.
type bench struct {
	t      *testing.T
	dir    string // spool
	out    string // log files
	client *logs.Client
	helper string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	root, err := os.MkdirTemp("", "davit-logs-")
	must(t, err)
	b := &bench{t: t, dir: filepath.Join(root, "spool"), out: filepath.Join(root, "pods"), helper: helpertest.Build(t)}
	t.Cleanup(func() {
		b.client.Release()
		must(t, os.RemoveAll(root))
	})
	b.client = b.newClient()
	return b
}

func (b *bench) newClient() *logs.Client {
	b.t.Helper()
	c, err := logs.New(logs.Config{Dir: b.dir, Helper: b.helper, LinkDir: filepath.Join(b.out, "links")})
	must(b.t, err)
	return c
}

func (b *bench) path(id string) string {
	return filepath.Join(b.out, "ns_pod-"+id+"_uid", "c", "0.log")
}

// open opens a stream that keeps all files.
func (b *bench) open(id string, maxSize int64) (stdout, stderr string) {
	b.t.Helper()
	stdout, stderr, err := b.client.Open(b.t.Context(), runtime.LogStream{
		ID: id, Path: b.path(id), MaxSize: maxSize, MaxFiles: 100000,
	})
	must(b.t, err)
	return stdout, stderr
}

// pump starts a pump and waits until it serves. It is killed after the test.
func (b *bench) pump(helper string) *exec.Cmd {
	b.t.Helper()
	cmd := exec.Command(helper, "logs", "--dir", b.dir)
	cmd.Stderr = &testWriter{t: b.t}
	cmd.WaitDelay = time.Second
	must(b.t, cmd.Start())
	b.t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	eventually(b.t, "pump serves", func() bool { return b.status().Pid == cmd.Process.Pid })
	return cmd
}

// end ends a pump with a signal and waits for it.
func (b *bench) end(cmd *exec.Cmd, sig syscall.Signal) {
	b.t.Helper()
	must(b.t, cmd.Process.Signal(sig))
	err := cmd.Wait()
	if sig == syscall.SIGTERM {
		must(b.t, err)
	}
}

// status returns what the pump says, a zero Reply if there is none.
func (b *bench) status() spool.Reply {
	c, err := spool.Dial(b.t.Context(), b.dir)
	if err != nil {
		return spool.Reply{}
	}
	defer c.Close()
	r, err := c.Ask(spool.OpStatus, "")
	if err != nil {
		return spool.Reply{}
	}
	return r
}

// writerName is "" until the writer is built.
var writerName string

var buildWriter = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(os.TempDir(), "davit-helpertest")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	name := filepath.Join(dir, "writer-"+strconv.Itoa(os.Getpid()))
	cmd := exec.Command("go", "build", "-o", name, "./testdata/writer")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	writerName = name
	return name, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if writerName != "" {
		os.Remove(writerName)
	}
	os.Exit(code)
}

// writer starts a process that writes into FIFOs like a container whose shim
// holds both ends.
func writer(t *testing.T, stdout, stderr string, args ...any) *exec.Cmd {
	t.Helper()
	name, err := buildWriter()
	must(t, err)
	cmd := exec.Command(name)
	for _, a := range args {
		cmd.Args = append(cmd.Args, fmt.Sprint(a))
	}
	cmd.Stdout, cmd.Stderr = shimEnd(t, stdout), shimEnd(t, stderr)
	must(t, cmd.Start())
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	return cmd
}

// shimEnd opens a FIFO for both directions, blocking.
func shimEnd(t *testing.T, name string) *os.File {
	t.Helper()
	fd, err := syscall.Open(name, syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	must(t, err)
	f := os.NewFile(uintptr(fd), name)
	t.Cleanup(func() { f.Close() })
	return f
}

// text returns what Stream prints without Follow.
func (b *bench) text(id string) (stdout, stderr string) {
	b.t.Helper()
	var o, e bytes.Buffer
	must(b.t, b.client.Stream(b.t.Context(), logs.StreamOptions{ID: id, Path: b.path(id)}, &o, &e))
	return o.String(), e.String()
}

// counter checks numbered lines while they are printed.
type counter struct {
	mu               sync.Mutex
	rest             []byte
	last             int
	lines            int
	doubled, missing int
	bad              string // the first line that is none
	width            int
	notices, torn    int // where a pump was killed; a line after that without its beginning
	after            bool
}

func (c *counter) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(p)
	for {
		line, rest, ok := bytes.Cut(p, []byte{'\n'})
		if !ok {
			c.rest = append(c.rest, p...)
			return n, nil
		}
		if len(c.rest) > 0 {
			line = append(c.rest, line...)
			c.rest = nil
		}
		c.line(string(line))
		p = rest
	}
}

func (c *counter) line(s string) {
	if strings.HasPrefix(s, "[davit: the log pump was killed") {
		c.notices++
		c.after = true
		return
	}
	if c.after && len(s) != c.width-1 {
		c.torn++
		c.after = false
		return
	}
	c.after = false
	head, _, _ := strings.Cut(s, " ")
	i, err := strconv.Atoi(head)
	if err != nil || c.width > 0 && len(s) != c.width-1 {
		if c.bad == "" {
			c.bad = s
		}
		return
	}
	c.lines++
	switch {
	case i <= c.last:
		c.doubled++
	default:
		c.missing += i - c.last - 1
		c.last = i
	}
}

func (c *counter) want(t *testing.T, what string, n int) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last != n || c.lines != n || c.doubled != 0 || c.missing != 0 || c.bad != "" || len(c.rest) != 0 {
		t.Errorf("%s: want lines 1 to %d once each, got %d lines up to %d, %d doubled, %d missing, bad line %q, rest %q",
			what, n, c.lines, c.last, c.doubled, c.missing, c.bad, c.rest)
	}
}

// count checks the log of id from the files.
func (b *bench) count(id string, width int) *counter {
	b.t.Helper()
	c := &counter{width: width}
	must(b.t, b.client.Stream(b.t.Context(), logs.StreamOptions{ID: id, Path: b.path(id)}, c, nil))
	return c
}

// follow follows id until its stream is closed; wait returns the error.
func (b *bench) follow(c *logs.Client, id string, o, e io.Writer) (wait func() error) {
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		done <- c.Stream(ctx, logs.StreamOptions{ID: id, Path: b.path(id), Follow: true}, o, e)
	}()
	b.t.Cleanup(func() { cancel(); <-finished })
	return func() error {
		select {
		case err := <-done:
			return err
		case <-time.After(limit):
			return errors.New("follower did not end")
		}
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within %v: %s", limit, what)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// testWriter puts a process's messages into the test's log.
type testWriter struct{ t *testing.T }

func (w *testWriter) Write(p []byte) (int, error) {
	for s := bufio.NewScanner(bytes.NewReader(p)); s.Scan(); {
		w.t.Log(s.Text())
	}
	return len(p), nil
}
