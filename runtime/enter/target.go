package enter

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/davit-agent/davit/runtime/enter/inside"
)

const cgroupMount = "/sys/fs/cgroup"

// locate describes a container by its first process. That the process is in the
// container's cgroup shows that the pid was not another's already.
func locate(id string, pid uint32, spec *specs.Spec) (inside.Target, error) {
	t := inside.Target{ID: id, Pid: pid}
	proc := filepath.Join("/proc", strconv.Itoa(int(pid)))
	stat, err := os.ReadFile(filepath.Join(proc, "stat"))
	if err != nil {
		return t, fmt.Errorf("reading the container's process: %w", err)
	}
	if t.Start, _ = inside.StartOf(string(stat)); t.Start == 0 {
		return t, unfit("process %d of the container cannot be read", pid)
	}
	member, err := os.ReadFile(filepath.Join(proc, "cgroup"))
	if err != nil {
		return t, fmt.Errorf("reading the cgroups of the container's process: %w", err)
	}
	dirs, err := cgroups(string(member), leaf(spec.Linux.CgroupsPath))
	if err != nil {
		return t, err
	}
	for _, d := range dirs {
		dir, err := d.find(pid)
		if err != nil {
			return t, err
		}
		if d.unified() {
			t.Unified = dir
		} else {
			t.Cgroups = append(t.Cgroups, dir)
		}
	}
	again, err := os.ReadFile(filepath.Join(proc, "stat"))
	if err != nil {
		return t, fmt.Errorf("reading the container's process: %w", err)
	}
	if start, _ := inside.StartOf(string(again)); start != t.Start {
		return t, unfit("process %d of the container ended", pid)
	}
	return t, nil
}

// leaf is the last part of the path of a spec's cgroup: systemd's form is
// slice:prefix:name.
func leaf(cgroupsPath string) string {
	if f := strings.Split(cgroupsPath, ":"); len(f) == 3 {
		return f[1] + "-" + f[2] + ".scope"
	}
	return path.Base(cgroupsPath)
}

// membership is a line of /proc/PID/cgroup.
type membership struct {
	hierarchy string // "", "name=systemd", "cpu,cpuacct"
	path      string
}

func (m membership) unified() bool { return m.hierarchy == "" }

// cgroups returns where a process is. It must be in a cgroup of the given name in
// every hierarchy, but in a unified one beside others, which not every version of
// runc uses.
func cgroups(text, name string) ([]membership, error) {
	var out []membership
	v1 := strings.Count(text, "\n") > 1
	for line := range strings.Lines(text) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) != 3 || !path.IsAbs(f[2]) {
			return nil, unfit("malformed line %q in the list of cgroups", line)
		}
		m := membership{f[1], f[2]}
		if base := path.Base(m.path); base != name && !(v1 && m.unified()) {
			return nil, unfit("the container's process is in cgroup %q, not in its own", m.path)
		}
		out = append(out, m)
	}
	if len(out) == 0 {
		return nil, unfit("the container's process is in no cgroup")
	}
	return out, nil
}

// find returns the directory of the cgroup, of which pid is a member.
func (m membership) find(pid uint32) (string, error) {
	names := []string{strings.TrimPrefix(m.hierarchy, "name=")}
	if m.unified() {
		names = []string{"", "unified"}
	}
	for _, name := range names {
		dir := filepath.Join(cgroupMount, name, m.path)
		procs, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(procs)) {
			if strings.TrimSpace(line) == strconv.Itoa(int(pid)) {
				return dir, nil
			}
		}
	}
	return "", unfit("cgroup %q of hierarchy %q is not mounted below %s", m.path, m.hierarchy, cgroupMount)
}
