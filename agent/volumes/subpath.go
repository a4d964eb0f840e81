package volumes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/davit-agent/davit/agent/volumes/subpath"
)

// SubPathError says about a subPath what a pod's owner may know, in kubelet's
// words. The cause may tell of the host's files: it is what the error wraps, and
// slog shows it.
type SubPathError struct {
	text  string
	cause error
}

// Error returns kubelet's message.
func (e *SubPathError) Error() string { return e.text }

// Unwrap returns the cause.
func (e *SubPathError) Unwrap() error { return e.cause }

// LogValue shows the cause in the node's log.
func (e *SubPathError) LogValue() slog.Value {
	return slog.StringValue(e.text + ": " + e.cause.Error())
}

// SubPath makes a place inside of a volume ready to be mounted by one container
// and returns its path, which nobody in a pod can change. It is to be called
// before each start of the container. Teardown removes what it made.
func SubPath(ctx context.Context, podDir string, m subpath.Mount) (string, error) {
	if err := subpath.Check(m.SubPath); err != nil {
		return "", err
	}
	path, err := bindSubPath(ctx, podDir, m)
	switch {
	case err == nil:
		return path, nil
	case errors.Is(err, subpath.ErrCreate):
		return "", &SubPathError{fmt.Sprintf("failed to create subPath directory for volumeMount %q of container %q", m.Volume, m.Container), err}
	}
	return "", &SubPathError{fmt.Sprintf("failed to prepare subPath for volumeMount %q of container %q", m.Volume, m.Container), err}
}

func bindSubPath(ctx context.Context, podDir string, m subpath.Mount) (string, error) {
	key := checkKey{filepath.Join(m.Path, m.SubPath), "subPath"}
	opened := make(chan *os.File, 1)
	for {
		err := checks.do(ctx, key, func() error {
			f, err := subpath.Open(ctx, m.Path, m.SubPath)
			if err == nil {
				opened <- f // if nobody waits any more, its finalizer closes it
			}
			return err
		})
		if err != nil {
			return "", err
		}
		select {
		case f := <-opened:
			path, err := subpath.Bind(f, podDir, m)
			return path, errors.Join(err, f.Close())
		default: // it was another's try that ended; now it is this one's turn
		}
	}
}
