package testbed

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Sweep removes what killed test processes have left behind. New calls it.
func Sweep() error {
	unlock, err := lockFile(filepath.Join(tempDir(), "dv.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	dirs, err := filepath.Glob(filepath.Join(tempDir(), dirPrefix+"*-*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, dir := range dirs {
		id := idOf(dir)
		if id == "" {
			continue
		}
		f, err := os.Open(dir)
		if err != nil {
			continue // removed by its own test meanwhile
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			errs = append(errs, remove(id, dir))
		}
		f.Close()
	}
	return errors.Join(errs...)
}

// idOf returns the id in the name of a Bed's directory, "" for another's.
func idOf(dir string) string {
	pid, id, ok := strings.Cut(strings.TrimPrefix(filepath.Base(dir), dirPrefix), "-")
	if !ok || len(id) != 6 || strings.Trim(id, "0123456789abcdef") != "" || strings.Trim(pid, "0123456789") != "" {
		return ""
	}
	return id
}

// remove removes everything of the Bed id with directory dir. It goes on after
// an error, but for the directory: that is removed only when nothing is mounted
// in it any more, lest a host directory be emptied through a bind mount.
func remove(id, dir string) error {
	sockets := shimSockets(id, dir)
	var errs []error
	if err := endProcesses(id, dir); err != nil {
		errs = append(errs, err)
	}
	for _, s := range sockets {
		errs = append(errs, removeSocket(s))
	}
	for _, dir := range runcStates(id, dir) {
		errs = append(errs, os.RemoveAll(dir))
	}
	for _, ns := range []string{"dv-" + id, "dv-" + id + "-w"} {
		if _, err := os.Stat(filepath.Join(netnsDir, ns)); err == nil {
			errs = append(errs, ip("netns delete "+ns))
		}
	}
	errs = append(errs, removeCgroups(id), removeDir(dir))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("removing test bed %s: %w", id, err)
	}
	return nil
}

// removeDir unmounts what is mounted below dir and removes it.
func removeDir(dir string) error {
	// Mounts stacked on one another need a round each at most.
	for range 100 {
		points, err := mountsBelow(dir)
		if err != nil {
			return err
		}
		if len(points) == 0 {
			return os.RemoveAll(dir)
		}
		for i := len(points) - 1; i >= 0; i-- {
			_ = unix.Unmount(points[i], unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		}
	}
	points, err := mountsBelow(dir)
	return errors.Join(err, fmt.Errorf("unmounting: %d mounts stay below %s: %v", len(points), dir, points))
}

// runcDir is where runc, as containerd's shim calls it, keeps its state.
const runcDir = "/run/containerd/runc"

// runcStates returns the directories with runc's state of the Bed's containers:
// all in namespaces that carry the Bed's id, and those whose bundle is the Bed's.
func runcStates(id, dir string) []string {
	found, _ := filepath.Glob(filepath.Join(runcDir, "*-"+id))
	states, _ := filepath.Glob(filepath.Join(runcDir, "*", "*", "state.json"))
	for _, file := range states {
		state := filepath.Dir(file)
		data, err := os.ReadFile(file)
		if err == nil && strings.Contains(string(data), dir+"/") && !strings.HasSuffix(filepath.Dir(state), "-"+id) {
			found = append(found, state)
		}
	}
	return found
}
