package server

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/davit-agent/davit/agent/server/wire"
)

func (s *Server) log(w http.ResponseWriter, r *http.Request) {
	pod, fail := s.find(r)
	if fail != nil {
		fail.reply(w)
		return
	}
	req, previous, fail := parseLog(r)
	if fail != nil {
		fail.reply(w)
		return
	}
	name, notice, fail := choose(pod, r.URL.Query().Get("container"))
	if fail != nil {
		fail.reply(w)
		return
	}
	if req.ID, req.Path, fail = logged(pod, name, s.opts.LogDir, previous); fail != nil {
		fail.reply(w)
		return
	}
	ctx, ctl := r.Context(), http.NewResponseController(w)
	defer cutWith(ctx, ctl.SetWriteDeadline)()
	out := &logWriter{w: w, ctl: ctl, flush: req.Follow, begin: func() {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Trailer", wire.TrailerError)
		if notice != "" {
			w.Header().Set(wire.HeaderNotice, notice)
		}
	}}
	if req.Follow {
		out.start() // the reader is to see that it is connected
	}
	err := s.opts.Logs.Stream(ctx, req, out, out)
	out.end(ctx, err)
}

// parseLog reads the parameters of a log request, which are Kubernetes'.
func parseLog(r *http.Request) (req LogRequest, previous bool, fail *failure) {
	fail = flags(r, map[string]*bool{"follow": &req.Follow, "timestamps": &req.Timestamps, "previous": &previous})
	if fail != nil {
		return req, false, fail
	}
	if req.Tail, fail = count(r, "tailLines", 0); fail != nil {
		return req, false, fail
	}
	limit, fail := count(r, "limitBytes", 1)
	if fail != nil {
		return req, false, fail
	}
	if limit != nil {
		req.LimitBytes = *limit
	}
	seconds, fail := count(r, "sinceSeconds", 1)
	if fail != nil {
		return req, false, fail
	}
	text := r.URL.Query().Get("sinceTime")
	switch {
	case text != "" && seconds != nil:
		return req, false, badRequest("at most one of `sinceTime` or `sinceSeconds` may be specified")
	case text != "":
		since, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return req, false, badRequest("parameter sinceTime: %q is no RFC 3339 time, as 2026-01-02T15:04:05Z", text)
		}
		req.Since = since
	case seconds != nil:
		req.Since = time.Now().Add(-time.Duration(min(*seconds, maxSeconds)) * time.Second)
	}
	return req, previous, nil
}

// maxSeconds is as far back as a time.Duration reaches, nearly: 290 years.
const maxSeconds = 290 * 365 * 24 * 3600

// count reads a whole number of least or more; absent is nil.
func count(r *http.Request, name string, least int64) (*int64, *failure) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return nil, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return nil, badRequest("parameter %s: %q is no whole number", name, text)
	}
	if n < least {
		return nil, badRequest("parameter %s: %d is too small, it must be at least %d", name, n, least)
	}
	return &n, nil
}

// logWriter is the body of a log answer. Its header goes out with the first
// byte, so that an error before that is still answered as one.
type logWriter struct {
	w     http.ResponseWriter
	ctl   *http.ResponseController
	flush bool
	begin func()

	mu      sync.Mutex
	started bool
}

// Write implements io.Writer for both of the container's streams.
func (l *logWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.startLocked()
	n, err := l.w.Write(p)
	if err == nil && l.flush {
		err = l.ctl.Flush()
	}
	return n, err
}

func (l *logWriter) start() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.startLocked()
	l.ctl.Flush()
}

func (l *logWriter) startLocked() {
	if !l.started {
		l.started = true
		l.begin()
		l.w.WriteHeader(http.StatusOK)
	}
}

func (l *logWriter) end(ctx context.Context, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil && !l.started {
		fail := internal(err)
		if errors.Is(err, fs.ErrNotExist) {
			fail = notFound("the log is gone: %v", err)
		}
		fail.reply(l.w)
		return
	}
	l.startLocked()
	switch {
	case ctx.Err() != nil: // the reader has left, or davit does
		l.w.Header().Set(wire.TrailerError, "davit is leaving; the pod lives on")
	case err != nil && !errors.Is(err, io.EOF):
		l.w.Header().Set(wire.TrailerError, oneLine(err.Error()))
	}
}

// oneLine makes text fit for a header.
func oneLine(text string) string {
	out := []byte(text)
	for i, b := range out {
		if b < ' ' || b == 0x7f {
			out[i] = ' '
		}
	}
	return string(out)
}
