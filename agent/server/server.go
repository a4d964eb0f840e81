package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// leaveTimeout bounds how long leaving waits for requests under way; cutAfter is
// when their connections are cut, in time for them to notice.
const (
	leaveTimeout = 5 * time.Second
	cutAfter     = 2 * time.Second
)

// Server is the local API.
type Server struct {
	opts     Options
	listener net.Listener
	sessions sessions // of connections that were taken over
}

// New makes the socket; nothing is answered before Run. The error wraps
// ErrInUse if another server answers at the socket.
func New(opts Options) (*Server, error) {
	l, err := listenUnix(opts.Socket)
	if err != nil {
		return nil, err
	}
	return &Server{opts: opts, listener: l}, nil
}

// Close gives the socket up; for a Server that was not Run.
func (s *Server) Close() error { return s.listener.Close() }

// Run serves until ctx is done, then ends what is under way and returns nil
// within a few seconds. The socket is gone when it returns.
func (s *Server) Run(ctx context.Context) error {
	err := serve(ctx, s.listener, s.whenReady(s.routes()), s.opts.Logger)
	done := make(chan struct{})
	go func() { s.sessions.end(); close(done) }()
	select {
	case <-done:
	case <-time.After(leaveTimeout):
		s.opts.Logger.Warn("leaving exec sessions behind that do not end")
	}
	return err
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	observe(mux, s.opts.Metrics, s.opts.Health)
	mux.HandleFunc("GET /v1/version", func(w http.ResponseWriter, _ *http.Request) {
		v := s.opts.Version
		v.Manifests = s.opts.Manifests
		writeJSON(w, http.StatusOK, v)
	})
	mux.HandleFunc("GET /v1/problems", s.problems)
	mux.HandleFunc("GET /v1/pods", s.pods)
	mux.HandleFunc("GET /v1/node", s.node)
	mux.HandleFunc("GET /v1/services", s.services)
	mux.HandleFunc("GET /v1/configmaps", s.configMaps)
	mux.HandleFunc("GET /v1/secrets", s.secrets)
	mux.HandleFunc("GET /v1/pods/{ns}/{name}", s.pod)
	mux.HandleFunc("GET /v1/pods/{ns}/{name}/explain", s.explain)
	mux.HandleFunc("GET /v1/pods/{ns}/{name}/log", s.log)
	mux.HandleFunc("POST /v1/pods/{ns}/{name}/exec", s.exec)
	mux.HandleFunc("POST /v1/pods/{ns}/{name}/portforward", s.portForward)
	s.imageRoutes(mux)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		notFound("there is no %s %s", r.Method, r.URL.Path).reply(w)
	})
	return mux
}

// readyTimeout is how long a request waits for what was on record to be taken up.
const readyTimeout = 10 * time.Second

// whenReady has requests for pods wait until it is known which there are.
func (s *Server) whenReady(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.opts.Ready != nil && strings.HasPrefix(r.URL.Path, "/v1/pods") {
			late := time.NewTimer(readyTimeout)
			defer late.Stop()
			select {
			case <-s.opts.Ready:
			case <-late.C:
				(&failure{http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable,
					"davit has just started and has not looked at all its pods yet: try again"}).reply(w)
				return
			case <-r.Context().Done():
				return
			}
		}
		h.ServeHTTP(w, r)
	})
}

// observe adds what every listener serves.
func observe(mux *http.ServeMux, metrics prometheus.Gatherer, health func() error) {
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if err := health(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
}

// serve serves h on l until ctx is done. Requests' contexts end with ctx.
func serve(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) error {
	srv := &http.Server{
		Handler:           h,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	select {
	case err := <-failed:
		srv.Close()
		return fmt.Errorf("serving %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	if err := srv.Shutdown(late); err != nil {
		log.Warn("cutting requests that do not end", "error", err)
		srv.Close()
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving %s: %w", l.Addr(), err)
	}
	return nil
}

// cutWith gives a long answer's connection a deadline once ctx is done, so that
// a reader who has stopped reading cannot hold it.
func cutWith(ctx context.Context, setDeadline func(time.Time) error) (stop func() bool) {
	return context.AfterFunc(ctx, func() { setDeadline(time.Now().Add(cutAfter)) })
}
