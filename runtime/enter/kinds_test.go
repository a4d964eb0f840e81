package enter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/davit-agent/davit/test/testbed"
)

// A container in the PID namespace of another is entered like one with its own, and
// its processes are in its own cgroup.
func TestSharedPIDNamespace(t *testing.T) {
	n := newNode(t, "")
	one := n.run("one", func(s *specs.Spec) { s.Process.Args = []string{"sleep", "98789"} })
	_, pid, err := n.long.ExecSpec(t.Context(), one)
	must(t, err)
	two := n.run("two", func(s *specs.Spec) {
		s.Linux.Namespaces[0].Path = fmt.Sprintf("/proc/%d/ns/pid", pid)
	})
	n.same(two, "cat", "/proc/self/status", "/proc/self/cgroup", "/proc/self/mountinfo")
	n.same(two, "ls", "-l", "/proc/self/ns/")
	if _, ps := n.exec(two, "ps"); !strings.Contains(ps, "98789") {
		t.Errorf("the other's process is not in view:\n%s", ps)
	}
}

// A profile that forbids what this package needs, but the runtime does not, has the
// command go the long way: it is run once, and by the runtime.
func TestStrictProfiles(t *testing.T) {
	n := newNode(t, "")
	i := 0
	for _, nnp := range []bool{true, false} {
		for _, action := range []specs.LinuxSeccompAction{specs.ActErrno, specs.ActKillProcess} {
			i++
			id := n.run(fmt.Sprint("strict", i), func(s *specs.Spec) {
				s.Process.NoNewPrivileges = nnp
				s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Architectures: []specs.Arch{specs.ArchX86_64},
					Syscalls: []specs.LinuxSyscall{{Names: []string{"setsid"}, Action: action}}}
			})
			before := n.long.count()
			if code, out := n.exec(id, "sh", "-c", "echo once >> /count; cat /count"); code != 0 || out != "once" {
				t.Errorf("no_new_privs %v, %s: code %d, %q", nnp, action, code, out)
			}
			if n.long.count() != before+1 {
				t.Errorf("no_new_privs %v, %s: long way %d times", nnp, action, n.long.count()-before)
			}
		}
	}
}

// A command that its own profile kills is no failure to start it.
func TestProfileKillsTheCommand(t *testing.T) {
	n := newNode(t, "")
	id := n.run("c", func(s *specs.Spec) {
		s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Architectures: []specs.Arch{specs.ArchX86_64},
			Syscalls: []specs.LinuxSyscall{{Names: []string{"mkdir", "mkdirat"}, Action: specs.ActKillProcess}, {Names: []string{"chmod", "fchmodat"}, Action: specs.ActErrno}}}
	})
	for command, want := range map[string]int{"mkdir /x": 128 + int(syscall.SIGSYS), "chmod 0 /bin/busybox": 1, "true": 0} {
		short, far, codes := n.both(id, strings.Fields(command)...)
		if codes != [2]int{want, want} || short != far {
			t.Errorf("%s: codes %v, want %d; %q, by runc %q", command, codes, want, short, far)
		}
	}
}

// Many at the same time, some of them cancelled, leave nothing behind: no descriptor,
// no process, no cgroup.
func TestManyLeaveNothing(t *testing.T) {
	n := newNode(t, "")
	id := n.run("c", func(s *specs.Spec) { s.Linux.Seccomp = defaultProfile() })
	n.exec(id, "true")
	before := descriptors(t)
	members := len(n.members(id))
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			if i%3 == 0 {
				cancel()
			}
			want := fmt.Sprint(i)
			code, out, err := n.e.Exec(ctx, id, []string{"sh", "-c", "echo " + want + "; exit " + want}, 100)
			if i%3 == 0 && errors.Is(err, context.Canceled) {
				return
			}
			if err != nil || code != i || string(out) != want+"\n" {
				t.Errorf("number %d ended with %d, %q, %v", i, code, out, err)
			}
		})
	}
	wg.Wait()
	testbed.Poll(t, limit, func() string {
		if now := len(n.members(id)); now != members {
			return fmt.Sprintf("%d processes in the container, were %d", now, members)
		}
		if now := descriptors(t); now > before {
			return fmt.Sprintf("%d descriptors are open, were %d", now, before)
		}
		kids, _ := filepath.Glob("/proc/self/task/*/children")
		for _, file := range kids {
			if text, _ := os.ReadFile(file); strings.Contains(commands(string(text)), "davit-helper") {
				return "there are helpers: " + commands(string(text))
			}
		}
		return ""
	})
	left, _ := os.ReadDir(n.Path("enter"))
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	dirs, _ := filepath.Glob(filepath.Join("/sys/fs/cgroup/*", n.CgroupParent(), "davit-seccomp-*"))
	if len(dirs) > 0 {
		t.Errorf("left behind: %v", dirs)
	}
	if n.long.count() > 0 {
		t.Errorf("%d went the long way", n.long.count())
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(fds)
}

func commands(pids string) string {
	var all []string
	for _, pid := range strings.Fields(pids) {
		line, _ := os.ReadFile(filepath.Join("/proc", pid, "cmdline"))
		all = append(all, string(line))
	}
	return strings.Join(all, "\n")
}
