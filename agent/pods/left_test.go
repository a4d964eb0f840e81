package pods

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// leftOf returns everything that there is of a pod, or of all pods for "".
func (w *world) leftOf(uid string) (left []string) {
	for _, line := range w.node.Left() {
		if strings.Contains(line, uid) {
			left = append(left, line)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	add := func(kind, of string) {
		if uid == "" || uid == of {
			left = append(left, kind+" "+of)
		}
	}
	for u, addrs := range w.attached {
		add(fmt.Sprintf("attachment of %v to", addrs), u)
	}
	for u := range w.mounted {
		add("volumes of", u)
	}
	for u := range w.cgroups {
		add("cgroup", u)
	}
	for kind, root := range map[string]string{"record": filepath.Join(w.cfg.StateDir, "pods"), "logs": w.cfg.LogDir} {
		entries, _ := os.ReadDir(root)
		for _, e := range entries {
			if onlyBlocked(filepath.Join(root, e.Name())) {
				continue
			}
			_, of, found := strings.Cut(e.Name(), "_")
			_, of, _ = strings.Cut(of, "_")
			if !found {
				of = e.Name()
			}
			add(kind, of)
		}
	}
	slices.Sort(left)
	return left
}

// onlyBlocked tells whether block made this directory of a pod without a record.
func onlyBlocked(dir string) bool {
	entries, _ := os.ReadDir(dir)
	return len(entries) > 0 && !slices.ContainsFunc(entries, func(e os.DirEntry) bool { return !strings.HasSuffix(e.Name(), ".tmp") || !e.IsDir() })
}
