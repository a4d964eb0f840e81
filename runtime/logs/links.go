package logs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxLinkName is the longest name of a file.
const maxLinkName = 255

// LinkName returns the name that collectors expect in /var/log/containers for
// the log at path, "<pod>_<ns>_<container>-<id>.log"; ok is false when path has
// not the form .../<ns>_<pod>_<uid>/<container>/<n>.log.
func LinkName(path, id string) (name string, ok bool) {
	containerDir := filepath.Dir(path)
	// Namespaces, pod names and UIDs have no '_'.
	parts := strings.Split(filepath.Base(filepath.Dir(containerDir)), "_")
	if len(parts) != 3 || filepath.Base(containerDir) == "/" {
		return "", false
	}
	const ext = ".log"
	name = parts[1] + "_" + parts[0] + "_" + filepath.Base(containerDir)
	tail := "-" + id + ext
	if len(name)+len(tail) > maxLinkName {
		name = name[:max(0, maxLinkName-len(tail))]
	}
	return name + tail, true
}

// link makes the link to a log file.
func (c *Client) link(path, id string) error {
	name, ok := LinkName(path, id)
	if c.cfg.LinkDir == "" || !ok {
		return nil
	}
	link := filepath.Join(c.cfg.LinkDir, name)
	if have, err := os.Readlink(link); err == nil && have == path {
		return nil
	}
	if err := os.MkdirAll(c.cfg.LinkDir, 0o755); err != nil {
		return fmt.Errorf("making directory of log links: %w", err)
	}
	if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("replacing log link: %w", err)
	}
	if err := os.Symlink(path, link); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("making log link: %w", err)
	}
	return nil
}

// Unlink removes all links to log files below dir, a pod's or a container's log
// directory. It is to be called when the directory is removed.
func (c *Client) Unlink(dir string) error {
	if c.cfg.LinkDir == "" {
		return nil
	}
	entries, err := os.ReadDir(c.cfg.LinkDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("listing log links: %w", err)
	}
	below := filepath.Clean(dir) + "/"
	var errs []error
	for _, e := range entries {
		link := filepath.Join(c.cfg.LinkDir, e.Name())
		if to, err := os.Readlink(link); err != nil || !strings.HasPrefix(to, below) {
			continue
		}
		if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("removing log link: %w", err))
		}
	}
	return errors.Join(errs...)
}
