package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sync/errgroup"
)

// maxHeldLine is how much of an unfinished line is kept back so that lines of
// several containers do not mix; a longer one is cut in two.
const maxHeldLine = 1 << 20

// inTurn prints one log after the other.
func (l *logs) inTurn(ctx context.Context, sources []logSource) error {
	for _, s := range sources {
		if !l.prefix {
			// One log comes as it is, unfinished lines too.
			if err := l.tolerate(l.client.Logs(ctx, s.LogOptions, l.out)); err != nil {
				return err
			}
			continue
		}
		w := l.writer(s, new(sync.Mutex))
		err := l.client.Logs(ctx, s.LogOptions, w)
		if err := l.tolerate(joinFirst(err, w.finish())); err != nil {
			return err
		}
	}
	return nil
}

// follow prints several logs at once, line by line, until all have ended or one
// fails.
func (l *logs) follow(ctx context.Context, sources []logSource) error {
	g, ctx := errgroup.WithContext(ctx)
	var mu sync.Mutex
	for _, s := range sources {
		g.Go(func() error {
			w := l.writer(s, &mu)
			err := l.client.Logs(ctx, s.LogOptions, w)
			return l.tolerate(joinFirst(err, w.finish()))
		})
	}
	return g.Wait()
}

// tolerate tells of an error and forgets it, if that is wanted.
func (l *logs) tolerate(err error) error {
	if err != nil && l.ignore {
		fmt.Fprintln(l.errw, "error:", err)
		return nil
	}
	return err
}

func joinFirst(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func (l *logs) writer(s logSource, mu *sync.Mutex) *lineWriter {
	w := &lineWriter{mu: mu, out: l.out}
	if l.prefix {
		w.prefix = []byte("[" + s.label + "] ")
	}
	return w
}

// lineWriter writes whole lines, each with a prefix, to an output that it shares.
type lineWriter struct {
	mu     *sync.Mutex // of out
	out    io.Writer
	prefix []byte
	held   []byte // the beginning of a line
	buf    []byte
}

// Write implements io.Writer.
func (w *lineWriter) Write(p []byte) (int, error) {
	w.buf = w.buf[:0]
	for rest := p; len(rest) > 0; {
		i := bytes.IndexByte(rest, '\n') + 1
		if i == 0 {
			w.held = append(w.held, rest...)
			break
		}
		w.line(rest[:i])
		rest = rest[i:]
	}
	if len(w.held) > maxHeldLine {
		w.line([]byte{'\n'})
	}
	return len(p), w.flush()
}

// line takes the end of a line.
func (w *lineWriter) line(end []byte) {
	w.buf = append(append(append(w.buf, w.prefix...), w.held...), end...)
	w.held = w.held[:0]
}

func (w *lineWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := w.out.Write(w.buf)
	return err
}

// finish writes what is kept of a line whose end did not come.
func (w *lineWriter) finish() error {
	w.buf = w.buf[:0]
	if len(w.held) > 0 {
		w.line([]byte{'\n'})
	}
	return w.flush()
}
