// Package fault tells from an error of containerd's what is at fault: the
// daemon, the shim, or the container. Much of it can only be told by text.
package fault

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"google.golang.org/grpc/status"

	"github.com/davit-agent/davit/runtime"
)

// Classify turns an error of a gRPC call into one whose cause errdefs knows
// and that wraps runtime.ErrUnavailable if the daemon did not answer.
func Classify(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok { // else the client has done so
		err = errgrpc.ToNative(err)
	}
	if errors.Is(err, runtime.ErrUnavailable) || errors.Is(err, context.Canceled) {
		return err
	}
	if errdefs.IsUnavailable(err) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", runtime.ErrUnavailable, err)
	}
	return err
}

// shimGonePhrases are what the daemon says when the shim that it was told to
// use, or has just started, does not answer. The daemon passes these on as
// text under the code Unknown; there is nothing better to go by. Seen on 1.6.20
// and 2.2.3 by killing shims before, during and after a create.
var shimGonePhrases = []string{
	"ttrpc: closed",
	"failed to create TTRPC connection",
	"unable to make connection",
	"connect: connection refused",
	"connect: no such file or directory",
	"failed to start shim: start failed",
	"create new shim socket",
}

// ShimGone says whether err of a task call means that the shim has gone, not
// that the container is at fault.
func ShimGone(err error) bool {
	if err == nil || errors.Is(err, runtime.ErrUnavailable) {
		return false // the daemon has gone
	}
	text := err.Error()
	// What the OCI runtime says is about the container, whatever words it has.
	if strings.Contains(text, "OCI runtime") {
		return false
	}
	for _, p := range shimGonePhrases {
		if strings.Contains(text, p) {
			return true
		}
	}
	return false
}

// Start makes the final error of a start: it wraps runtime.ErrStart and
// its text is what the runtime said, without the wrapping of gRPC.
func Start(err error) error {
	text := strings.TrimSuffix(err.Error(), ": unknown")
	for _, p := range []string{"failed to create shim task: ", "failed to create task: "} {
		text = strings.TrimPrefix(text, p)
	}
	return fmt.Errorf("%w: %s", runtime.ErrStart, text)
}

// ProcessEnded says whether err of a kill means that the process had ended.
func ProcessEnded(err error) bool {
	return err != nil && strings.Contains(err.Error(), "process already finished")
}

// Remains says whether err of making a task means that the OCI runtime found
// the Remains of an attempt that was killed. The daemon has removed them when
// it says so.
func Remains(err error) bool {
	return err != nil && strings.Contains(err.Error(), "container with given ID already exists")
}

// UnderWay says whether err of making a task means that the daemon is about to
// make it already: its directory is there and its task is not.
func UnderWay(err error) bool {
	if err == nil {
		return false
	}
	text := err.Error()
	return strings.Contains(text, "mkdir ") && strings.Contains(text, "/io.containerd.runtime.v2.task/") && strings.Contains(text, ": file exists")
}
