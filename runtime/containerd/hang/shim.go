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

// shimName is how the names of shims' processes begin; the kernel keeps 15 bytes.
const shimName = "containerd-shim"

// ShimID tells which shim is meant.
type ShimID struct {
	Address   string // of the daemon
	Namespace string // of containerd
	Group     string // the ID of the container it was started for, or that and a suffix after "."
}

// Shim is a shim as it was found.
type Shim struct {
	Process
	// Runs are the programs that it has started and that have not ended:
	// containers' processes are not among them.
	Runs []Process
}

// FindShim finds a shim by its command line. containers are the directories of its
// containers' cgroups. False: there is none.
func FindShim(id ShimID, cgroups []string) (Shim, bool) {
	all := processes()
	founder, _, _ := strings.Cut(id.Group, ".")
	for _, p := range all {
		if !strings.HasPrefix(p.Name, shimName) || !isShim(p.Pid, id.Address, id.Namespace, founder) {
			continue
		}
		s, inside := Shim{Process: p}, members(cgroups)
		for _, child := range all {
			if child.Parent == p.Pid && child.State != 'Z' && !slices.Contains(inside, child.Pid) && !strings.HasPrefix(child.Name, shimName) {
				s.Runs = append(s.Runs, child)
			}
		}
		return s, true
	}
	return Shim{}, false
}

func processes() []Process {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	all := make([]Process, 0, len(files))
	for _, f := range files {
		if p, ok := read(f); ok {
			all = append(all, p)
		}
	}
	return all
}

// isShim tells whether a process has the flags of the shim.
func isShim(pid int, address, namespace, id string) bool {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if err != nil {
		return false
	}
	args := bytes.Split(data, []byte{0})
	for flag, value := range map[string]string{"-address": address, "-namespace": namespace, "-id": id} {
		i := slices.IndexFunc(args, func(a []byte) bool { return string(a) == flag })
		if i < 0 || i+1 >= len(args) || string(args[i+1]) != value {
			return false
		}
	}
	return true
}

// String tells people of a shim that does not answer.
func (s Shim) String() string {
	text := fmt.Sprintf("its shim (pid %d) does not answer", s.Pid)
	if s.State == 'T' || s.State == 't' || s.State == 'D' {
		text += " and is in " + stateName(s.State)
	}
	for i, p := range s.Runs {
		if i == maxNamed {
			break
		}
		if i == 0 {
			text += ": it waits for "
		} else {
			text += ", "
		}
		text += fmt.Sprintf("%s (pid %d)", p.Name, p.Pid)
	}
	return text
}
