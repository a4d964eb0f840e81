package server

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/davit-agent/davit/agent/server/wire"
)

// sessions counts connections that were taken over from net/http, which then
// knows of them no more.
type sessions struct {
	mu    sync.Mutex
	ended bool
	all   sync.WaitGroup
}

// add counts one more, unless end was called.
func (s *sessions) add() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.all.Add(1)
	}
	return !s.ended
}

func (s *sessions) remove() { s.all.Done() }

// end lets no more begin and waits for those that are.
func (s *sessions) end() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.all.Wait()
}

// upgrade takes the connection of a request over and answers that the protocol
// is spoken on it from now on. The session is to be removed from s.sessions at
// its end.
func (s *Server) upgrade(w http.ResponseWriter, protocol, notice string) (net.Conn, *bufio.Reader, error) {
	if !s.sessions.add() {
		return nil, nil, errors.New("davit is leaving")
	}
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		s.sessions.remove()
		return nil, nil, fmt.Errorf("taking over the connection: %w", err)
	}
	conn.SetDeadline(time.Time{})
	head := "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + protocol + "\r\n"
	if notice != "" {
		head += wire.HeaderNotice + ": " + notice + "\r\n"
	}
	// A client that is gone already is noticed by whoever reads next.
	io.WriteString(conn, head+"\r\n")
	// net/http's own reader cancels the request's context at the end of what it
	// reads, which is no more than the end of one direction.
	early, err := buf.Reader.Peek(buf.Reader.Buffered())
	if err != nil {
		s.sessions.remove()
		conn.Close()
		return nil, nil, fmt.Errorf("taking over the connection: %w", err)
	}
	return conn, bufio.NewReader(io.MultiReader(bytes.NewReader(bytes.Clone(early)), conn)), nil
}

// upgrades tells whether the request asks for the protocol.
func upgrades(r *http.Request, protocol string) *failure {
	if !strings.EqualFold(r.Header.Get("Upgrade"), protocol) {
		return badRequest("%s needs the header Upgrade: %s", r.URL.Path, protocol)
	}
	return nil
}
