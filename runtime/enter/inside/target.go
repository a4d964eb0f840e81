package inside

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

var (
	errAnother = errors.New("the container's first process has ended")
	errUnlike  = errors.New("the container's first process is unlike the agent")
	errFrozen  = errors.New("the container is paused")
)

// namespaceFiles are in the order in which they are joined.
var namespaceFiles = []string{"ipc", "uts", "net", "cgroup", "pid", "mnt"}

// open opens what the plan needs of the target. A directory in /proc stays that of
// the process for which it was opened and is empty once that has gone, so all that
// is read through it is that process' if the first and the last of it are.
func (t *Target) open() (*handles, error) {
	h := &handles{unified: -1}
	proc, err := unix.Open("/proc/"+strconv.Itoa(int(t.Pid)), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errAnother, err)
	}
	defer unix.Close(proc)
	if err := t.check(proc); err != nil {
		return nil, err
	}
	if err := alike(proc); err != nil {
		return nil, err
	}
	for _, name := range namespaceFiles {
		fd, err := unix.Openat(proc, "ns/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("opening namespace %s: %w", name, err)
		}
		h.namespaces = append(h.namespaces, fd)
	}
	// prlimit(2) of another user's process needs CAP_SYS_RESOURCE, this file does not.
	limits, err := readAt(proc, "limits")
	if err == nil {
		h.rlimits, err = parseLimits(limits)
	}
	if err != nil {
		return nil, fmt.Errorf("reading rlimits: %w", err)
	}
	h.rlimits[unix.RLIMIT_NOFILE] = openFiles(h.rlimits[unix.RLIMIT_NOFILE])
	if err := t.openCgroups(h); err != nil {
		return nil, err
	}
	last, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err == nil {
		h.lastCap, err = strconv.Atoi(strings.TrimSpace(string(last)))
	}
	if err != nil || h.lastCap > 63 {
		return nil, fmt.Errorf("reading the last capability: %w", err)
	}
	return h, t.check(proc)
}

func (t *Target) openCgroups(h *handles) error {
	for _, dir := range t.Cgroups {
		if state, err := os.ReadFile(dir + "/freezer.state"); err == nil && strings.TrimSpace(string(state)) != "THAWED" {
			return errFrozen
		}
		fd, err := unix.Open(dir+"/tasks", unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("opening cgroup %s: %w", dir, err)
		}
		h.tasks = append(h.tasks, fd)
	}
	if t.Unified != "" {
		if events, err := os.ReadFile(t.Unified + "/cgroup.events"); err == nil && strings.Contains(string(events), "frozen 1") {
			return errFrozen
		}
		fd, err := unix.Open(t.Unified, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("opening cgroup %s: %w", t.Unified, err)
		}
		h.unified = fd
	}
	return nil
}

// check makes sure that the process is the one that is meant.
func (t *Target) check(proc int) error {
	stat, err := readAt(proc, "stat")
	if err != nil {
		return fmt.Errorf("%w: %w", errAnother, err)
	}
	if start, state := StartOf(stat); start != t.Start || state == "Z" || state == "X" {
		return errAnother
	}
	return nil
}

// StartOf returns from the text of /proc/PID/stat when the process began, in clock
// ticks since boot, and its state's letter; 0 and "" if the text is malformed.
func StartOf(stat string) (uint64, string) {
	// The name, in parentheses, may hold anything.
	f := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(f) < 20 {
		return 0, ""
	}
	start, _ := strconv.ParseUint(f[19], 10, 64)
	return start, f[0]
}

// alike makes sure that the process is like this one in what is not changed: the user
// and time namespaces, and the label of a security module. A process that a module
// confines has more elsewhere.
func alike(proc int) error {
	self, err := unix.Open("/proc/self", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening /proc/self: %w", err)
	}
	defer unix.Close(self)
	for _, name := range []string{"ns/user", "ns/time"} {
		var theirs, ours [64]byte
		n, err := unix.Readlinkat(proc, name, theirs[:])
		m, oerr := unix.Readlinkat(self, name, ours[:])
		if errors.Is(err, unix.ENOENT) && errors.Is(oerr, unix.ENOENT) {
			continue // the kernel has none
		}
		if err != nil || oerr != nil || string(theirs[:n]) != string(ours[:m]) {
			return fmt.Errorf("%w: %s", errUnlike, name)
		}
	}
	theirs, err := readAt(proc, "attr/current")
	ours, oerr := readAt(self, "attr/current")
	if !errors.Is(err, oerr) || theirs != ours { // without such a module both are EINVAL
		return fmt.Errorf("%w: the security module's label", errUnlike)
	}
	return nil
}

// openFiles is the limit of open files that a container's first process was started
// with. One written in Go has raised the soft limit to one less than the hard one
// since (package syscall). What it was cannot be known; 1024 is what kernel and systemd
// give.
func openFiles(l unix.Rlimit) unix.Rlimit {
	if l.Cur != unix.RLIM_INFINITY && l.Cur+1 == l.Max {
		l.Cur = min(1024, l.Cur)
	}
	return l
}

// parseLimits reads /proc/PID/limits: a heading, then a line per limit in the order
// of their numbers, in columns of 25, 20 and 20 characters with a space between.
func parseLimits(text string) (limits [rlimits]unix.Rlimit, err error) {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) != 1+rlimits || !strings.HasPrefix(lines[1], "Max cpu time ") || !strings.HasPrefix(lines[8], "Max open files ") {
		return limits, errors.New("not the limits that are known")
	}
	for i, line := range lines[1:] {
		if len(line) < 26 {
			return limits, fmt.Errorf("malformed line %q", line)
		}
		f := strings.Fields(line[26:])
		if len(f) < 2 {
			return limits, fmt.Errorf("malformed line %q", line)
		}
		for j, to := range []*uint64{&limits[i].Cur, &limits[i].Max} {
			*to = unix.RLIM_INFINITY
			if f[j] == "unlimited" {
				continue
			}
			if *to, err = strconv.ParseUint(f[j], 10, 64); err != nil {
				return limits, fmt.Errorf("malformed line %q", line)
			}
		}
	}
	return limits, nil
}

func readAt(dir int, name string) (string, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	buf := make([]byte, 4096)
	n, err := unix.Read(fd, buf)
	return string(buf[:max(n, 0)]), err
}

const maxPasswd = 1 << 20

// home is the user's home directory by the container's /etc/passwd, "/" if that
// does not say. The file is the container's: it may be anything, and lead anywhere.
func (t *Target) home(uid uint32) (string, error) {
	root, err := unix.Open("/proc/"+strconv.Itoa(int(t.Pid))+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("opening the container's root: %w", err)
	}
	defer unix.Close(root)
	fd, err := unix.Openat2(root, "etc/passwd", &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return "/", nil
	}
	if err != nil {
		return "", fmt.Errorf("opening the container's passwd file: %w", err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size > maxPasswd {
		return "", errors.New("the container's passwd file is no file, or too large")
	}
	buf := make([]byte, st.Size)
	n, err := unix.Read(fd, buf)
	if err != nil {
		return "", fmt.Errorf("reading the container's passwd file: %w", err)
	}
	return homeOf(string(buf[:n]), uid), nil
}

func homeOf(passwd string, uid uint32) string {
	for line := range strings.Lines(passwd) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) < 6 {
			continue
		}
		if n, err := strconv.ParseUint(f[2], 10, 32); err == nil && uint32(n) == uid {
			return f[5]
		}
	}
	return "/"
}
