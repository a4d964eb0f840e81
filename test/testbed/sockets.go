package testbed

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

// shimDir is where shims of every containerd have their sockets, whatever the
// daemon's own directories.
const shimDir = "/run/containerd/s/"

// What containerd writes of its shims. Version 1.6 logs the bundle in which a
// shim starts, 2.x the address. The group is in the container's spec, of which
// the database keeps a copy long after the container's deletion: its pages are
// not wiped.
var (
	logBundle  = regexp.MustCompile(`/io\.containerd\.runtime\.v2\.task/([\w.-]+)/([\w.-]+)`)
	logAddress = regexp.MustCompile(`address="(unix://[^"]+)"`)
	specGroup  = regexp.MustCompile(`"io\.containerd\.runc\.v2\.group":"([^"]+)"`)
)

// shimSockets returns the paths of the sockets that shims of the Bed's daemon
// have or had, in ascending order. A socket's file survives its shim's death by
// SIGKILL, and in 2.x also its orderly end if the shim's group has another name
// than the container that it was started for. So besides those that are bound
// in the Bed's network namespace and those that bundles name, all are looked for
// that the daemon's log and database tell of. None is another daemon's: a
// socket's name is a hash of the daemon's address, namespace and group.
func shimSockets(id, dir string) []string {
	found := make(map[string]bool)
	add := func(address string) {
		path := strings.TrimPrefix(address, "unix://")
		if st, err := os.Lstat(path); err == nil && strings.HasPrefix(path, shimDir) && st.Mode()&os.ModeSocket != 0 {
			found[path] = true
		}
	}
	for _, a := range boundAddresses(id, dir) {
		add(a)
	}
	spaces, groups := map[string]bool{"davit-" + id: true}, map[string]bool{}
	bundles, _ := filepath.Glob(filepath.Join(dir, "ctrd/state/io.containerd.runtime.v2.task/*/*"))
	for _, b := range bundles {
		spaces[filepath.Base(filepath.Dir(b))], groups[filepath.Base(b)] = true, true
		for _, a := range bundleAddresses(b) {
			add(a)
		}
	}
	log, _ := os.ReadFile(filepath.Join(dir, "ctrd/log"))
	for _, m := range logAddress.FindAllSubmatch(log, -1) {
		add(string(m[1]))
	}
	for _, m := range logBundle.FindAllSubmatch(log, -1) {
		spaces[string(m[1])], groups[string(m[2])] = true, true
	}
	db, _ := os.ReadFile(filepath.Join(dir, "ctrd/root/io.containerd.metadata.v1.bolt/meta.db"))
	for _, m := range specGroup.FindAllSubmatch(db, -1) {
		groups[string(m[1])] = true
	}
	for space := range spaces {
		for group := range groups {
			add(shimAddress(dir, space, group))
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// shimAddress returns where the shim of a group of the Bed's daemon listens.
func shimAddress(dir, space, group string) string {
	name := sha256.Sum256([]byte(filepath.Join(addressIn(dir), space, group)))
	return shimDir + hex.EncodeToString(name[:])
}

// boundAddresses returns the paths of all sockets that are bound in the Bed's
// network namespace.
func boundAddresses(id, dir string) (found []string) {
	for _, p := range processes(id, dir) {
		if p.why != "in the network namespace" {
			continue
		}
		data, err := os.ReadFile(procFile(p.pid, "net/unix"))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			if f := strings.Fields(line); len(f) == 8 {
				found = append(found, f[7])
			}
		}
		break // all processes of a namespace show the same
	}
	return found
}

// bundleAddresses returns the addresses that the shim's own files in a
// container's bundle name.
func bundleAddresses(bundle string) (found []string) {
	if data, err := os.ReadFile(filepath.Join(bundle, "address")); err == nil {
		found = append(found, strings.TrimSpace(string(data)))
	}
	var boot struct {
		Address string `json:"address"`
	}
	if data, err := os.ReadFile(filepath.Join(bundle, "bootstrap.json")); err == nil && json.Unmarshal(data, &boot) == nil {
		found = append(found, boot.Address)
	}
	return found
}

// removeSocket removes the socket of a shim that is dead.
func removeSocket(path string) error {
	conn, err := net.Dial("unix", path)
	switch {
	case err == nil:
		conn.Close()
		return fmt.Errorf("removing shim's socket %s: somebody listens there", path)
	case errors.Is(err, os.ErrNotExist):
		return nil
	case !errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("removing shim's socket: %w", err)
	}
	return os.Remove(path)
}
