package enter

import (
	"errors"
	"reflect"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/davit-agent/davit/runtime/enter/inside"
)

func sampleSpec() *specs.Spec {
	score := -997
	return &specs.Spec{
		Process: &specs.Process{
			User: specs.User{UID: 1000, GID: 2000, AdditionalGids: []uint32{3000}}, Cwd: "/srv",
			Env:          []string{"PATH=/bin:/usr/bin/", "A=1", "B=2", "A=3", "HOME=/home/app"},
			Capabilities: &specs.LinuxCapabilities{Bounding: []string{"CAP_CHOWN", "CAP_KILL"}, Effective: []string{"CAP_KILL"}, Permitted: []string{"CAP_CHECKPOINT_RESTORE"}, Inheritable: []string{"CAP_FOWNER"}, Ambient: []string{"CAP_SETUID"}},
			Rlimits:      []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 1, Hard: 2}}, NoNewPrivileges: true, OOMScoreAdj: &score,
		},
		Linux: &specs.Linux{CgroupsPath: "/a/b", Namespaces: []specs.LinuxNamespace{{Type: specs.PIDNamespace}, {Type: specs.MountNamespace}},
			Seccomp: &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Flags: []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagLog, specs.LinuxSeccompFlagSpecAllow}}},
	}
}

func TestProcess(t *testing.T) {
	command := []string{"sh", "-c", "exit"}
	got, err := Process(sampleSpec(), command)
	want := Request{
		Paths: []string{"/bin/sh", "/usr/bin/sh"}, Args: command, Env: []string{"PATH=/bin:/usr/bin/", "A=3", "B=2", "HOME=/home/app"}, Cwd: "/srv",
		User: inside.User{UID: 1000, GID: 2000, Umask: 0o022, Groups: []uint32{3000}}, NoNewPrivileges: true, OOMScoreAdj: -997,
		Caps:    inside.Caps{Bounding: 1<<unix.CAP_CHOWN | 1<<unix.CAP_KILL, Effective: 1 << unix.CAP_KILL, Permitted: 1 << unix.CAP_CHECKPOINT_RESTORE, Inheritable: 1 << unix.CAP_FOWNER, Ambient: 1 << unix.CAP_SETUID},
		Rlimits: []inside.Rlimit{{Resource: unix.RLIMIT_NOFILE, Soft: 1, Hard: 2}}, FilterFlags: unix.SECCOMP_FILTER_FLAG_LOG | unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW,
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
	for _, env := range [][]string{{"PATH=/bin"}, {"HOME=/x", "PATH=/bin", "HOME="}} {
		s := sampleSpec()
		s.Process.Env = env
		if got, err := Process(s, command); err != nil || !got.Home || len(got.Env) != 1 {
			t.Errorf("%q: environment %q, HOME is looked up: %v, %v", env, got.Env, got.Home, err)
		}
	}
	for _, name := range []string{"/x/y", "./y", "x/y"} {
		if got, err := Process(sampleSpec(), []string{name}); err != nil || len(got.Paths) != 1 || got.Paths[0] != name {
			t.Errorf("%s is looked for as %q, %v", name, got.Paths, err)
		}
	}
}

// What is not done here is refused, and never done by halves.
func TestProcessRefuses(t *testing.T) {
	command := []string{"sh"}
	umask := uint32(0o022)
	for name, change := range map[string]func(*specs.Spec){
		"process":     func(s *specs.Spec) { s.Process = nil },
		"linux":       func(s *specs.Spec) { s.Linux = nil },
		"VM":          func(s *specs.Spec) { s.VM = &specs.VM{} },
		"apparmor":    func(s *specs.Spec) { s.Process.ApparmorProfile = "x" },
		"selinux":     func(s *specs.Spec) { s.Process.SelinuxLabel = "x" },
		"mount label": func(s *specs.Spec) { s.Linux.MountLabel = "x" },
		"user name":   func(s *specs.Spec) { s.Process.User.Username = "x" },
		"umask":       func(s *specs.Spec) { s.Process.User.Umask = &umask },
		"no caps":     func(s *specs.Spec) { s.Process.Capabilities = nil },
		"cap":         func(s *specs.Spec) { s.Process.Capabilities.Bounding = []string{"CAP_NEW"} },
		"score":       func(s *specs.Spec) { s.Process.OOMScoreAdj = nil },
		"cwd":         func(s *specs.Spec) { s.Process.Cwd = "x" },
		"scheduler":   func(s *specs.Spec) { s.Process.Scheduler = &specs.Scheduler{} },
		"io":          func(s *specs.Spec) { s.Process.IOPriority = &specs.LinuxIOPriority{} },
		"affinity":    func(s *specs.Spec) { s.Process.ExecCPUAffinity = &specs.CPUAffinity{} },
		"rlimit":      func(s *specs.Spec) { s.Process.Rlimits[0].Type = "RLIMIT_NEW" },
		"env":         func(s *specs.Spec) { s.Process.Env = append(s.Process.Env, "broken") },
		"null in env": func(s *specs.Spec) { s.Process.Env = append(s.Process.Env, "A=\x00") },
		"no path":     func(s *specs.Spec) { s.Process.Env = nil },
		"path":        func(s *specs.Spec) { s.Process.Env = []string{"PATH=/bin:"} },
		"personality": func(s *specs.Spec) { s.Linux.Personality = &specs.LinuxPersonality{} },
		"rdt":         func(s *specs.Spec) { s.Linux.IntelRdt = &specs.LinuxIntelRdt{} },
		"memory":      func(s *specs.Spec) { s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{} },
		"time":        func(s *specs.Spec) { s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {}} },
		"time ns": func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
		},
		"user ns": func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		},
		"uid map":   func(s *specs.Spec) { s.Linux.UIDMappings = []specs.LinuxIDMapping{{}} },
		"host pid":  func(s *specs.Spec) { s.Linux.Namespaces = s.Linux.Namespaces[1:] },
		"host mnt":  func(s *specs.Spec) { s.Linux.Namespaces = s.Linux.Namespaces[:1] },
		"cgroup":    func(s *specs.Spec) { s.Linux.CgroupsPath = "" },
		"listener":  func(s *specs.Spec) { s.Linux.Seccomp.ListenerPath = "/x" },
		"notify":    func(s *specs.Spec) { s.Linux.Seccomp.Syscalls = []specs.LinuxSyscall{{Action: specs.ActNotify}} },
		"new flags": func(s *specs.Spec) { s.Linux.Seccomp.Flags = []specs.LinuxSeccompFlag{"SECCOMP_FILTER_FLAG_NEW"} },
	} {
		s := sampleSpec()
		change(s)
		if r, err := Process(s, command); !errors.Is(err, errUnfit) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	if _, err := Process(nil, command); !errors.Is(err, errUnfit) {
		t.Error(err)
	}
	for _, command := range [][]string{nil, {""}, {"a", "b\x00"}} {
		if r, err := Process(sampleSpec(), command); !errors.Is(err, errUnfit) {
			t.Errorf("%q: %+v, %v", command, r, err)
		}
	}
}

func TestCgroups(t *testing.T) {
	for _, c := range []struct {
		text, path string
		n          int // 0: an error
	}{
		{"0::/kubepods/pod1/c1\n", "/kubepods/pod1/c1", 1},
		{"0::/kubepods.slice/cri-c1.scope\n", "kubepods.slice:cri:c1", 1},
		{"0::/kubepods/pod1/c1/inner\n", "/kubepods/pod1/c1", 0},
		{"0::/\n", "/kubepods/pod1/c1", 0},
		{"2:cpu,cpuacct:/k/c1\n1:name=systemd:/k/c1\n0::/k/c1\n", "/k/c1", 3},
		{"2:cpu,cpuacct:/k/c1\n1:name=systemd:/k/c1\n0::/\n", "/k/c1", 3},
		{"2:cpu,cpuacct:/\n1:name=systemd:/k/c1\n0::/k/c1\n", "/k/c1", 0},
		{"2:cpu:k/c1\n", "/k/c1", 0}, {"2:cpu\n", "/k/c1", 0}, {"", "/k/c1", 0},
	} {
		got, err := cgroups(c.text, leaf(c.path))
		if len(got) != c.n || (err == nil) != (c.n > 0) {
			t.Errorf("%q in %q: %+v, %v", c.path, c.text, got, err)
		}
	}
}
