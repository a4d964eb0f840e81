package synthetic

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/davit-agent/davit/test/oracle/actor"
)

// serve answers one connection to an actor that listens there for this.
func serve(kind string, conn net.Conn, s *start) {
	defer conn.Close()
	switch kind {
	case "grpc":
		serveGRPC(conn, s)
	case "https":
		tconn := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate()}})
		defer tconn.Close()
		serveHTTP(tconn, s)
	case "http":
		serveHTTP(conn, s)
	}
}

func serveHTTP(conn net.Conn, s *start) {
	req, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	r := actor.Request{Path: req.URL.Path, Host: req.Host, Header: map[string]string{}}
	for name := range req.Header {
		r.Header[strings.ToLower(name)] = req.Header.Get(name)
	}
	a := s.attempt.HTTP(r, time.Since(s.at))
	time.Sleep(a.Takes)
	resp := &http.Response{
		StatusCode: a.Code, ProtoMajor: 1, ProtoMinor: 1, Close: true, Request: req,
		Header: http.Header{"Content-Type": {"text/plain"}}, ContentLength: int64(len(a.Output)),
		Body: io.NopCloser(strings.NewReader(a.Output)),
	}
	if a.Code == http.StatusFound {
		resp.Header.Set("Location", actor.Location(req.URL.Path))
	}
	_ = resp.Write(conn)
}

// oneConn is a listener that has one connection and ends with it.
type oneConn struct {
	net.Conn
	once  sync.Once
	ended chan struct{}
}

func (l *oneConn) Accept() (conn net.Conn, err error) {
	l.once.Do(func() { conn = l })
	if conn == nil {
		<-l.ended
		return nil, io.EOF
	}
	return conn, nil
}

func (l *oneConn) Addr() net.Addr { return l.LocalAddr() }

func (l *oneConn) Close() error {
	select {
	case <-l.ended:
	default:
		close(l.ended)
	}
	return l.Conn.Close()
}

type health struct {
	grpc_health_v1.UnimplementedHealthServer
	s *start
}

func (h health) Check(_ context.Context, r *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	serving, known := h.s.attempt.Serving(r.Service, time.Since(h.s.at))
	if !known {
		return nil, status.Error(codes.NotFound, "unknown service")
	}
	out := &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_NOT_SERVING}
	if serving {
		out.Status = grpc_health_v1.HealthCheckResponse_SERVING
	}
	return out, nil
}

func serveGRPC(conn net.Conn, s *start) {
	server := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(server, health{s: s})
	l := &oneConn{Conn: conn, ended: make(chan struct{})}
	_ = server.Serve(l)
	server.Stop()
}

// certificate is for any host; nobody verifies it.
var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(fmt.Sprintf("making a key: %v", err))
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().AddDate(10, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		panic(fmt.Sprintf("making a certificate: %v", err))
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})
