package enter

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	profile "github.com/moby/profiles/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/davit-agent/davit/runtime/enter/inside"
	"github.com/davit-agent/davit/test/testbed"
)

// defaultProfile is the usual one, as davit renders it for a process with few
// capabilities on a machine with all ABIs.
func defaultProfile() *specs.LinuxSeccomp {
	p := profile.DefaultProfile()
	out := &specs.LinuxSeccomp{DefaultAction: p.DefaultAction,
		Architectures: []specs.Arch{specs.ArchX86_64, specs.ArchX86, specs.ArchX32}}
	for _, s := range p.Syscalls {
		if (s.Includes == nil || len(s.Includes.Caps) == 0 && len(s.Includes.Arches) == 0) && (s.Excludes == nil || !slices.Contains(s.Excludes.Arches, "amd64")) {
			out.Syscalls = append(out.Syscalls, s.LinuxSyscall)
		}
	}
	out.Syscalls = append(out.Syscalls, specs.LinuxSyscall{Names: []string{"arch_prctl"}, Action: specs.ActAllow})
	return out
}

var kinds = map[string]func(*specs.Spec){
	"root": nil,
	"root with the default profile": func(s *specs.Spec) {
		s.Process.NoNewPrivileges = false
		s.Linux.Seccomp = defaultProfile()
	},
	"user": func(s *specs.Spec) {
		s.Process.User = specs.User{UID: 1000, GID: 1000, AdditionalGids: []uint32{2000, 5, 4242}}
		s.Process.Cwd = "/bin"
		s.Process.Env = append(s.Process.Env, "WHO=you", "EMPTY=", "HOME=")
		s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 100, Hard: 200}, {Type: "RLIMIT_CORE"}}
		s.Linux.Seccomp = defaultProfile()
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	},
	"unknown user with privileges": func(s *specs.Spec) {
		caps := []string{"CAP_NET_BIND_SERVICE", "CAP_SETUID", "CAP_SETGID", "CAP_CHOWN"}
		s.Process.User = specs.User{UID: 7777, GID: 7}
		s.Process.NoNewPrivileges = false
		s.Process.Env = []string{"PATH=/sbin:/bin", "HOME=/over/there"}
		s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: caps, Effective: caps[:2], Permitted: caps[:3], Inheritable: caps[:1], Ambient: caps[:1]}
		s.Linux.Seccomp = defaultProfile()
	},
	"nothing": func(s *specs.Spec) {
		s.Process.User = specs.User{UID: 65534, GID: 65534}
		s.Process.Capabilities = &specs.LinuxCapabilities{}
		s.Root = &specs.Root{Readonly: true}
	},
}

// passing are the lines that differ from one process to the next.
var passing = regexp.MustCompile(`^(Pid|Tgid|PPid|Ngid|NStgid|NSpid|NSpgid|NSsid|SigQ|Vm\w+|Rss\w+|\w+voluntary_ctxt_switches|voluntary_ctxt_switches|State):`)

// A process that is started here has all that one of `runc exec` has, and nothing
// more.
func TestEqualsAProcessOfRunc(t *testing.T) {
	onEachDaemon(t, func(t *testing.T, n *node) {
		for name, change := range kinds {
			t.Run(name, func(t *testing.T) {
				n := *n
				n.t = t
				id := n.run(name, change)
				n.same(id, "cat", "/proc/self/status", "/proc/self/limits", "/proc/self/cgroup", "/proc/self/oom_score_adj", "/proc/self/environ",
					"/proc/self/mountinfo", "/proc/self/personality", "/proc/self/timerslack_ns", "/proc/self/attr/current")
				n.same(id, "cat", "/proc/self/sched")
				n.same(id, "cat", "/proc/keys")
				n.same(id, "ls", "-l", "/proc/self/ns/")
				// Of stat: terminal, nice, real-time priority, scheduling policy.
				n.same(id, "sh", "-c", `id; env; umask; pwd; hostname; ls /proc/self/fd; cut -d" " -f7,19,40,41 /proc/self/stat
					grep -h flags /proc/self/fdinfo/[012]; for f in fd/0 cwd root exe; do readlink /proc/self/$f; done; ls -a . /; touch /file && rm /file; cat nosuch; kill -9 $$`)
				n.sameFilters(id)
			})
		}
	})
}

// same compares what a command prints: the lines, for the outputs are two at runc.
func (n *node) same(id string, command ...string) {
	n.t.Helper()
	short, far, codes := n.both(id, command...)
	if codes[0] != codes[1] {
		n.t.Errorf("%s: exit code %d, by runc %d", command, codes[0], codes[1])
	}
	lines := func(text string) []string {
		l := slices.DeleteFunc(strings.FieldsFunc(text, func(r rune) bool { return r == 0 || r == '\n' }), passing.MatchString)
		switch command[len(command)-1] {
		case "/proc/self/sched":
			l = slices.DeleteFunc(l, func(s string) bool { return !strings.HasPrefix(s, "policy") && !strings.HasPrefix(s, "prio") })
		case "/proc/keys": // other containers' come and go
			l = slices.DeleteFunc(l, func(s string) bool { return !strings.Contains(s, id) })
			for i := range l {
				f := strings.Fields(l[i])
				l[i] = strings.Join(append(f[:1], f[4:]...), " ") // without its usage count
			}
		}
		slices.Sort(l)
		if len(l) == 0 {
			n.t.Errorf("%s: printed is %q", command, text)
		}
		return l
	}
	if a, b := lines(short), lines(far); !slices.Equal(a, b) {
		n.t.Errorf("%s prints\n%s\nby runc\n%s", command, strings.Join(a, "\n"), strings.Join(b, "\n"))
	}
}

// sameFilters compares the seccomp programs of two processes.
func (n *node) sameFilters(id string) {
	n.t.Helper()
	a := n.filtersOf(id, "54321", func(ctx context.Context) {
		_, _, _ = n.e.Exec(ctx, id, []string{"sleep", "54321"}, 100)
	})
	b := n.filtersOf(id, "54322", func(ctx context.Context) {
		_, _, _ = n.e.longWay(ctx, id, []string{"sleep", "54322"}, 100)
	})
	if len(a) != len(b) {
		n.t.Fatalf("%d seccomp programs, by runc %d", len(a), len(b))
	}
	for i := range a { // runc writes parts of one in random order
		sameVerdicts(n.t, a[i], b[i])
	}
	spec, _, err := n.long.ExecSpec(n.t.Context(), id)
	must(n.t, err)
	if want := spec.Linux.Seccomp != nil; (len(a) == 1) != want {
		n.t.Errorf("%d seccomp programs, with a profile: %v", len(a), want)
	}
}

func (n *node) filtersOf(id, mark string, run func(context.Context)) [][]byte {
	n.t.Helper()
	ctx, cancel := context.WithCancel(n.t.Context())
	done := make(chan struct{})
	go func() { defer close(done); run(ctx) }()
	defer func() { cancel(); <-done }()
	f, err := inside.Filters(n.await(id, mark))
	must(n.t, err)
	return f
}

// await returns the pid of the process of a container that has an argument.
func (n *node) await(id, mark string) (pid int) {
	n.t.Helper()
	testbed.Poll(n.t, limit, func() string {
		for _, p := range n.members(id) {
			line, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p), "cmdline"))
			if slices.Contains(strings.Split(string(line), "\x00"), mark) && !strings.Contains(string(line), "runc") {
				pid = p
				return ""
			}
		}
		return "there is no process " + mark
	})
	return pid
}

// members are the processes in a container's cgroup.
func (n *node) members(id string) []int {
	var pids []int
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/pids"} {
		data, _ := os.ReadFile(filepath.Join(dir, n.CgroupParent(), id[:16], "cgroup.procs"))
		for _, f := range strings.Fields(string(data)) {
			pid, _ := strconv.Atoi(f)
			pids = append(pids, pid)
		}
	}
	return pids
}
