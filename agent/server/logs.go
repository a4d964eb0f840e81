package server

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"

	"github.com/davit-agent/davit/agent/server/wire"
)

func (s *Server) log(w http.ResponseWriter, r *http.Request) {
	pod, fail := s.find(r)
	if fail != nil {
		fail.reply(w)
		return
	}
	var follow, timestamps, previous bool
	if fail := flags(r, map[string]*bool{"follow": &follow, "timestamps": &timestamps, "previous": &previous}); fail != nil {
		fail.reply(w)
		return
	}
	name, notice, fail := choose(pod, r.URL.Query().Get("container"))
	if fail != nil {
		fail.reply(w)
		return
	}
	id, path, fail := logged(pod, name, s.opts.LogDir, previous)
	if fail != nil {
		fail.reply(w)
		return
	}
	ctx, ctl := r.Context(), http.NewResponseController(w)
	defer cutWith(ctx, ctl.SetWriteDeadline)()
	out := &logWriter{w: w, ctl: ctl, flush: follow, begin: func() {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Trailer", wire.TrailerError)
		if notice != "" {
			w.Header().Set(wire.HeaderNotice, notice)
		}
	}}
	if follow {
		out.start() // the reader is to see that it is connected
	}
	err := s.opts.Logs.Stream(ctx, id, path, follow, timestamps, out, out)
	out.end(ctx, err)
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
		internal(err).reply(l.w)
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
