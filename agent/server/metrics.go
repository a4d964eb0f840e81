package server

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
)

// MetricsServer serves GET /metrics and GET /healthz on TCP, and nothing else.
type MetricsServer struct {
	listener net.Listener
	handler  http.Handler
	logger   *slog.Logger
}

// NewMetrics listens on address (host:port); nothing is answered before Run.
func NewMetrics(address string, metrics prometheus.Gatherer, health func() error, logger *slog.Logger) (*MetricsServer, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening for metrics on %s: %w", address, err)
	}
	mux := http.NewServeMux()
	observe(mux, metrics, health)
	return &MetricsServer{listener: l, handler: mux, logger: logger}, nil
}

// Addr is where it listens.
func (m *MetricsServer) Addr() net.Addr { return m.listener.Addr() }

// Close gives the address up; for a server that was not Run.
func (m *MetricsServer) Close() error { return m.listener.Close() }

// Run serves until ctx is done and returns nil.
func (m *MetricsServer) Run(ctx context.Context) error {
	return serve(ctx, m.listener, m.handler, m.logger)
}
