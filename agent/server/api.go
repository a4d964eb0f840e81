package server

import (
	"context"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/davit-agent/davit/agent/server/wire"
	"github.com/davit-agent/davit/runtime"
)

// Pods is the table of pods with their statuses. What it returns is shared and
// not changed.
type Pods interface {
	// List is ordered by namespace and name.
	List() []*v1.Pod
	Get(namespace, name string) (*v1.Pod, bool)
	// Watch carries *v1.Pod: all as ADDED, then changes; closed after ctx.
	Watch(ctx context.Context) <-chan watch.Event
}

// Execer runs a further process in a running container; see runtime.Runtime.
type Execer interface {
	Exec(ctx context.Context, containerID string, cfg runtime.ExecConfig) (int, error)
}

// LogRequest says which part of which log is wanted.
type LogRequest struct {
	ID, Path   string // of the container, and its log file
	Follow     bool   // go on until the container's log is closed
	Timestamps bool   // each line begins with its RFC 3339 time
	Tail       *int64 // only the last so many lines of what is there; nil: all
	Since      time.Time
	LimitBytes int64 // end after so many bytes; 0: no limit
}

// LogStreamer copies the log of a container, without CRI's line headers, to
// stdout and stderr, until it is done or ctx ends.
type LogStreamer interface {
	Stream(ctx context.Context, req LogRequest, stdout, stderr io.Writer) error
}

// Dialer connects to a TCP port on the loopback addresses of a pod. The error of
// a port at which nobody listens wraps syscall.ECONNREFUSED.
type Dialer interface {
	Dial(ctx context.Context, podUID string, port uint16) (net.Conn, error)
}

// Problems tells what in the pod sources cannot be used.
type Problems interface {
	Problems() []wire.Problem
}

// Options is what a Server serves.
type Options struct {
	Socket   string // path of the unix socket, at most 107 bytes
	LogDir   string // absolute, /var/log/pods
	Version  wire.Version
	Pods     Pods
	Ready    <-chan struct{} // closed when Pods is complete after a start; nil: it always is
	Execer   Execer
	Logs     LogStreamer
	Dialer   Dialer
	Images   Images // nil: nothing is said of images
	Problems Problems
	// Manifests is the directory that davit apply writes to; "": there is none.
	Manifests string
	Explainer Explainer
	Objects   Objects
	Node      NodeInfo
	Metrics   prometheus.Gatherer
	Health    func() error // nil error: healthy
	Logger    *slog.Logger
}
