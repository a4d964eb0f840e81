package enter

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/davit-agent/davit/runtime/enter/inside"
	"github.com/davit-agent/davit/runtime/oci"
)

// Request is what the helper is asked to run.
type Request = inside.Request

// errUnfit is wrapped by the reasons for which a container's processes are left to
// the OCI runtime.
var errUnfit = errors.New("left to the OCI runtime")

func unfit(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errUnfit, fmt.Sprintf(format, args...))
}

// Process returns the command as a process of the container: with the user,
// capabilities, limits and environment that runc gives to `runc exec`. Target and
// Filters are not set. An error means that the spec, or the command, has something
// that this package does not do.
func Process(spec *specs.Spec, command []string) (Request, error) {
	if err := fit(spec); err != nil {
		return Request{}, err
	}
	p := spec.Process
	r := Request{Args: slices.Clone(command), Cwd: p.Cwd, NoNewPrivileges: p.NoNewPrivileges, OOMScoreAdj: int32(*p.OOMScoreAdj),
		User: inside.User{UID: p.User.UID, GID: p.User.GID, Umask: 0o022, Groups: slices.Clone(p.User.AdditionalGids)}}
	var err error
	if r.Env, r.Home, err = environment(p.Env); err != nil {
		return Request{}, err
	}
	if r.Paths, err = programs(command, r.Env); err != nil {
		return Request{}, err
	}
	for _, set := range []struct {
		to   *uint64
		from []string
	}{{&r.Caps.Bounding, p.Capabilities.Bounding}, {&r.Caps.Effective, p.Capabilities.Effective}, {&r.Caps.Permitted, p.Capabilities.Permitted},
		{&r.Caps.Inheritable, p.Capabilities.Inheritable}, {&r.Caps.Ambient, p.Capabilities.Ambient}} {
		if *set.to, err = capabilities(set.from); err != nil {
			return Request{}, err
		}
	}
	for _, l := range p.Rlimits {
		n, ok := rlimits[l.Type]
		if !ok {
			return Request{}, unfit("unknown rlimit %q", l.Type)
		}
		r.Rlimits = append(r.Rlimits, inside.Rlimit{Resource: n, Soft: l.Soft, Hard: l.Hard})
	}
	if s := spec.Linux.Seccomp; s != nil {
		if r.FilterFlags, err = filterFlags(s); err != nil {
			return Request{}, err
		}
	}
	return r, nil
}

// fit tells whether a process of the container can be made here at all. What is
// checked is what a process can be given and is not given by package inside.
func fit(spec *specs.Spec) error {
	if spec == nil || spec.Process == nil || spec.Linux == nil || spec.VM != nil {
		return unfit("the spec is not that of a Linux process")
	}
	p, l := spec.Process, spec.Linux
	for _, have := range []struct {
		what string
		is   bool
	}{
		{"an AppArmor profile", p.ApparmorProfile != ""},
		{"an SELinux label", p.SelinuxLabel != "" || l.MountLabel != ""},
		{"a user name", p.User.Username != ""},
		{"a umask", p.User.Umask != nil}, // which not every runc gives to further processes
		{"no capabilities", p.Capabilities == nil},
		{"no oom_score_adj", p.OOMScoreAdj == nil},
		{"a relative working directory", !path.IsAbs(p.Cwd)},
		{"a scheduler or a CPU affinity", p.Scheduler != nil || p.IOPriority != nil || p.ExecCPUAffinity != nil},
		{"a personality", l.Personality != nil},
		{"resource control groups", l.IntelRdt != nil},
		{"a memory policy", l.MemoryPolicy != nil},
		{"time offsets", len(l.TimeOffsets) > 0},
		{"a user namespace", len(l.UIDMappings) > 0 || len(l.GIDMappings) > 0 || namespace(l, specs.UserNamespace) != nil},
		{"a time namespace", namespace(l, specs.TimeNamespace) != nil},
		{"the host's processes in view", namespace(l, specs.PIDNamespace) == nil},
		{"the host's mounts", namespace(l, specs.MountNamespace) == nil},
		{"no cgroup", l.CgroupsPath == ""},
	} {
		if have.is {
			return unfit("the container has %s", have.what)
		}
	}
	return nil
}

func namespace(l *specs.Linux, kind specs.LinuxNamespaceType) *specs.LinuxNamespace {
	for i := range l.Namespaces {
		if l.Namespaces[i].Type == kind {
			return &l.Namespaces[i]
		}
	}
	return nil
}

// environment is what runc makes of one: of two values the last holds, and HOME is
// looked up if it is not there or empty.
func environment(env []string) (out []string, home bool, err error) {
	at := map[string]int{}
	home = true
	for _, e := range env {
		name, value, ok := strings.Cut(e, "=")
		if !ok || name == "" || strings.ContainsRune(e, 0) {
			return nil, false, unfit("a malformed environment variable")
		}
		if i, have := at[name]; have {
			out[i] = e
		} else {
			at[name] = len(out)
			out = append(out, e)
		}
		if name == "HOME" {
			home = value == ""
		}
	}
	if i, have := at["HOME"]; have && home {
		out = slices.Delete(out, i, i+1)
	}
	return out, home, nil
}

// programs are the files that a command may mean, by the container's own PATH.
func programs(command, env []string) ([]string, error) {
	if len(command) == 0 || command[0] == "" {
		return nil, unfit("no command")
	}
	for _, arg := range command {
		if strings.ContainsRune(arg, 0) {
			return nil, unfit("a null byte in the command")
		}
	}
	name := command[0]
	if strings.Contains(name, "/") {
		return []string{name}, nil
	}
	var search string
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			search = v
		}
	}
	var out []string
	for dir := range strings.SplitSeq(search, ":") {
		if !path.IsAbs(dir) {
			return nil, unfit("a PATH that is empty or has relative directories")
		}
		out = append(out, path.Join(dir, name))
	}
	return out, nil
}

func capabilities(names []string) (uint64, error) {
	var set uint64
	for _, name := range names {
		n := slices.Index(oci.Capabilities, name)
		if n < 0 {
			return 0, unfit("unknown capability %q", name)
		}
		set |= 1 << n
	}
	return set, nil
}

var rlimits = map[string]uint32{
	"RLIMIT_CPU": unix.RLIMIT_CPU, "RLIMIT_FSIZE": unix.RLIMIT_FSIZE, "RLIMIT_DATA": unix.RLIMIT_DATA, "RLIMIT_STACK": unix.RLIMIT_STACK,
	"RLIMIT_CORE": unix.RLIMIT_CORE, "RLIMIT_RSS": unix.RLIMIT_RSS, "RLIMIT_NPROC": unix.RLIMIT_NPROC, "RLIMIT_NOFILE": unix.RLIMIT_NOFILE,
	"RLIMIT_MEMLOCK": unix.RLIMIT_MEMLOCK, "RLIMIT_AS": unix.RLIMIT_AS, "RLIMIT_LOCKS": unix.RLIMIT_LOCKS, "RLIMIT_SIGPENDING": unix.RLIMIT_SIGPENDING,
	"RLIMIT_MSGQUEUE": unix.RLIMIT_MSGQUEUE, "RLIMIT_NICE": unix.RLIMIT_NICE, "RLIMIT_RTPRIO": unix.RLIMIT_RTPRIO, "RLIMIT_RTTIME": unix.RLIMIT_RTTIME,
}

// filterFlags are the seccomp(2) flags of a profile. One that has a process outside
// decide needs that process told, which only the OCI runtime does.
func filterFlags(s *specs.LinuxSeccomp) (uint32, error) {
	notify := s.ListenerPath != "" || s.DefaultAction == specs.ActNotify
	for _, call := range s.Syscalls {
		notify = notify || call.Action == specs.ActNotify
	}
	if notify {
		return 0, unfit("a seccomp profile that asks a listener")
	}
	var flags uint32
	for _, f := range s.Flags {
		switch f {
		case specs.LinuxSeccompFlagLog:
			flags |= unix.SECCOMP_FILTER_FLAG_LOG
		case specs.LinuxSeccompFlagSpecAllow:
			flags |= unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW
		default:
			return 0, unfit("seccomp flag %q", f)
		}
	}
	return flags, nil
}
