package enter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/test/testbed"
)

// finding is what testdata/attacker reports.
type finding struct {
	Pid             int
	Before          bool
	Exe, Mem, Trace string
	Status          map[string]string
	FDs             []string
	Secret          bool
	Environ, Late   string
}

const secret = "a secret of the agent's, 3f1b7a"

// attacked builds a node whose image has the attacker.
func attacked(t *testing.T) (*node, *runtime.Image) {
	t.Helper()
	// In the agent's environment and memory.
	t.Setenv("ENTER_TEST_SECRET", secret)
	n := newNode(t, "")
	bin := filepath.Join(t.TempDir(), "attacker")
	cmd := exec.Command("go", "build", "-o", bin, "./testdata/attacker")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the attacker: %v\n%s", err, out)
	}
	data, err := os.ReadFile(bin)
	must(t, err)
	return n, n.loadWith("example.com/attacker:1", data)
}

// attack has commands run in a container that attacks them, until enough was found,
// and returns the findings of before the command was executed, and those of the end.
func (n *node) attack(name string, caps []string) (before, late []finding) {
	n.t.Helper()
	reversed := []byte(secret)
	slices.Reverse(reversed)
	id := n.run(name, func(s *specs.Spec) {
		s.Process.Args = []string{"/bin/attacker"}
		s.Process.NoNewPrivileges = false
		s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps}
		s.Linux.Seccomp = defaultProfile()
		// A container that wants to be entered slowly has much to look through.
		search := strings.Repeat("/nosuch:", 3000) + "/bin"
		s.Process.Env = []string{"PATH=" + search, "HOME=/", "TERCES=" + string(reversed)}
	})
	report := func() (found []finding) {
		var out bytes.Buffer
		code, err := n.long.Client.Exec(n.t.Context(), id, runtime.ExecConfig{Command: []string{"/bin/cat", "/tmp/report"}, Stdout: &out})
		if err != nil || code != 0 {
			n.t.Logf("reading the report: code %d, %v", code, err) // it is not there at first
		}
		for line := range strings.Lines(out.String()) {
			var f finding
			if json.Unmarshal([]byte(line), &f) == nil { // but one that is half written
				found = append(found, f)
			}
		}
		return found
	}
	for end := time.Now().Add(limit); ; {
		for range 10 {
			if code, out := n.exec(id, "echo", "fine"); code != 0 || out != "fine" {
				n.t.Errorf("a command under attack ended with %d and printed %q", code, out)
			}
		}
		before = slices.DeleteFunc(report(), func(f finding) bool { return !f.Before })
		if len(before) >= 5 {
			break
		}
		if time.Now().After(end) {
			n.t.Fatalf("only %d commands were caught before they were executed", len(before))
		}
	}
	n.exec(id, "/bin/touch", "/tmp/end")
	testbed.Poll(n.t, limit, func() string {
		late = slices.DeleteFunc(report(), func(f finding) bool { return f.Late == "" })
		if len(late) == 0 || late[len(late)-1].Late != "end" {
			return fmt.Sprintf("the attacker has not ended; in %s run %v", id, n.members(id))
		}
		return ""
	})
	late = late[:len(late)-1]
	if n.long.count() != 0 {
		n.t.Errorf("%d commands went the long way", n.long.count())
	}
	return before, late
}

// A process of the container that may trace everything gets hold of commands before
// they are executed, and gains nothing by it.
func TestAttackByATracer(t *testing.T) {
	n, img := attacked(t)
	n.image = img
	before, late := n.attack("tracer", []string{"CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_CHOWN", "CAP_FOWNER"})
	caught := 0
	for _, f := range before {
		if f.Trace != "done" {
			continue
		}
		caught++
		for name, want := range map[string]string{"CapPrm": "000000000008000b", "CapEff": "000000000008000b", "CapBnd": "000000000008000b",
			"CapInh": "0000000000000000", "CapAmb": "0000000000000000", "Seccomp": "2", "Seccomp_filters": "1", "Uid": "0\t0\t0\t0"} {
			if f.Status[name] != want {
				t.Errorf("%s of a command before its execution is %q, want %q", name, f.Status[name], want)
			}
		}
		for _, fd := range f.FDs {
			number, to, _ := strings.Cut(fd, " ")
			if number == "0" && to == "/dev/null" || strings.Contains("1 2 3", number) && strings.HasPrefix(to, "pipe:") {
				continue
			}
			t.Errorf("a descriptor leaks: %s", fd)
		}
		if len(f.FDs) != 4 || f.Secret || f.Environ != "" {
			t.Errorf("descriptors %q, secret found: %v, environment %q", f.FDs, f.Secret, f.Environ)
		}
	}
	if caught == 0 || len(late) == 0 {
		t.Errorf("%d were traced, the program of %d was held until the end", caught, len(late))
	}
	for _, f := range late {
		if f.Late != "read-only file system" {
			t.Errorf("writing to the helper: %s", f.Late)
		}
	}
	t.Logf("%d caught before their execution, %d traced, %d programs held", len(before), caught, len(late))
	want, err := os.ReadFile(builtHelper(t))
	must(t, err)
	if got, err := os.ReadFile(n.Path("helper")); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the helper was changed: %v", err)
	}
}

// One that may not, gets nothing at all, though it is the same user with the same
// capabilities.
func TestAttackByAnEqual(t *testing.T) {
	n, img := attacked(t)
	n.image = img
	before, late := n.attack("equal", []string{"CAP_DAC_OVERRIDE", "CAP_CHOWN", "CAP_FOWNER"})
	for _, f := range before {
		for what, got := range map[string]string{"opening the program": f.Exe, "opening the memory": f.Mem, "tracing": f.Trace} {
			if got == "done" {
				t.Errorf("%s of a command before its execution is possible: %+v", what, f)
			}
		}
	}
	if len(late) != 0 {
		t.Errorf("%d programs are held", len(late))
	}
	t.Logf("%d seen before their execution", len(before))
}
