package hang

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// maxNamed bounds how many processes a text names.
const maxNamed = 3

// Process is a process as /proc shows it.
type Process struct {
	Pid    int
	Parent int
	Name   string
	State  byte // as in /proc/<pid>/stat: R, S, D, T, Z, ...
}

// read reads a file like /proc/<pid>/stat.
func read(file string) (Process, bool) {
	data, err := os.ReadFile(file)
	if err != nil {
		return Process{}, false
	}
	// The name stands in parentheses and may hold anything.
	open, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 0 || end < open {
		return Process{}, false
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(data[:open])))
	rest := bytes.Fields(data[end+1:])
	if err != nil || len(rest) < 2 || len(rest[0]) != 1 {
		return Process{}, false
	}
	parent, err := strconv.Atoi(string(rest[1]))
	return Process{Pid: pid, Parent: parent, Name: string(data[open+1 : end]), State: rest[0][0]}, err == nil
}

// Stuck returns, of each process in the cgroups, the first thread that is in
// uninterruptible sleep, by ascending pid. cgroups are directories; those of
// several hierarchies may be given. Its Pid is the process's.
func Stuck(cgroups []string) []Process {
	var found []Process
	for _, pid := range members(cgroups) {
		threads, _ := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task", "*", "stat"))
		for _, file := range threads {
			if p, ok := read(file); ok && p.State == 'D' {
				p.Pid = pid
				found = append(found, p)
				break
			}
		}
	}
	return found
}

// members returns the processes in the cgroups and below them.
func members(cgroups []string) []int {
	var pids []int
	for _, top := range cgroups {
		_ = filepath.WalkDir(top, func(path string, e os.DirEntry, err error) error {
			if err != nil || !e.IsDir() {
				return nil // what vanished has no process
			}
			data, _ := os.ReadFile(filepath.Join(path, "cgroup.procs"))
			for line := range strings.Lines(string(data)) {
				if pid, err := strconv.Atoi(strings.TrimSpace(line)); err == nil && pid > 0 {
					pids = append(pids, pid)
				}
			}
			return nil
		})
	}
	slices.Sort(pids)
	return slices.Compact(pids)
}

// String tells people of a process that hangs.
func (p Process) String() string {
	s := fmt.Sprintf("process %d (%s) is in %s", p.Pid, p.Name, stateName(p.State))
	if at := where(p.Pid); at != "" {
		s += " in " + at
	}
	return s
}

func stateName(state byte) string {
	switch state {
	case 'D':
		return "uninterruptible sleep (D)"
	case 'T', 't':
		return "state T (stopped)"
	case 'Z', 'X':
		return "state " + string(state) + " (ended)"
	}
	return "state " + string(state)
}

// where returns the innermost functions of the kernel that a process is in, of
// its first thread that is in D.
func where(pid int) string {
	threads, _ := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task", "*"))
	for _, dir := range threads {
		if p, ok := read(filepath.Join(dir, "stat")); ok && p.State != 'D' && len(threads) > 1 {
			continue
		}
		if at := stack(dir); at != "" {
			return at
		}
	}
	return ""
}

// stack returns up to three functions, else the one in wchan.
func stack(dir string) string {
	data, _ := os.ReadFile(filepath.Join(dir, "stack"))
	var functions []string
	for line := range strings.Lines(string(data)) { // [<0>] request_wait_answer+0x11d/0x210
		f := strings.Fields(line)
		if len(f) < 2 || len(functions) == 3 {
			break
		}
		name, _, _ := strings.Cut(f[1], "+")
		functions = append(functions, name)
	}
	if len(functions) > 0 {
		return strings.Join(functions, ", ")
	}
	at, _ := os.ReadFile(filepath.Join(dir, "wchan"))
	if string(at) == "0" {
		return ""
	}
	return string(at)
}

// Names joins processes for people.
func Names(ps []Process) string {
	var b strings.Builder
	for i, p := range ps {
		switch {
		case i == maxNamed:
			fmt.Fprintf(&b, " and %d more", len(ps)-i)
			return b.String()
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(p.String())
	}
	return b.String()
}
