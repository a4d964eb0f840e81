package testbed

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// process is a process that belongs to a Bed.
type process struct {
	pid  int
	name string
	why  string // how it was recognised
}

// processes returns the processes of the Bed id with directory dir, the test's
// own excluded, by ascending pid. See the package comment for what counts.
func processes(id, dir string) []process {
	all := allPids()
	var netns uint64
	var st unix.Stat_t
	if unix.Stat(filepath.Join(netnsDir, "dv-"+id), &st) == nil {
		netns = st.Ino
	}
	ours := make(map[int]string)
	parent := make(map[int]int, len(all))
	for _, pid := range all {
		if pid == os.Getpid() {
			continue
		}
		if why := belongs(pid, netns, id, dir); why != "" {
			ours[pid] = why
		}
		parent[pid] = parentOf(pid)
	}
	for grown := true; grown; {
		grown = false
		for pid, p := range parent {
			if _, known := ours[pid]; known {
				continue
			}
			if _, up := ours[p]; up {
				ours[pid] = fmt.Sprintf("child of %d", p)
				grown = true
			}
		}
	}
	found := make([]process, 0, len(ours))
	for pid, why := range ours {
		name, err := os.ReadFile(procFile(pid, "comm"))
		if err != nil {
			continue
		}
		found = append(found, process{pid, strings.TrimSpace(string(name)), why})
	}
	sort.Slice(found, func(i, j int) bool { return found[i].pid < found[j].pid })
	return found
}

// belongs tells how a process is known to belong to the Bed, "" if it does not.
func belongs(pid int, netns uint64, id, dir string) string {
	var st unix.Stat_t
	if netns != 0 && unix.Stat(procFile(pid, "ns/net"), &st) == nil && st.Ino == netns {
		return "in the network namespace"
	}
	cmdline, _ := os.ReadFile(procFile(pid, "cmdline"))
	if strings.Contains(string(cmdline), "-address\x00"+addressIn(dir)+"\x00") {
		return "shim"
	}
	groups, _ := os.ReadFile(procFile(pid, "cgroup"))
	if strings.Contains(string(groups), "/"+cgroupName(id)) {
		return "in the cgroup"
	}
	if rootedBelow(pid, dir) {
		return "container"
	}
	return ""
}

// rootedBelow tells whether the root file system of a process lies below dir:
// an overlay with layers there or a bind mount from there.
func rootedBelow(pid int, dir string) bool {
	data, err := os.ReadFile(procFile(pid, "mountinfo"))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) > 4 && f[4] == "/" {
			return strings.Contains(line, dir+"/")
		}
	}
	return false
}

func procFile(pid int, name string) string {
	return filepath.Join("/proc", strconv.Itoa(pid), name)
}

func allPids() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// parentOf returns a process's parent. The name in /proc/<pid>/stat may hold
// blanks and parentheses; the fields that are wanted follow the last ")".
func parentOf(pid int) int {
	data, err := os.ReadFile(procFile(pid, "stat"))
	if err != nil {
		return 0
	}
	s := string(data)
	f := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
	if len(f) < 2 {
		return 0
	}
	p, _ := strconv.Atoi(f[1])
	return p
}

// endProcesses kills a Bed's processes until there are none.
func endProcesses(id, dir string) error {
	deadline := time.Now().Add(limit)
	for {
		left := processes(id, dir)
		if len(left) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("killing the test's processes: still there after %s: %v", limit, left)
		}
		thaw(id)
		killProcesses(left, func() []process { return processes(id, dir) })
		time.Sleep(10 * time.Millisecond)
	}
}

// killProcesses kills processes through descriptors, and only those that again
// still finds while these are held: a number may have gone to another process
// since left was read.
func killProcesses(left []process, again func() []process) {
	fds := make(map[int]int, len(left))
	for _, p := range left {
		if fd, err := unix.PidfdOpen(p.pid, 0); err == nil {
			fds[p.pid] = fd
			defer unix.Close(fd)
		}
	}
	for _, p := range again() {
		if fd, held := fds[p.pid]; held {
			_ = unix.PidfdSendSignal(fd, syscall.SIGKILL, nil, 0)
		}
	}
}

// mountsBelow returns the mount points below dir in the order of mounting.
func mountsBelow(dir string) ([]string, error) {
	infos, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) {
		return !strings.HasPrefix(i.Mountpoint, dir+"/"), false
	})
	if err != nil {
		return nil, fmt.Errorf("reading mounts: %w", err)
	}
	points := make([]string, 0, len(infos))
	for _, i := range infos {
		points = append(points, i.Mountpoint)
	}
	return points, nil
}
