package containerd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/test/testbed"
)

const execLimit = 20 * time.Second

// output is a buffer that may be read while it is written.
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

func (o *output) await(t testing.TB, text string) {
	t.Helper()
	testbed.Poll(t, execLimit, func() string {
		if strings.Contains(o.String(), text) {
			return ""
		}
		return "output is " + o.String() + ", want " + text
	})
}

func (n *node) execOK(id string, want int, cfg runtime.ExecConfig) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), execLimit)
	defer cancel()
	if code, err := n.c.Exec(ctx, id, cfg); err != nil || code != want {
		n.t.Errorf("exec of %q ended with %d, %v; want %d", cfg.Command, code, err, want)
	}
}

func TestExec(t *testing.T) {
	onEachDaemon(t, func(t *testing.T, n *node) {
		cfg := n.config("u1", "c", 0, "podtool", "sleep")
		cfg.Spec.Process.Env = append(cfg.Spec.Process.Env, "WHO=me")
		cfg.Spec.Process.Cwd = "/bin"
		n.create(cfg)
		n.start(cfg)

		var out, errs output
		n.execOK(cfg.ID, 42, runtime.ExecConfig{
			Command: []string{"sh", "-c", "echo $WHO $PWD; echo oops >&2; exit 42"}, Stdout: &out, Stderr: &errs,
		})
		if out.String() != "me /bin\n" || errs.String() != "oops\n" {
			t.Errorf("printed %q and %q", out.String(), errs.String())
		}

		// All output arrives, more than any buffer holds, and nobody need want it.
		out = output{}
		n.execOK(cfg.ID, 0, runtime.ExecConfig{Command: []string{"podtool", "lines", "100000"}, Stdout: &out})
		if got := strings.Count(out.String(), "\n"); got != 100000 || !strings.HasSuffix(out.String(), "line 100000\n") {
			t.Errorf("got %d lines", got)
		}
		n.execOK(cfg.ID, 0, runtime.ExecConfig{Command: []string{"podtool", "lines", "100000"}})

		// The end of the input is passed on.
		for _, in := range []string{"", "short\n", strings.Repeat("some text\n", 50000)} {
			out = output{}
			n.execOK(cfg.ID, 0, runtime.ExecConfig{Command: []string{"podtool", "echo"}, Stdin: strings.NewReader(in), Stdout: &out})
			if out.String() != in {
				t.Errorf("echo of %d bytes has %d", len(in), len(out.String()))
			}
		}

		n.execTerminal(cfg.ID)
		n.execCancelled(cfg.ID)

		// A background process that keeps the output open ends nothing.
		n.execOK(cfg.ID, 3, runtime.ExecConfig{Command: []string{"sh", "-c", "sleep 1000 & exit 3"}, Stdout: &out})

		if _, err := n.c.Exec(t.Context(), cfg.ID, runtime.ExecConfig{Command: []string{"nosuch"}}); err == nil || !strings.Contains(err.Error(), "nosuch") {
			t.Errorf("exec of what is not there: %v", err)
		}
		if _, err := n.c.Exec(t.Context(), "nosuch", runtime.ExecConfig{Command: []string{"sh"}}); !errors.Is(err, runtime.ErrNotFound) {
			t.Errorf("exec in a container that is not there: %v", err)
		}
		n.delete(cfg.ID)
		n.noLeak()
	})
}

func (n *node) execTerminal(id string) {
	n.t.Helper()
	resize := make(chan runtime.WinSize)
	r, w := io.Pipe()
	var out output
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.execOK(id, 7, runtime.ExecConfig{
			Command: []string{"sh", "-c", "test -t 0 && echo $TERM; until stty size | grep '33 91'; do sleep 0.1; done; read x; exit 7"},
			TTY:     true, Stdin: r, Stdout: &out, Resize: resize,
		})
	}()
	out.await(n.t, "xterm")
	resize <- runtime.WinSize{Width: 91, Height: 33}
	out.await(n.t, "33 91")
	if _, err := io.WriteString(w, "go\n"); err != nil {
		n.t.Error(err)
	}
	<-done
}

func (n *node) execCancelled(id string) {
	n.t.Helper()
	ctx, cancel := context.WithCancel(n.t.Context())
	var out output
	failed := make(chan error, 1)
	go func() {
		_, err := n.c.Exec(ctx, id, runtime.ExecConfig{Command: []string{"sh", "-c", "echo up; exec sleep 54321"}, Stdout: &out})
		failed <- err
	}()
	out.await(n.t, "up")
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		n.t.Errorf("cancelled exec: %v", err)
	}
	var ps output
	n.execOK(id, 0, runtime.ExecConfig{Command: []string{"ps"}, Stdout: &ps})
	if strings.Contains(ps.String(), "54321") {
		n.t.Errorf("cancelled process lives:\n%s", ps.String())
	}
}

func TestExecOfAKilledAgentIsReaped(t *testing.T) {
	onEachDaemon(t, func(t *testing.T, n *node) {
		cfg := n.run("u1", "c", 0, "podtool", "sleep")
		first := n.c
		var out output
		ended := make(chan struct{})
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			defer close(ended)
			_, _ = first.Exec(ctx, cfg.ID, runtime.ExecConfig{Command: []string{"sh", "-c", "echo up; exec sleep 54321"}, Stdout: &out})
		}()
		out.await(t, "up")
		// As if it were killed: its connection goes, nothing else is done.
		_ = first.client.Close()
		<-ended
		cancel()
		n.stop()
		n.begin()
		testbed.Poll(t, execLimit, func() string {
			var ps output
			if _, err := n.c.Exec(context.Background(), cfg.ID, runtime.ExecConfig{Command: []string{"ps"}, Stdout: &ps}); err != nil {
				return err.Error()
			}
			if strings.Contains(ps.String(), "54321") {
				return "process lives:\n" + ps.String()
			}
			return ""
		})
		n.delete(cfg.ID)
		n.noLeak()
	})
}
