package shim

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	task "github.com/containerd/containerd/api/runtime/task/v3"
)

// WithBundle calls f while the container has a bundle. The daemon may have
// removed it: a deletion that was cut leaves it so (seen on 1.6.20). The shim has
// runc log into the bundle, so without one nothing can be done to the container;
// it gets an empty directory in its place for the while. The error wraps
// fs.ErrExist, and f is not called, if there is a bundle.
func (c *Client) WithBundle(ctx context.Context, id string, f func() error) error {
	bundle, err := c.bundle(ctx, id)
	if err != nil {
		return err
	}
	if err := os.Mkdir(bundle, 0o700); err != nil {
		return fmt.Errorf("making a bundle for container %s: %w", id, err)
	}
	err = f()
	// runc's log is all that may be in it; what is mounted is not removed.
	for _, name := range []string{"log.json", ""} {
		if rmErr := os.Remove(filepath.Join(bundle, name)); rmErr != nil && !errors.Is(rmErr, fs.ErrNotExist) {
			err = errors.Join(err, fmt.Errorf("removing the bundle of container %s: %w", id, rmErr))
		}
	}
	return err
}

// bundle returns where the bundle of a container of this shim belongs: beside
// the shim's working directory, which is the bundle of the container that it was
// started for.
func (c *Client) bundle(ctx context.Context, id string) (string, error) {
	var resp task.ConnectResponse
	if err := c.call(ctx, "Connect", &task.ConnectRequest{ID: id}, &resp); err != nil {
		return "", err
	}
	cwd, err := os.Readlink(filepath.Join("/proc", strconv.FormatUint(uint64(resp.ShimPid), 10), "cwd"))
	if err != nil {
		return "", fmt.Errorf("finding the shim's directory: %w", err)
	}
	dir := filepath.Dir(strings.TrimSuffix(cwd, " (deleted)"))
	if filepath.Base(dir) != c.namespace || filepath.Base(id) != id {
		return "", fmt.Errorf("the shim's directory %s is no bundle of namespace %s", cwd, c.namespace)
	}
	return filepath.Join(dir, id), nil
}
