package cri

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// RotatedLayout is the time layout of what follows the dot in a rotated file's
// name.
const RotatedLayout = "20060102-150405"

// RotatedName returns the name of a rotated file of path.
func RotatedName(path string, t time.Time) string {
	return path + "." + t.Format(RotatedLayout)
}

// RotatedTime returns the time in the name of a rotated file of path; ok is
// false for any other name.
func RotatedTime(path, name string) (t time.Time, ok bool) {
	s, ok := strings.CutPrefix(name, path+".")
	if !ok {
		return time.Time{}, false
	}
	t, err := time.Parse(RotatedLayout, s)
	return t, err == nil
}

// Rotated returns the rotated files of path, oldest first. It is empty when the
// directory does not exist.
func Rotated(path string) ([]string, error) {
	dir := filepath.Dir(path)
	entries, err := os.ReadDir(dir) // sorted by name
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing log files: %w", err)
	}
	var names []string
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if _, ok := RotatedTime(path, name); ok && e.Type().IsRegular() {
			names = append(names, name)
		}
	}
	return names, nil
}
