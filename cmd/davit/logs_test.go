package main

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/davit-agent/davit/agent/server/client"
)

// What is written in pieces by several comes out line by line.
func TestLineWriter(t *testing.T) {
	var out bytes.Buffer
	var mu sync.Mutex
	var want []string
	var all sync.WaitGroup
	for _, label := range []string{"one", "two", "three"} {
		l := &logs{out: &out, prefix: true}
		w := l.writer(logSource{label: label}, &mu)
		text := ""
		for i := range 200 {
			line := strings.Repeat(string(rune('a'+i%26)), i%50)
			text += line + "\n"
			want = append(want, "["+label+"] "+line)
		}
		text += "no newline"
		want = append(want, "["+label+"] no newline")
		all.Go(func() {
			for rest := text; rest != ""; {
				n := min(len(rest), 1+rand.IntN(60))
				if k, err := w.Write([]byte(rest[:n])); k != n || err != nil {
					t.Error(k, err)
				}
				rest = rest[n:]
			}
			if err := w.finish(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	got := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got %d lines, want %d", len(got), len(want))
	}

	// A line without an end is not kept for ever.
	w := &lineWriter{mu: &mu, out: &out}
	for range maxHeldLine/1000 + 2 {
		if _, err := w.Write(bytes.Repeat([]byte{'x'}, 1000)); err != nil || len(w.held) > maxHeldLine+1000 {
			t.Fatal(len(w.held), err)
		}
	}
}

func TestLogWindow(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, c := range map[string]struct {
		l     logs
		since time.Time
		tail  int64 // -1: all
	}{
		"all":       {logs{tail: -1}, time.Time{}, -1},
		"since":     {logs{tail: -1, since: time.Minute}, now.Add(-time.Minute), -1},
		"time":      {logs{tail: 0, sinceTime: "2026-01-02T01:00:00+01:00"}, time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC), 0},
		"labels":    {logs{tail: -1, selector: "a=b"}, time.Time{}, 10},
		"with tail": {logs{tail: -1, selector: "a=b", tailGive: true}, time.Time{}, -1},
	} {
		if err := c.l.window(now); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		tail := int64(-1)
		if c.l.o.Tail != nil {
			tail = *c.l.o.Tail
		}
		if tail != c.tail || !c.l.o.Since.Equal(c.since) {
			t.Errorf("%s: tail %d since %s, want %+v", name, tail, c.l.o.Since, c)
		}
	}
}

func TestPodArgument(t *testing.T) {
	for arg, want := range map[string]string{"web": "web", "pod/web": "web", "po/web": "web", "pods/web": "web",
		"pod/": "", "pod/a/b": "", "deployment/web": ""} {
		got, err := podArgument(arg)
		var usage usageError
		if got != want || (want == "") != errors.As(err, &usage) {
			t.Errorf("%s: %q, %v, want %q", arg, got, err, want)
		}
	}
}

// One of several logs that cannot be read ends all, unless that is tolerated.
func TestLogErrors(t *testing.T) {
	socket, _ := serve(t)
	for ignore, want := range map[bool]int{false: 0, true: 1} {
		var out, errs bytes.Buffer
		l := &logs{client: client.New(socket), out: &out, errw: &errs, ignore: ignore}
		sources := []logSource{
			{LogOptions: client.LogOptions{Namespace: "default", Pod: "none"}},
			{LogOptions: client.LogOptions{Namespace: "default", Pod: "web"}},
		}
		for name, print := range map[string]func(context.Context, []logSource) error{"in turn": l.inTurn, "at once": l.follow} {
			out.Reset()
			err := print(t.Context(), sources)
			if (err == nil) != ignore || ignore && strings.Count(out.String(), "\n") != want {
				t.Errorf("%s, ignore %v: %v, %q", name, ignore, err, &out)
			}
		}
		if ignore != strings.Contains(errs.String(), `error: pods "none" not found`) {
			t.Errorf("ignore %v: %q", ignore, &errs)
		}
	}
}

func TestInterrupted(t *testing.T) {
	for sig, want := range map[syscall.Signal]exitCode{syscall.SIGINT: 130, syscall.SIGTERM: 143} {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New(sig.String() + " signal received"))
		if got := interrupted(ctx); got != want {
			t.Errorf("%v: %v, want %v", os.Signal(sig), got, want)
		}
	}
}
