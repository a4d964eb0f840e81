package main

import (
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
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/davit-agent/davit/test/oracle/actor"
)

// serve begins to serve; it returns when the port is open.
func serve(a *actor.Attempt, s actor.Server, began time.Time) error {
	addr := fmt.Sprintf(":%d", s.Port)
	if s.Kind == "tcp" {
		go listenWhileReady(a, addr, s.Port, began)
		return nil
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	pages := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(a, began, w, r) })
	switch s.Kind {
	case "https":
		cert, err := selfSigned()
		if err != nil {
			return err
		}
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}})
		fallthrough
	case "http":
		go func() { _ = http.Serve(l, pages) }()
	case "grpc":
		srv := grpc.NewServer()
		grpc_health_v1.RegisterHealthServer(srv, &health{a: a, began: began})
		go func() { _ = srv.Serve(l) }()
	}
	return nil
}

func answer(a *actor.Attempt, began time.Time, w http.ResponseWriter, r *http.Request) {
	header := map[string]string{}
	for name := range r.Header {
		header[strings.ToLower(name)] = r.Header.Get(name)
	}
	x := a.HTTP(actor.Request{Path: r.URL.Path, Host: r.Host, Header: header}, time.Since(began))
	time.Sleep(x.Takes)
	if x.Code == http.StatusFound {
		w.Header().Set("Location", actor.Location(r.URL.Path))
	}
	w.WriteHeader(x.Code)
	_, _ = io.WriteString(w, x.Output)
}

// listenWhileReady opens and closes the port as the schedule says.
func listenWhileReady(a *actor.Attempt, addr string, port int, began time.Time) {
	var l net.Listener
	for ; ; time.Sleep(50 * time.Millisecond) {
		switch want := a.Listens(port, time.Since(began)) != ""; {
		case want && l == nil:
			var err error
			if l, err = net.Listen("tcp", addr); err != nil {
				l = nil
				continue
			}
			go accept(l)
		case !want && l != nil:
			_ = l.Close()
			l = nil
		}
	}
}

func accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_ = c.Close()
	}
}

type health struct {
	grpc_health_v1.UnimplementedHealthServer
	a     *actor.Attempt
	began time.Time
}

// Check implements gRPC's health service.
func (h *health) Check(_ context.Context, r *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	serving, known := h.a.Serving(r.Service, time.Since(h.began))
	switch {
	case !known:
		return nil, status.Error(codes.NotFound, "unknown service")
	case !serving:
		return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_NOT_SERVING}, nil
	}
	return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING}, nil
}

// selfSigned makes a certificate that nobody has reason to trust.
func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"actor"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
