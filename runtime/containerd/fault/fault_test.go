package fault

import (
	"errors"
	"testing"

	"github.com/containerd/errdefs"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/davit-agent/davit/runtime"
)

func TestClassification(t *testing.T) {
	const (
		fine = iota
		daemon
		shim
		remains
		ended
		underWay
	)
	for _, tc := range []struct {
		code codes.Code
		text string
		want int
	}{
		{codes.Unavailable, `connection error: desc = "transport: Error while dialing: dial unix /x: connect: connection refused"`, daemon},
		{codes.Unavailable, "error reading from server: EOF", daemon},
		{codes.DeadlineExceeded, "context deadline exceeded", daemon},
		{codes.Unknown, "failed to create shim task: ttrpc: closed: unknown", shim},
		{codes.Unknown, "failed to start shim: make new connection: dial unix /run/containerd/s/x: connect: connection refused: unknown", shim},
		{codes.Unknown, `failed to create shim task: OCI runtime create failed: runc create failed: error mounting "/x": connect: connection refused: unknown`, fine},
		{codes.Unknown, "failed to create shim task: OCI runtime create failed: container with given ID already exists: unknown", remains},
		{codes.Unknown, "failed to start shim: mkdir /run/containerd/io.containerd.runtime.v2.task/davit/0123: file exists: unknown", underWay},
		{codes.Unknown, `failed to create shim task: OCI runtime create failed: runc create failed: mkdir /x: file exists: unknown`, fine},
		{codes.NotFound, "process already finished: not found", ended},
		{codes.InvalidArgument, "bad", fine},
	} {
		raw := status.Error(tc.code, tc.text)
		err := Classify(raw)
		again := Classify(err)
		for _, err := range []error{err, again} {
			got := map[int]bool{
				daemon: errors.Is(err, runtime.ErrUnavailable), shim: ShimGone(err), remains: Remains(err), ended: ProcessEnded(err), underWay: UnderWay(err),
			}
			for kind, is := range got {
				if is != (kind == tc.want) {
					t.Errorf("%s %q: kind %d is %v, error %v", tc.code, tc.text, kind, is, err)
				}
			}
		}
	}
	if err := Classify(status.Error(codes.NotFound, "x")); !errdefs.IsNotFound(err) {
		t.Errorf("not found became %v", err)
	}
	if Classify(nil) != nil || ShimGone(nil) || Remains(nil) || ProcessEnded(nil) || UnderWay(nil) {
		t.Error("no error is one")
	}
}

func TestStartErrorIsFitForPeople(t *testing.T) {
	err := Start(Classify(status.Error(codes.Unknown, `failed to create shim task: OCI runtime create failed: runc create failed: exec: "x": executable file not found in $PATH: unknown`)))
	const want = `container did not start: OCI runtime create failed: runc create failed: exec: "x": executable file not found in $PATH`
	if err.Error() != want || !errors.Is(err, runtime.ErrStart) {
		t.Errorf("got %q, want %q", err, want)
	}
}
