package runtimetest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/test/testbed"
)

// output collects what a process prints, for readers beside the writer.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func testExec(s *suite) {
	id := s.create(ref("u1", "c", 0), Program{})
	cfg := runtime.ExecConfig{Command: []string{"/bin/podtool", "exit", "0"}}
	if _, err := s.Runtime().Exec(s.t.Context(), id, cfg); err == nil {
		s.t.Error("exec in a container that was not started succeeded")
	}
	s.start(id)
	for _, c := range []struct {
		name, stdin string
		args        []string
		code        int
		stdout      string
	}{
		{"code 0", "", []string{"exit", "0"}, 0, ""},
		{"code 42", "", []string{"exit", "42"}, 42, ""},
		{"much output", "", []string{"lines", "20000"}, 0, ""},
		{"input", "to and fro\n", []string{"echo"}, 0, "to and fro\n"},
		{"much input", strings.Repeat("0123456789abcde\n", 1<<14), []string{"echo"}, 0, strings.Repeat("0123456789abcde\n", 1<<14)},
		{"no input", "", []string{"echo"}, 0, ""},
	} {
		var out output
		cfg := runtime.ExecConfig{Command: append([]string{"/bin/podtool"}, c.args...), Stdout: &out}
		if c.stdin != "" {
			cfg.Stdin = strings.NewReader(c.stdin)
		}
		ctx, cancel := context.WithTimeout(s.t.Context(), limit)
		code, err := s.Runtime().Exec(ctx, id, cfg)
		cancel()
		if err != nil || code != c.code {
			s.t.Errorf("%s: code %d, error %v", c.name, code, err)
		}
		switch got := out.String(); {
		case c.args[0] == "lines":
			if strings.Count(got, "\n") != 20000 || !strings.HasSuffix(got, "line 20000\n") {
				s.t.Errorf("%s: %d lines", c.name, strings.Count(got, "\n"))
			}
		case got != c.stdout:
			s.t.Errorf("%s: printed %.40q (%d bytes), want %.40q", c.name, got, len(got), c.stdout)
		}
	}
	if _, err := s.Runtime().Exec(s.t.Context(), id, runtime.ExecConfig{Command: []string{"/bin/none"}}); err == nil {
		s.t.Error("exec of a program that is not there succeeded")
	}
	s.state(id, runtime.StateRunning)
	s.delete(id)
}

func testExecTerminal(s *suite) {
	id := s.run(ref("u1", "c", 0), Program{})
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	var out output
	resize := make(chan runtime.WinSize)
	done := make(chan error, 1)
	go func() {
		_, err := s.Runtime().Exec(ctx, id, runtime.ExecConfig{
			Command: []string{"/bin/podtool", "tty"}, Stdout: &out, TTY: true, Resize: resize})
		done <- err
	}()
	for _, size := range []runtime.WinSize{{Width: 80, Height: 24}, {Width: 132, Height: 50}} {
		want := map[uint16]string{24: "rows 24 columns 80\r\n", 50: "rows 50 columns 132\r\n"}[size.Height]
		select {
		case resize <- size:
		case <-time.After(limit):
			s.t.Fatal("a new size is not taken")
		}
		testbed.Poll(s.t, limit, func() string {
			if strings.Contains(out.String(), want) {
				return ""
			}
			return "the terminal shows " + out.String()
		})
	}
	cancel()
	s.ends(done)
	s.state(id, runtime.StateRunning)
	s.delete(id)
}

// ends waits for a cancelled exec's return.
func (s *suite) ends(done <-chan error) {
	s.t.Helper()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			s.t.Errorf("a cancelled exec returned %v, want context.Canceled", err)
		}
	case <-time.After(limit):
		s.t.Fatal("a cancelled exec does not return")
	}
}

func testExecCancelled(s *suite) {
	id := s.run(ref("u1", "c", 0), Program{})
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := s.Runtime().Exec(ctx, id, runtime.ExecConfig{Command: []string{"/bin/podtool", "sleep"}})
		done <- err
	}()
	select {
	case err := <-done:
		s.t.Errorf("exec ended by itself: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	cancel()
	s.ends(done)
	s.state(id, runtime.StateRunning)
	// The end of the container ends what runs in it.
	go func() {
		_, err := s.Runtime().Exec(s.t.Context(), id, runtime.ExecConfig{Command: []string{"/bin/podtool", "sleep"}})
		done <- err
	}()
	time.Sleep(300 * time.Millisecond)
	s.delete(id)
	select {
	case <-done:
	case <-time.After(limit):
		s.t.Fatal("an exec outlives its container")
	}
}
