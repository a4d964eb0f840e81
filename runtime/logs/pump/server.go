package pump

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/davit-agent/davit/runtime/logs/spool"
)

// rescan is how often the directory is read without being told to, and how
// often log files are looked after that somebody removed.
const rescan = 30 * time.Second

// Server serves one spool directory.
type Server struct {
	dir     string
	version string
	log     *slog.Logger
	lock    *os.File
	lost    atomic.Int64

	mu      sync.Mutex
	streams map[string]*stream
	leaving bool // a successor is about to take over: nothing new is taken up
	stopped bool
	warned  map[string]string // by ID: what was logged last of a stream

	conns   sync.WaitGroup
	slots   chan struct{}
	handed  chan struct{} // closed when a successor said go
	handing sync.Once
}

func newServer(dir, version string, log *slog.Logger) *Server {
	return &Server{
		dir: dir, version: version, log: log,
		streams: map[string]*stream{},
		warned:  map[string]string{},
		slots:   make(chan struct{}, maxConns),
		handed:  make(chan struct{}),
	}
}

// serve runs until ctx is cancelled or a successor takes over. Everything that
// was read is in the files when it returns. taken is called once all entries
// were looked at.
func (s *Server) serve(ctx context.Context, l net.Listener, taken func()) error {
	accepted := make(chan error, 1)
	cctx, cancel := context.WithCancel(ctx)
	go func() { accepted <- s.accept(cctx, l) }()
	s.scan()
	taken()
	tick := time.NewTicker(rescan)
	defer tick.Stop()
	m, err := modeStop, error(nil)
loop:
	for {
		select {
		case <-ctx.Done():
			break loop
		case <-s.handed:
			m = modeLeave
			break loop
		case err = <-accepted:
			accepted <- err
			break loop
		case <-tick.C:
			if !s.owns() {
				s.log.Warn("the directory is gone; leaving")
				break loop
			}
			s.scan()
			s.checkFiles()
		}
	}
	s.stop(m)
	cancel()
	l.Close()
	<-accepted
	s.conns.Wait()
	return err
}

// owns tells whether the lock file is still the one that is locked. If the
// directory was removed, nobody can find this pump any more.
func (s *Server) owns() bool {
	mine, err := s.lock.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(s.lock.Name())
	return err == nil && os.SameFile(mine, there)
}

// scan takes up, or closes, whatever the directory says.
func (s *Server) scan() {
	if err := spool.Sweep(s.dir); err != nil {
		s.log.Warn("cannot remove old entries", "err", err)
	}
	ids, err := spool.List(s.dir)
	if err != nil {
		s.log.Error("cannot read the spool directory", "err", err)
		return
	}
	for _, id := range ids {
		err := s.sync(id)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errLeaving) {
			continue // half made, or soon somebody else's
		}
		if err != nil {
			s.warn(id, err)
		}
	}
}

// warn logs an error of a stream unless it did last time: the same is found
// every half a minute.
func (s *Server) warn(id string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		delete(s.warned, id)
		return
	}
	if text := err.Error(); s.warned[id] != text {
		s.warned[id] = text
		s.log.Warn("trouble with a log stream", "id", id, "err", err)
	}
}

var errLeaving = errors.New("pump is leaving")

// sync makes the pump do what the directory says of id.
func (s *Server) sync(id string) error {
	st, r, err := s.take(id)
	switch {
	case err != nil || r == roleNone:
		return err
	case r == roleWaiter:
		<-st.ended
		return nil
	}
	st.leave(modeEnd)
	err = spool.Remove(s.dir, id)
	s.mu.Lock()
	delete(s.streams, id)
	delete(s.warned, id)
	close(st.ended)
	s.mu.Unlock()
	return err
}

// role is what a caller of take has to do about the end of a stream.
type role int

const (
	roleNone   role = iota // it goes on, or there is no entry
	roleCloser             // end it
	roleWaiter             // another caller ends it
)

// take looks up the stream of id, and takes it up if it is not served yet.
func (s *Server) take(id string) (st *stream, r role, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leaving || s.stopped {
		return nil, roleNone, errLeaving
	}
	if st = s.streams[id]; st == nil {
		spec, err := spool.Read(s.dir, id)
		if errors.Is(err, fs.ErrNotExist) && !spool.Exists(s.dir, id) {
			return nil, roleNone, nil
		}
		if err != nil {
			return nil, roleNone, err
		}
		if st, err = takeUp(s.dir, spec, &s.lost); err != nil {
			return nil, roleNone, err
		}
		s.streams[id] = st
	}
	switch {
	case st.closing:
		return st, roleWaiter, nil
	case spool.Closing(s.dir, id):
		st.closing = true
		return st, roleCloser, nil
	}
	return st, roleNone, nil
}

// checkFiles looks after the log files, and tells which cannot be written.
func (s *Server) checkFiles() {
	s.mu.Lock()
	streams := maps.Clone(s.streams)
	s.mu.Unlock()
	for id, st := range streams {
		s.warn(id, st.file.check())
	}
}

// stop ends all copying.
func (s *Server) stop(m mode) {
	s.mu.Lock()
	s.stopped = true
	streams := make([]*stream, 0, len(s.streams))
	var ending []*stream
	for _, st := range s.streams {
		if st.closing {
			ending = append(ending, st)
		} else {
			streams = append(streams, st)
		}
	}
	s.mu.Unlock()
	var wg sync.WaitGroup
	for _, st := range streams {
		wg.Go(func() { st.leave(m) })
	}
	wg.Wait()
	for _, st := range ending {
		<-st.ended
	}
}

func (s *Server) status() spool.Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	return spool.Reply{OK: true, Version: s.version, Streams: len(s.streams), LostBytes: s.lost.Load()}
}

// setLeaving says whether a successor prepares to take over.
func (s *Server) setLeaving(leaving bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if leaving && (s.leaving || s.stopped) {
		return fmt.Errorf("another successor: %w", errLeaving)
	}
	s.leaving = leaving
	return nil
}

// find returns the stream of id if it is served.
func (s *Server) find(id string) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams[id]
}
