package testbed

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const cgroupRoot = "/sys/fs/cgroup"

func cgroupName(id string) string { return "davit-test-" + id }

// CgroupParent makes a cgroup of the Bed's own below the root of every
// hierarchy and returns its name, as /davit-test-<id>. Further calls return the
// same. It is removed, with what is in it, when the test ends.
func (b *Bed) CgroupParent() string {
	b.t.Helper()
	for _, h := range hierarchies() {
		dir := filepath.Join(h, cgroupName(b.ID))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			b.t.Fatalf("making the test's cgroup: %v", err)
		}
		var err error
		if isCgroup2(h) {
			err = delegate(h, dir)
		} else {
			err = inheritCPUSet(h, dir)
		}
		if err != nil {
			b.t.Fatalf("making the test's cgroup: %v", err)
		}
	}
	return "/" + cgroupName(b.ID)
}

// hierarchies returns the roots of all cgroup hierarchies: the one of version 2,
// or those of version 1 and the unified one beside them.
func hierarchies() []string {
	if isCgroup2(cgroupRoot) {
		return []string{cgroupRoot}
	}
	entries, err := os.ReadDir(cgroupRoot)
	if err != nil {
		return nil
	}
	var roots []string
	for _, e := range entries {
		if e.IsDir() { // not the links of joined controllers, cpu -> cpu,cpuacct
			roots = append(roots, filepath.Join(cgroupRoot, e.Name()))
		}
	}
	return roots
}

func isCgroup2(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC
}

// delegate hands all controllers of the root to dir's children.
func delegate(root, dir string) error {
	data, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	if err != nil {
		return fmt.Errorf("reading controllers: %w", err)
	}
	for _, at := range []string{root, dir} {
		for _, c := range strings.Fields(string(data)) {
			err := os.WriteFile(filepath.Join(at, "cgroup.subtree_control"), []byte("+"+c), 0)
			if err != nil {
				return fmt.Errorf("enabling controller %s in %s: %w", c, at, err)
			}
		}
	}
	return nil
}

// inheritCPUSet gives a new cpuset cgroup of version 1 what its parent has;
// without that nothing can run in it.
func inheritCPUSet(root, dir string) error {
	for _, f := range []string{"cpuset.cpus", "cpuset.mems"} {
		data, err := os.ReadFile(filepath.Join(root, f))
		if os.IsNotExist(err) {
			return nil // another hierarchy
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, f), data, 0); err != nil {
			return err
		}
	}
	return nil
}

// cgroupDirs returns the directories of the Bed's cgroups, parents first.
func cgroupDirs(id string) []string {
	var dirs []string
	for _, h := range hierarchies() {
		_ = filepath.WalkDir(filepath.Join(h, cgroupName(id)), func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				dirs = append(dirs, path)
			}
			return nil // what vanishes while it is read is not there
		})
	}
	return dirs
}

// thaw lets frozen processes run, for they cannot die otherwise.
func thaw(id string) {
	for _, dir := range cgroupDirs(id) {
		for file, value := range map[string]string{"freezer.state": "THAWED", "cgroup.freeze": "0"} {
			if f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0); err == nil {
				_, _ = f.WriteString(value)
				f.Close()
			}
		}
	}
}

// removeCgroups removes the Bed's cgroups. A cgroup is busy for a moment after
// its last process has ended.
func removeCgroups(id string) error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		dirs := cgroupDirs(id)
		if len(dirs) == 0 {
			return nil
		}
		var last error
		for i := len(dirs) - 1; i >= 0; i-- {
			if err := unix.Rmdir(dirs[i]); err != nil && err != unix.ENOENT {
				last = fmt.Errorf("removing cgroup %s: %w", dirs[i], err)
			}
		}
		if last != nil && time.Now().After(deadline) {
			return last
		}
		time.Sleep(10 * time.Millisecond)
	}
}
