package volumes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
)

// checkTime bounds how long a caller waits for a path: its pod has other things to
// do, and its status should tell.
const checkTime = 15 * time.Second

// checker looks at paths that may be on file systems which do not answer.
type checker struct {
	mu      sync.Mutex
	running map[checkKey]*check
}

type checkKey struct {
	path string
	kind v1.HostPathType
}

type check struct {
	done chan struct{}
	err  error // valid once done is closed
}

// checks is shared by all pods: a path that does not answer holds one goroutine,
// however often it is tried.
var checks = &checker{running: map[checkKey]*check{}}

// run checks path, and makes it where kind says so, or gives up with ctx.
func (c *checker) run(ctx context.Context, path string, kind v1.HostPathType) error {
	return c.do(ctx, checkKey{path, kind}, func() error { return checkHostPath(path, kind) })
}

// do runs look, unless it runs already, and waits for its end.
func (c *checker) do(ctx context.Context, key checkKey, look func() error) error {
	c.mu.Lock()
	ch := c.running[key]
	if ch == nil {
		ch = &check{done: make(chan struct{})}
		c.running[key] = ch
		go func() {
			ch.err = look()
			c.mu.Lock()
			delete(c.running, key)
			c.mu.Unlock()
			close(ch.done)
		}()
	}
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	select {
	case <-ch.done:
		return ch.err
	case <-ctx.Done():
		return fmt.Errorf("looking at %s, which does not answer: %w", key.path, ctx.Err())
	}
}

// checkHostPath has the messages that kubelet's users know.
func checkHostPath(path string, kind v1.HostPathType) error {
	switch kind {
	case v1.HostPathUnset, v1.HostPathDirectoryOrCreate:
		return directoryOrCreate(path, kind)
	case v1.HostPathDirectory:
		return expect(path, "a directory", fs.ModeDir)
	case v1.HostPathFileOrCreate:
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		switch {
		case err == nil:
			return f.Close()
		case !errors.Is(err, fs.ErrExist):
			return fmt.Errorf("making hostPath file: %w", err)
		}
		return expect(path, "a file", 0)
	case v1.HostPathFile:
		return expect(path, "a file", 0)
	case v1.HostPathSocket:
		return expect(path, "a socket file", fs.ModeSocket)
	case v1.HostPathCharDev:
		return expect(path, "a character device", fs.ModeDevice|fs.ModeCharDevice)
	case v1.HostPathBlockDev:
		return expect(path, "a block device", fs.ModeDevice)
	}
	return fmt.Errorf("%s is an invalid volume type", kind)
}

func directoryOrCreate(path string, kind v1.HostPathType) error {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(path, 0o755); err != nil {
			return fmt.Errorf("making hostPath directory: %w", err)
		}
	}
	if kind == v1.HostPathUnset {
		return nil
	}
	return expect(path, "a directory", fs.ModeDir)
}

// expect follows symlinks, as mounting does.
func expect(path, what string, want fs.FileMode) error {
	info, err := os.Stat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("hostPath type check failed: %s is not %s: %w", path, what, err)
	}
	if err != nil || info.Mode().Type() != want {
		return fmt.Errorf("hostPath type check failed: %s is not %s", path, what)
	}
	return nil
}
