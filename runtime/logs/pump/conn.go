package pump

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/davit-agent/davit/runtime/logs/spool"
)

const (
	// maxConns bounds the connections; more of them wait to be accepted.
	maxConns = 1024
	// wakeGap is the least time between two wakes of a follower.
	wakeGap = 10 * time.Millisecond
	// sendLimit is how long a client may leave a message unread.
	sendLimit = 10 * time.Second
)

func (s *Server) accept(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		c, err := l.Accept()
		if err != nil {
			<-s.slots
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			var ne net.Error
			if errors.As(err, &ne) && ne.Timeout() {
				continue
			}
			s.log.Warn("cannot accept a connection", "err", err) // EMFILE, ENOMEM
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		s.conns.Go(func() {
			defer func() { <-s.slots }()
			stop := context.AfterFunc(ctx, func() { c.Close() })
			defer stop()
			defer c.Close()
			s.talk(ctx, spool.NewConn(c))
		})
	}
}

// talk answers requests until the client leaves or sends what is no request.
func (s *Server) talk(ctx context.Context, c *spool.Conn) {
	for {
		var req spool.Request
		if c.Receive(&req) != nil {
			return
		}
		if req.V != spool.ProtocolVersion {
			_ = s.send(c, refuse(fmt.Errorf("protocol version %d, want %d", req.V, spool.ProtocolVersion)))
			return
		}
		var r spool.Reply
		switch req.Op {
		case spool.OpStatus:
			r = s.status()
		case spool.OpSync:
			r = answer(s.sync(req.ID))
		case spool.OpFollow:
			s.follow(ctx, c, req.ID)
			return
		case spool.OpHandover:
			s.handOver(c)
			return
		default:
			r = refuse(fmt.Errorf("unknown operation %.40q", req.Op))
		}
		if s.send(c, r) != nil {
			return
		}
	}
}

func answer(err error) spool.Reply {
	if err != nil {
		return refuse(err)
	}
	return spool.Reply{OK: true}
}

func refuse(err error) spool.Reply {
	text := err.Error()
	return spool.Reply{Error: text[:min(len(text), 1000)]}
}

func (s *Server) send(c *spool.Conn, r spool.Reply) error {
	r.V, r.Pid = spool.ProtocolVersion, os.Getpid()
	if err := c.SetWriteDeadline(time.Now().Add(sendLimit)); err != nil {
		return err
	}
	return c.Send(r)
}

// follow tells of changes of a log file until the entry is gone.
func (s *Server) follow(ctx context.Context, c *spool.Conn, id string) {
	st := s.find(id)
	if st == nil {
		if err := s.sync(id); err != nil {
			_ = s.send(c, refuse(err))
			return
		}
		if st = s.find(id); st == nil {
			_ = s.send(c, spool.Reply{OK: true})
			_ = s.send(c, spool.Reply{OK: true, Event: spool.EventEnd})
			return
		}
	}
	wake := st.file.subscribe()
	defer st.file.unsubscribe(wake)
	// Answered after subscribing: what the client reads from the file from now
	// on is either there or followed by a wake.
	if s.send(c, spool.Reply{OK: true}) != nil {
		return
	}
	gone := make(chan struct{})
	go func() { // ends with the connection
		defer close(gone)
		var none spool.Request
		_ = c.Receive(&none)
	}()
	defer func() { c.Close(); <-gone }()
	for {
		event := spool.EventWake
		select {
		case <-st.ended:
			event = spool.EventEnd
		case <-wake:
		case <-gone:
			return
		case <-ctx.Done():
			return
		}
		if s.send(c, spool.Reply{OK: true, Event: event}) != nil || event == spool.EventEnd {
			return
		}
		select {
		case <-time.After(wakeGap):
		case <-ctx.Done():
		}
	}
}

// handOver lets a successor take the directory over.
func (s *Server) handOver(c *spool.Conn) {
	if err := s.setLeaving(true); err != nil {
		_ = s.send(c, refuse(err))
		return
	}
	var req spool.Request
	if s.send(c, spool.Reply{OK: true}) != nil || c.Receive(&req) != nil || req.Op != spool.OpGo {
		s.log.Warn("a successor gave up; carrying on")
		_ = s.setLeaving(false)
		return
	}
	s.handing.Do(func() { close(s.handed) })
}
