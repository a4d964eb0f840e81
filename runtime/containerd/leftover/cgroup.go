// Package leftover removes what an OCI runtime that was killed while it made a
// container leaves behind and no later call of it removes.
package leftover

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/davit-agent/davit/runtime/cgroup/qos"
)

const cgroupMount = "/sys/fs/cgroup"

// RemoveCgroup removes a container's cgroup where an OCI runtime that was
// killed while it made the container left it, empty, in every hierarchy.
func RemoveCgroup(cgroupsPath string) error {
	dirs, err := Cgroups(cgroupsPath)
	for _, dir := range dirs {
		err = errors.Join(err, removeTree(dir))
	}
	return err
}

// Cgroups returns where the cgroup of a container is, if it is there, one
// directory for each hierarchy.
func Cgroups(cgroupsPath string) ([]string, error) {
	path := filepath.Clean("/" + qos.FromSpecPath(cgroupsPath))
	if cgroupsPath == "" || path == "/" {
		return nil, nil
	}
	if _, err := os.Stat(filepath.Join(cgroupMount, "cgroup.controllers")); err == nil {
		return []string{filepath.Join(cgroupMount, path)}, nil
	}
	entries, err := os.ReadDir(cgroupMount)
	if err != nil {
		return nil, fmt.Errorf("reading cgroup hierarchies: %w", err)
	}
	dirs := make([]string, 0, len(entries))
	for _, e := range entries {
		dirs = append(dirs, filepath.Join(cgroupMount, e.Name(), path))
	}
	return dirs, nil
}

// removeTree removes a cgroup and those below it, the deepest first.
func removeTree(dir string) error {
	var dirs []string
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			dirs = append(dirs, path)
		}
		return nil // what vanished meanwhile is what is wanted
	})
	for _, d := range slices.Backward(dirs) {
		if err := syscall.Rmdir(d); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing cgroup %s: %w", d, err)
		}
	}
	return nil
}
