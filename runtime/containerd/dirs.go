package containerd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

func (c *Client) stdinDir() string           { return filepath.Join(c.cfg.RunDir, "stdin") }
func (c *Client) stdinPath(id string) string { return filepath.Join(c.stdinDir(), id) }

func makeDirs(dirs ...string) error {
	for _, d := range dirs {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return fmt.Errorf("making run directory: %w", err)
		}
	}
	return nil
}

// removeFiles removes files that may not be there.
func removeFiles(paths ...string) error {
	var all error
	for _, p := range paths {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			all = errors.Join(all, err)
		}
	}
	return all
}
