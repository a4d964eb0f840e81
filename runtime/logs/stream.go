package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/davit-agent/davit/runtime/logs/cri"
	"github.com/davit-agent/davit/runtime/logs/spool"
)

// followPoll is the safety net below the pump's wakes.
const followPoll = time.Second

// StreamOptions says what Stream prints.
type StreamOptions struct {
	ID         string // of the log stream; only needed with Follow
	Path       string // of the live file
	Follow     bool   // go on until the stream is closed
	Timestamps bool   // each line begins with its time, RFC 3339, and a space
	Tail       *int64 // print only the last so many lines of what is there; nil: all
	Since      time.Time
	LimitBytes int64 // end after so many bytes; 0: no limit
}

// Stream prints a container's log, rotated files first. The bytes are the
// container's own: what it printed without a newline comes without one. nil
// writers discard. Without Follow it ends at the end of what was there when it
// was called; with Follow, when the stream is closed and all of it is printed.
// A cancelled context ends it with the context's error. An error that wraps
// fs.ErrNotExist: there is no log (with Follow: nor a stream that could make one).
func (c *Client) Stream(ctx context.Context, o StreamOptions, stdout, stderr io.Writer) error {
	p := newPrinter(o, stdout, stderr)
	from := start{cur: newCursor(o.Path)}
	if o.Tail != nil {
		var err error
		if from, err = lastLines(ctx, o.Path, *o.Tail); err != nil {
			return err
		}
		p.begin(from)
	}
	defer from.cur.close()
	err := c.stream(ctx, o, from.cur, p)
	if errors.Is(err, errLimit) {
		return nil
	}
	return err
}

func (c *Client) stream(ctx context.Context, o StreamOptions, cur *cursor, p *printer) error {
	if !o.Follow {
		if err := cur.readAll(ctx, p.record, true); err != nil {
			return err
		}
		if cur.f == nil {
			return fmt.Errorf("opening log %s: %w", o.Path, fs.ErrNotExist)
		}
		return nil
	}
	if err := spool.CheckID(o.ID); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	wake, finished := make(chan struct{}, 1), make(chan struct{})
	go func() { defer close(finished); c.listen(ctx, o.ID, wake) }()
	defer func() { cancel(); <-finished }()
	tick := time.NewTicker(followPoll)
	defer tick.Stop()
	for {
		// Before reading: an entry is removed after the last byte is written.
		ended := !spool.Exists(c.cfg.Dir, o.ID)
		if err := cur.readAll(ctx, p.record, false); err != nil {
			return err
		}
		if ended {
			if cur.f == nil {
				return fmt.Errorf("opening log %s: %w", o.Path, fs.ErrNotExist)
			}
			return nil
		}
		select {
		case <-wake:
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// readAll reads to the end of the newest file or, with once, to the end of the
// file that was the newest at the call.
func (c *cursor) readAll(ctx context.Context, f func(cri.Record) error, once bool) error {
	stop, err := statOrNil(c.path)
	if err != nil {
		return err
	}
	checked := func(r cri.Record) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return f(r)
	}
	for {
		if err := c.read(checked); err != nil {
			return err
		}
		if once && c.f != nil && stop != nil {
			if mine, err := c.f.Stat(); err == nil && os.SameFile(mine, stop) {
				return nil
			}
		}
		more, err := c.next(false)
		if err != nil || !more {
			return err
		}
		// There is a next file, so this one is complete by now.
		if err := c.read(checked); err != nil {
			return err
		}
		if _, err := c.next(true); err != nil {
			return err
		}
	}
}

// listen turns the pump's events into wakes until ctx ends. It connects anew
// whenever a pump went away.
func (c *Client) listen(ctx context.Context, id string, wake chan<- struct{}) {
	for ctx.Err() == nil {
		if c.listenOnce(ctx, id, wake) {
			return
		}
		notify(wake)
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func (c *Client) listenOnce(ctx context.Context, id string, wake chan<- struct{}) (ended bool) {
	conn, err := spool.Dial(ctx, c.cfg.Dir)
	if err != nil {
		return false
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if _, err := conn.Ask(spool.OpFollow, id); err != nil {
		return false
	}
	notify(wake) // of what came between the last read and now
	for {
		var r spool.Reply
		if conn.Receive(&r) != nil {
			return false
		}
		notify(wake)
		if r.Event == spool.EventEnd {
			return true
		}
	}
}

func notify(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

var errLimit = errors.New("byte limit reached")

// printer turns records into what the container printed.
type printer struct {
	o     StreamOptions
	out   [2]io.Writer
	left  int64 // of LimitBytes
	skip  int64 // lines not to be printed yet
	lines lineStarts
	mute  [2]bool // the line that goes on is not printed
	buf   []byte
}

// lineStarts tells beginnings of lines from the rest of begun ones.
type lineStarts [2]bool

func (l *lineStarts) begins(r cri.Record) bool {
	begins := !l[r.Stream]
	l[r.Stream] = r.Partial
	return begins
}

func newPrinter(o StreamOptions, stdout, stderr io.Writer) *printer {
	p := &printer{o: o, out: [2]io.Writer{stdout, stderr}, left: o.LimitBytes}
	for i, w := range p.out {
		if w == nil {
			p.out[i] = io.Discard
		}
	}
	return p
}

// begin has the printer pass over what is before the lines that are wanted.
func (p *printer) begin(s start) {
	p.skip, p.lines, p.mute = s.skip, s.open, s.open
}

func (p *printer) record(r cri.Record) error {
	begins := p.lines.begins(r)
	if begins {
		p.mute[r.Stream] = p.skip > 0 || r.Time.Before(p.o.Since)
		p.skip = max(0, p.skip-1)
	}
	if p.mute[r.Stream] {
		return nil
	}
	p.buf = p.buf[:0]
	if begins && p.o.Timestamps {
		p.buf = append(append(p.buf, r.Stamp...), ' ')
	}
	p.buf = append(p.buf, r.Content...)
	if !r.Partial {
		p.buf = append(p.buf, '\n')
	}
	limited := p.o.LimitBytes > 0 && int64(len(p.buf)) >= p.left
	if limited {
		p.buf = p.buf[:p.left]
	}
	p.left -= int64(len(p.buf))
	if _, err := p.out[r.Stream].Write(p.buf); err != nil {
		return fmt.Errorf("printing log: %w", err)
	}
	if limited {
		return errLimit
	}
	return nil
}
