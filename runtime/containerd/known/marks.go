// Package known holds what this process knows of containers beyond what the
// daemon would tell: a table in memory, and start marks in the run directory.
package known

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Mark is a file in the run directory that says that a container's task was
// about to be started. It is how a container whose task vanished is told from
// one that never ran, and how the shim of a container is found when the daemon
// was away from the start. It is not synced: what it speaks of does not
// outlive the boot either.
type Mark struct {
	Group  string    `json:"group"`
	Cgroup string    `json:"cgroup,omitempty"`
	At     time.Time `json:"-"` // when it was set
}

// Marks is the directory of the start marks.
type Marks struct {
	Dir    string
	Logger *slog.Logger
}

func (k Marks) path(id string) string { return filepath.Join(k.Dir, id) }

// Set sets the mark of a container.
func (k Marks) Set(id string, m Mark) error {
	data, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("writing start mark: %w", err)
	}
	tmp := filepath.Join(k.Dir, "."+id)
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return fmt.Errorf("writing start mark: %w", err)
	}
	if err := os.Rename(tmp, k.path(id)); err != nil {
		return fmt.Errorf("writing start mark: %w", err)
	}
	return nil
}

// Get returns nil if there is none.
func (k Marks) Get(id string) *Mark {
	data, err := os.ReadFile(k.path(id))
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			k.Logger.Warn("cannot read start mark", "container", id, "error", err)
		}
		return nil
	}
	var m Mark
	if err := json.Unmarshal(data, &m); err != nil {
		k.Logger.Warn("cannot read start mark", "container", id, "error", err)
	}
	if info, err := os.Stat(k.path(id)); err == nil {
		m.At = info.ModTime()
	}
	return &m
}

// IDs returns the IDs that have a start mark.
func (k Marks) IDs() map[string]bool {
	files, err := os.ReadDir(k.Dir)
	if err != nil {
		k.Logger.Warn("cannot read start marks", "error", err)
	}
	ids := make(map[string]bool, len(files))
	for _, f := range files {
		if !strings.HasPrefix(f.Name(), ".") { // one that is being written
			ids[f.Name()] = true
		}
	}
	return ids
}

// Remove removes the mark of a container, if it has one.
func (k Marks) Remove(id string) error {
	if err := os.Remove(k.path(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing start mark: %w", err)
	}
	return nil
}
