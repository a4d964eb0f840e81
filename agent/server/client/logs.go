package client

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/davit-agent/davit/agent/server/wire"
)

// LogOptions says which log is wanted, and what of it.
type LogOptions struct {
	Namespace, Pod string
	Container      string // "": the default one
	Follow         bool
	Timestamps     bool
	Previous       bool      // of the attempt before
	Tail           *int64    // only the last so many lines of what is there; nil: all
	Since          time.Time // only lines from then on; zero: all
	LimitBytes     int64     // end after so many bytes; 0: no limit
	// Notice, if set, is called with a line for the person who asked.
	Notice func(string)
}

// Logs copies a log to out. Without Follow it ends with what is there, with it
// when the container has ended. It returns nil when ctx ends, and an error that
// wraps ErrBrokeOff when the server does before.
func (c *Client) Logs(ctx context.Context, o LogOptions, out io.Writer) error {
	resp, err := c.get(ctx, podPath(o.Namespace, o.Pod, "/log"), o.query())
	if err != nil {
		return ended(ctx, err)
	}
	defer resp.Body.Close()
	if text := resp.Header.Get(wire.HeaderNotice); text != "" && o.Notice != nil {
		o.Notice(text)
	}
	in := &reader{r: resp.Body}
	if _, err := io.Copy(out, in); err != nil {
		if in.failed {
			err = fmt.Errorf("%w in the middle of the log: %w", ErrBrokeOff, err)
		}
		return ended(ctx, err)
	}
	if text := resp.Trailer.Get(wire.TrailerError); text != "" {
		return fmt.Errorf("%w: %s", ErrBrokeOff, text)
	}
	return nil
}

func (o *LogOptions) query() url.Values {
	q := url.Values{"container": {o.Container}}
	setFlags(q, map[string]bool{"follow": o.Follow, "timestamps": o.Timestamps, "previous": o.Previous})
	if o.Tail != nil {
		q.Set("tailLines", strconv.FormatInt(*o.Tail, 10))
	}
	if !o.Since.IsZero() {
		q.Set("sinceTime", o.Since.Format(time.RFC3339Nano))
	}
	if o.LimitBytes != 0 {
		q.Set("limitBytes", strconv.FormatInt(o.LimitBytes, 10))
	}
	return q
}

// reader remembers whether it was reading that failed, not writing.
type reader struct {
	r      io.Reader
	failed bool
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.failed = err != nil && err != io.EOF
	return n, err
}
