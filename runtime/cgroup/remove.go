package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/runtime/cgroup/qos"
)

// A cgroup stays busy for a moment after its last process was reaped: the
// kernel lets go of it asynchronously.
const (
	busyWait  = 2 * time.Second
	busyPause = 10 * time.Millisecond
)

var classes = []v1.PodQOSClass{v1.PodQOSGuaranteed, v1.PodQOSBurstable, v1.PodQOSBestEffort}

// Pods returns the UIDs of the pods of which any cgroup is there, in order.
func (t *Tree) Pods() ([]string, error) {
	seen := map[string]bool{}
	for _, dir := range t.dirs() {
		for _, class := range classes {
			entries, err := os.ReadDir(filepath.Join(dir, qos.KubepodsPath(t.Driver(), t.root, class)))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("listing pod cgroups: %w", err)
			}
			for _, e := range entries {
				if uid, ok := strings.CutPrefix(e.Name(), "pod"); ok && e.IsDir() {
					seen[uid] = true
				}
			}
		}
	}
	uids := make([]string, 0, len(seen))
	for uid := range seen {
		uids = append(uids, uid)
	}
	slices.Sort(uids)
	return uids, nil
}

// RemovePod removes the pod's cgroup, and what containers left below it, from
// every hierarchy. A pod that has none is no error; one with processes in it
// is, and the error names them. It kills nothing.
func (t *Tree) RemovePod(uid string) error {
	if err := qos.CheckUID(uid); err != nil {
		return err
	}
	var errs []error
	for _, dir := range t.dirs() {
		for _, class := range classes {
			errs = append(errs, removeTree(filepath.Join(dir, qos.PodPath(t.Driver(), t.root, class, uid))))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("removing the cgroup of pod %s: %w", uid, err)
	}
	return nil
}

// Cleanup removes kubepods with all that is below it, and the root if it is
// empty then. If a process is left anywhere in it, an error names it, and
// nothing is removed.
func (t *Tree) Cleanup() error {
	kubepods := qos.KubepodsPath(t.Driver(), t.root, "")
	for _, dir := range t.dirs() {
		if procs := processes(filepath.Join(dir, kubepods)); len(procs) > 0 {
			return fmt.Errorf("removing cgroup %s: %w", kubepods, busyError(procs))
		}
	}
	var errs []error
	for _, dir := range t.dirs() {
		errs = append(errs, removeTree(filepath.Join(dir, kubepods)))
		if t.root != "/" {
			// Fails where something else is in it; then it is not ours to remove.
			_ = os.Remove(filepath.Join(dir, t.root))
		}
	}
	return errors.Join(errs...)
}

// dirs returns every directory in which cgroups of ours may be.
func (t *Tree) dirs() []string {
	var dirs []string
	for _, h := range t.hierarchies {
		dirs = append(dirs, h.dir)
	}
	if t.extra != "" {
		dirs = append(dirs, t.extra)
	}
	return dirs
}

// removeTree removes a cgroup and those below it, deepest first.
func removeTree(dir string) error {
	deadline := time.Now().Add(busyWait)
	for {
		err := removeOnce(dir)
		if err == nil || !errors.Is(err, syscall.EBUSY) {
			return err
		}
		procs := processes(dir)
		if len(procs) > 0 || time.Now().After(deadline) {
			return errors.Join(err, busyError(procs))
		}
		time.Sleep(busyPause)
	}
}

func removeOnce(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeOnce(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := syscall.Rmdir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &fs.PathError{Op: "rmdir", Path: dir, Err: err}
	}
	return nil
}

// process is one that stands in the way.
type process struct {
	pid  int
	name string
}

// processes returns the processes in a cgroup and below it.
func processes(dir string) []process {
	var procs []process
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "cgroup.procs" {
			return nil
		}
		f, err := os.Open(path)
		if err != nil {
			return nil
		}
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); {
			if pid, err := strconv.Atoi(s.Text()); err == nil {
				comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
				procs = append(procs, process{pid, strings.TrimSpace(string(comm))})
			}
		}
		return nil
	})
	return procs
}

func busyError(procs []process) error {
	const most = 10
	var b strings.Builder
	for i, p := range procs {
		if i == most {
			fmt.Fprintf(&b, " and %d more", len(procs)-most)
			break
		}
		fmt.Fprintf(&b, " %d (%s)", p.pid, p.name)
	}
	if b.Len() == 0 {
		return errors.New("busy though no process is in it")
	}
	return fmt.Errorf("processes are left in it:%s", b.String())
}
