// Package shim talks to containerd's runc shims on their own sockets, past the
// daemon. davit does so for two things only: to see how containers fare while
// the daemon is away, and to reap a shim that the daemon lost.
//
// A shim listens on a socket whose name is a hash of the daemon's address, the
// containerd namespace and the shim group (seen on 1.6.20 and 2.2.3; the
// directory can be set from 2.3 on and is the default one here). Shims up to
// containerd 1.7 serve the task API in version 2, later ones in version 3; the
// messages used here are the same on the wire.
package shim

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync/atomic"
	"time"

	task "github.com/containerd/containerd/api/runtime/task/v3"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/types/known/emptypb"
)

// SocketDir is where containerd's shims listen.
const SocketDir = "/run/containerd/s"

// The task service by the version of the shim.
const (
	serviceV3 = "containerd.task.v3.Task"
	serviceV2 = "containerd.task.v2.Task"
)

var (
	// ErrGone means that no shim listens there, or that it went away.
	ErrGone = errors.New("shim is gone")
	// ErrNotFound means that the shim is there and does not know the container.
	ErrNotFound = errors.New("shim does not have the container")
)

// Status is what a shim says of a container's init process.
type Status struct {
	Created  bool // waits to be started
	Running  bool // started and not ended
	Pid      uint32
	ExitCode uint32    // if neither Created nor Running
	ExitedAt time.Time // likewise
}

// Address returns the path of the socket of the shim of a group.
func Address(containerdAddress, namespace, group string) string {
	sum := sha256.Sum256([]byte(filepath.Join(containerdAddress, namespace, group)))
	return filepath.Join(SocketDir, fmt.Sprintf("%x", sum))
}

// Client is a connection to one shim. Its methods may be used concurrently.
type Client struct {
	conn      *ttrpc.Client
	namespace string
	v2        atomic.Bool // the shim turned out not to serve version 3
}

// Dial connects to the shim that listens at path. ErrGone: none does.
func Dial(ctx context.Context, path, namespace string) (*Client, error) {
	d := net.Dialer{Timeout: 5 * time.Second}
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("connecting to shim: %w: %w", ErrGone, err)
	}
	return &Client{conn: ttrpc.NewClient(conn), namespace: namespace}, nil
}

// Close closes the connection; the shim lives on.
func (c *Client) Close() error { return c.conn.Close() }

// call calls a method of the task service in the version that the shim serves.
func (c *Client) call(ctx context.Context, method string, req, resp any) error {
	ctx = namespaces.WithNamespace(ctx, c.namespace)
	var err error
	if !c.v2.Load() {
		err = c.conn.Call(ctx, serviceV3, method, req, resp)
		if err == nil {
			return nil
		}
		if !errdefs.IsNotImplemented(errgrpc.ToNative(err)) {
			return c.explain(ctx, method, err)
		}
	}
	if err = c.conn.Call(ctx, serviceV2, method, req, resp); err != nil {
		return c.explain(ctx, method, err)
	}
	c.v2.Store(true)
	return nil
}

func (c *Client) explain(ctx context.Context, method string, err error) error {
	native := errgrpc.ToNative(err)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("calling shim's %s: %w", method, ctx.Err())
	case errors.Is(err, ttrpc.ErrClosed), errdefs.IsUnavailable(native):
		return fmt.Errorf("calling shim's %s: %w: %w", method, ErrGone, err)
	case errdefs.IsNotFound(native):
		return fmt.Errorf("calling shim's %s: %w: %w", method, ErrNotFound, err)
	}
	return fmt.Errorf("calling shim's %s: %w", method, native)
}

// State asks how a container fares.
func (c *Client) State(ctx context.Context, id string) (Status, error) {
	var resp task.StateResponse
	if err := c.call(ctx, "State", &task.StateRequest{ID: id}, &resp); err != nil {
		return Status{}, err
	}
	switch resp.Status {
	case tasktypes.Status_CREATED:
		return Status{Created: true, Pid: resp.Pid}, nil
	case tasktypes.Status_STOPPED:
		return Status{Pid: resp.Pid, ExitCode: resp.ExitStatus, ExitedAt: resp.ExitedAt.AsTime()}, nil
	case tasktypes.Status_UNKNOWN:
		return Status{}, fmt.Errorf("calling shim's State: state of container %s is unknown", id)
	}
	return Status{Running: true, Pid: resp.Pid}, nil // running, pausing or paused
}

// Wait returns once the container's init process has ended.
func (c *Client) Wait(ctx context.Context, id string) (Status, error) {
	var resp task.WaitResponse
	if err := c.call(ctx, "Wait", &task.WaitRequest{ID: id}, &resp); err != nil {
		return Status{}, err
	}
	return Status{ExitCode: resp.ExitStatus, ExitedAt: resp.ExitedAt.AsTime()}, nil
}

// Kill sends SIGKILL to the container's init process.
func (c *Client) Kill(ctx context.Context, id string) error {
	return c.call(ctx, "Kill", &task.KillRequest{ID: id, Signal: 9}, &emptypb.Empty{})
}

// Delete removes an ended container from the shim.
func (c *Client) Delete(ctx context.Context, id string) error {
	var resp task.DeleteResponse
	return c.call(ctx, "Delete", &task.DeleteRequest{ID: id}, &resp)
}

// Shutdown asks the shim to leave. It does so only if it has no container.
func (c *Client) Shutdown(ctx context.Context, id string) error {
	err := c.call(ctx, "Shutdown", &task.ShutdownRequest{ID: id}, &emptypb.Empty{})
	if errors.Is(err, ErrGone) {
		return nil
	}
	return err
}
