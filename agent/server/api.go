package server

import (
	"context"
	"io"
	"log/slog"

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

// LogStreamer copies the log of a container, without CRI's line headers, to
// stdout and stderr. With follow it goes on until the container's log is closed
// or ctx ends; with timestamps each line begins with its RFC 3339 time.
type LogStreamer interface {
	//budget: the composition root hands in the log pump's client as it is
	Stream(ctx context.Context, id, path string, follow, timestamps bool, stdout, stderr io.Writer) error
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
	Execer   Execer
	Logs     LogStreamer
	Problems Problems
	Metrics  prometheus.Gatherer
	Health   func() error // nil error: healthy
	Logger   *slog.Logger
}
