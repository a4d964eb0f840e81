package filter

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/davit-agent/davit/runtime/helper/helpertest"
	"github.com/davit-agent/davit/test/testbed"
)

func profile(name string) *specs.LinuxSeccomp {
	return &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Architectures: []specs.Arch{specs.ArchX86_64},
		Syscalls: []specs.LinuxSyscall{{Names: []string{name}, Action: specs.ActErrno}}}
}

// The programs are there, are asked for once, and nothing stays behind.
func TestGet(t *testing.T) {
	bed := testbed.New(t, testbed.Options{NoContainerd: true})
	parent := bed.CgroupParent()
	bed.Baseline()
	calls := filepath.Join(t.TempDir(), "calls")
	script := filepath.Join(t.TempDir(), "runtime")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho $3 >> "+calls+"\nexec runc \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	// As /run may be.
	if err := os.Mkdir(bed.Path("filters"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", bed.Path("filters"), "tmpfs", unix.MS_NODEV|unix.MS_NOSUID|unix.MS_NOEXEC, "mode=0700"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(bed.Path("filters"), unix.MNT_DETACH) })
	bed.Baseline()
	s := New(Config{Runtime: script, Helper: helpertest.Build(t), Dir: bed.Path("filters"), CgroupParent: parent})
	var programs [][]byte
	for range 2 {
		for _, name := range []string{"mkdir", "rmdir"} {
			got, err := s.Get(t.Context(), profile(name))
			if err != nil || len(got) != 1 || len(got[0]) < 5*8 || len(got[0])%8 != 0 {
				t.Fatalf("programs %v, %v", got, err)
			}
			programs = append(programs, got[0])
		}
	}
	if string(programs[0]) == string(programs[1]) || &programs[0][0] != &programs[2][0] || &programs[1][0] != &programs[3][0] {
		t.Error("the programs of two profiles are the same, or those of one are not")
	}
	if text, _ := os.ReadFile(calls); strings.Count(string(text), "\n") != 4 {
		t.Errorf("the runtime was called for %q", text)
	}
	left, _ := os.ReadDir(bed.Path("filters"))
	if leaks := bed.LeakCheck(); len(leaks)+len(left) > 0 {
		t.Errorf("left behind: %v %v", leaks, left)
	}
}

// A runtime that fails is not asked again at once, nor one that installs nothing.
func TestFailure(t *testing.T) {
	bed := testbed.New(t, testbed.Options{NoContainerd: true})
	dir := t.TempDir()
	script := filepath.Join(dir, "runtime")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho x >> "+dir+"/calls\necho sorry >&2\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	s := New(Config{Runtime: script, Helper: helpertest.Build(t), Dir: bed.Path("filters"), CgroupParent: bed.CgroupParent()})
	for range 3 {
		if got, err := s.Get(context.Background(), profile("mkdir")); err == nil || !strings.Contains(err.Error(), "sorry") {
			t.Fatalf("programs %v, %v", got, err)
		}
	}
	if text, _ := os.ReadFile(dir + "/calls"); strings.Count(string(text), "x") != 1 {
		t.Errorf("the runtime was called %d times", len(text)/2)
	}
	left, _ := os.ReadDir(bed.Path("filters"))
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// What could not be deleted, or was not for the agent was killed, is deleted at the
// next start.
func TestSweep(t *testing.T) {
	bed := testbed.New(t, testbed.Options{NoContainerd: true})
	cfg := Config{Helper: helpertest.Build(t), Dir: bed.Path("filters"), CgroupParent: bed.CgroupParent()}
	bed.Baseline()
	failing := cfg
	failing.Runtime = filepath.Join(t.TempDir(), "runtime")
	if err := os.WriteFile(failing.Runtime, []byte("#!/bin/sh\ntest $3 != delete && exec runc \"$@\"\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := New(failing).Get(t.Context(), profile("mkdir")); err == nil {
		t.Error("a container that stays is no failure")
	}
	pids, _ := filepath.Glob(bed.Path("filters", "*", "pid"))
	if len(pids) != 1 {
		t.Fatalf("left are %v", pids)
	}
	pid, err := os.ReadFile(pids[0])
	if err != nil {
		t.Fatal(err)
	}
	proc := filepath.Join("/proc", strings.TrimSpace(string(pid)))
	if _, err := os.Stat(proc); err != nil {
		t.Fatalf("nothing is left to be swept: %v", err)
	}
	for range 2 {
		if err := New(cfg).Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	left, _ := os.ReadDir(bed.Path("filters"))
	if leaks := bed.LeakCheck(); len(leaks)+len(left) > 0 {
		t.Errorf("left behind: %v %v", leaks, left)
	}
	testbed.Poll(t, limit, func() string {
		if _, err := os.Stat(proc); err == nil {
			return "its process lives"
		}
		return ""
	})
}
