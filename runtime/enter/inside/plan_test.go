package inside

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func planOf(t *testing.T, change func(*Request)) *plan {
	t.Helper()
	r := sample()
	if change != nil {
		change(r)
	}
	h := &handles{report: 20, namespaces: []int{10, 11, 12}, tasks: []int{13, 14}, unified: 15, lastCap: 40}
	for i := range h.rlimits {
		h.rlimits[i] = unix.Rlimit{Cur: 5, Max: 8}
	}
	p, err := newPlan(r, h)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// names are the steps' names, each once in a row.
func (p *plan) names() (names []string) {
	for _, s := range p.steps {
		if s.name != "" && (len(names) == 0 || names[len(names)-1] != s.name) {
			names = append(names, s.name)
		}
	}
	return names
}

// What the container could use comes before it can see the process: all power is
// given up before the fork.
func TestOrderOfThePlan(t *testing.T) {
	common := []string{"joining a cgroup", "joining the session keyring", "LIMITS", "joining a namespace", "closing descriptors", "setting umask", "resetting signals", "dropping a capability"}
	become := []string{"keeping capabilities", "changing to the working directory", "setting groups", "setting group", "setting user", "changing to the working directory",
		"checking the working directory", "keeping capabilities", "setting capabilities", "clearing ambient capabilities", "raising an ambient capability"}
	end := []string{"forking", "making a session", "setting the death signal", "unblocking signals", "executing"}
	for _, c := range []struct {
		nnp  bool
		want [][]string
	}{
		{true, [][]string{common, become, {"setting no_new_privs", "hiding the memory", "installing the seccomp filter"}, end}},
		{false, [][]string{common, {"installing the seccomp filter"}, become, {"hiding the memory"}, end}},
	} {
		var want []string
		for _, part := range c.want {
			for _, name := range part {
				if name != "LIMITS" {
					want = append(want, name)
					continue
				}
				for i := range rlimits {
					want = append(want, fmt.Sprintf("setting rlimit %d", i))
				}
			}
		}
		got := planOf(t, func(r *Request) { r.NoNewPrivileges = c.nnp }).names()
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("no_new_privs %v: the plan is\n%s\nwant\n%s", c.nnp, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// Every step whose failure would leave the process with more than it should have
// ends everything.
func TestFailuresOfThePlan(t *testing.T) {
	for _, s := range planOf(t, nil).steps {
		lenient := s.mode != must
		switch s.name {
		case "joining the session keyring", "changing to the working directory", "checking the working directory", "forking", "executing", "":
			if !lenient {
				t.Errorf("%q has mode %d", s.name, s.mode)
			}
		default:
			if lenient {
				t.Errorf("%q has mode %d, and may fail", s.name, s.mode)
			}
		}
	}
}

func TestCapabilitiesAndLimitsOfThePlan(t *testing.T) {
	p := planOf(t, nil)
	dropped, raised := uint64(0), uint64(0)
	for _, s := range p.steps {
		switch s.name {
		case "dropping a capability":
			dropped |= 1 << s.args[1]
		case "raising an ambient capability":
			raised |= 1 << s.args[2]
		}
	}
	if want := uint64(1)<<40 - 1; dropped != want || raised != 5 {
		t.Errorf("dropped %#x, want %#x; raised %#x, want 5", dropped, want, raised)
	}
	if _, err := newPlan(&Request{Rlimits: []Rlimit{{Resource: 16}}}, &handles{}); err == nil {
		t.Error("an unknown rlimit is taken")
	}
	for _, f := range [][]byte{{}, make([]byte, 7), make([]byte, 8<<16)} {
		if _, err := newPlan(&Request{Filters: [][]byte{f}}, &handles{}); err == nil {
			t.Errorf("a seccomp program of %d bytes is taken", len(f))
		}
	}
	for _, r := range []*Request{{Cwd: "/\x00"}, {Args: []string{"a\x00b"}}, {Env: []string{"\x00"}}, {Paths: []string{"/\x00"}}, {Target: Target{ID: "\x00"}}} {
		if _, err := newPlan(r, &handles{}); err == nil {
			t.Errorf("a null byte is taken: %+v", r)
		}
	}
}
