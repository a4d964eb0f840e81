package testbed

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	containerd "github.com/containerd/containerd/v2/client"
)

// Options say what a Bed is made of. The zero value is a namespace with
// Debian's containerd in it.
type Options struct {
	// Containerd is the directory with the binaries of the containerd to run,
	// as BuildContainerd2 returns it; "" takes the one in PATH.
	Containerd string
	// NoContainerd leaves containerd out; Bed.Containerd can be started later.
	NoContainerd bool
	// Config is TOML that is appended to containerd's configuration.
	Config string
	// Wire joins the wire of another Bed, so that the two reach each other; nil
	// makes one.
	Wire *Wire
}

// Bed is a node for a test. Its methods are for the test's own goroutine,
// because they end the test when something that must work does not.
type Bed struct {
	ID      string // six hex digits
	Dir     string // short, empty but for "ctrd"; removed at the end
	NS      string // name of the network namespace
	NSPath  string // /run/netns/<NS>
	Addr4   netip.Addr
	Addr6   netip.Addr
	Address string // containerd's socket
	// Namespace is a name for a containerd namespace, as davit-<id>. Use it:
	// runc keeps its state in /run/containerd/runc/<namespace>/<container>,
	// whatever containerd's directories, so that two Beds with the same two
	// names get in each other's way.
	Namespace  string
	Containerd *Daemon
	Wire       *Wire

	t        testing.TB
	lock     *os.File
	baseline map[string]bool
}

const dirPrefix = "dv-"

// New makes a Bed and removes it, with everything in it, when the test ends.
func New(t testing.TB, o Options) *Bed {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("testbed: this test needs root: it makes network namespaces and runs containerd")
	}
	if err := Sweep(); err != nil {
		t.Logf("testbed: sweeping leftovers of killed tests: %v", err)
	}
	b := &Bed{t: t}
	if err := b.makeDir(); err != nil {
		t.Fatalf("testbed: %v", err)
	}
	t.Cleanup(func() {
		if b.Containerd != nil && t.Failed() {
			t.Logf("containerd's log ends with:\n%s", tail(b.Containerd.Log, 3000))
		}
		if b.Containerd != nil {
			b.Containerd.kill()
		}
		if err := remove(b.ID, b.Dir); err != nil {
			t.Errorf("testbed: %v", err)
		}
		b.lock.Close()
	})
	b.NS, b.Namespace = "dv-"+b.ID, "davit-"+b.ID
	b.NSPath = filepath.Join(netnsDir, b.NS)
	if err := b.makeNetwork(o.Wire); err != nil {
		t.Fatalf("testbed: %v", err)
	}
	b.Address = addressIn(b.Dir)
	b.Containerd = &Daemon{bed: b, bin: o.Containerd, Log: filepath.Join(b.Dir, "ctrd", "log")}
	if err := b.Containerd.writeConfig(o.Config); err != nil {
		t.Fatalf("testbed: %v", err)
	}
	if !o.NoContainerd {
		b.Containerd.Start()
	}
	b.Baseline()
	return b
}

// tempDir is where the directories of all Beds lie.
func tempDir() string {
	if d := os.TempDir(); len(d) <= 30 {
		return d
	}
	return "/tmp"
}

// makeDir makes the Bed's directory and locks it. The lock of tempDir's keeps
// Sweep from taking a directory between its making and its locking.
func (b *Bed) makeDir() error {
	unlock, err := lockFile(filepath.Join(tempDir(), "dv.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	var id [3]byte
	if _, err := rand.Read(id[:]); err != nil {
		return fmt.Errorf("choosing an id: %w", err)
	}
	b.ID = hex.EncodeToString(id[:])
	b.Dir = filepath.Join(tempDir(), dirPrefix+strconv.Itoa(os.Getpid())+"-"+b.ID)
	if err := os.Mkdir(b.Dir, 0o755); err != nil {
		return fmt.Errorf("making the test's directory: %w", err)
	}
	b.lock, err = os.Open(b.Dir)
	if err != nil {
		return fmt.Errorf("opening the test's directory: %w", err)
	}
	if err := unix.Flock(int(b.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("locking the test's directory: %w", err)
	}
	return nil
}

// Path returns a path below the Bed's directory.
func (b *Bed) Path(elem ...string) string {
	return filepath.Join(append([]string{b.Dir}, elem...)...)
}

// Command prepares a command that runs inside the Bed's network namespace. The
// pid of the started command is the program's own.
func (b *Bed) Command(name string, args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"--net=" + b.NSPath, "--", name}, args...)...)
}

// Run runs a command inside the Bed's network namespace, ends the test if it
// fails, and returns what it printed.
func (b *Bed) Run(name string, args ...string) string {
	b.t.Helper()
	out, err := b.Command(name, args...).CombinedOutput()
	if err != nil {
		b.t.Fatalf("running %s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Client returns a containerd client whose calls go to the namespace ns by
// default; it is closed when the test ends.
func (b *Bed) Client(ns string) *containerd.Client {
	b.t.Helper()
	c, err := containerd.New(b.Address, containerd.WithDefaultNamespace(ns), containerd.WithTimeout(20*time.Second))
	if err != nil {
		b.t.Fatalf("connecting to the test's containerd: %v", err)
	}
	b.t.Cleanup(func() { c.Close() })
	return c
}

// Poll calls f every few milliseconds until it returns "" and fails the test
// with what it returned last when limit has passed.
func Poll(t testing.TB, limit time.Duration, f func() string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for {
		why := f()
		if why == "" {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("after %s: %s", limit, why)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// tail returns the last n bytes of a file, or why it cannot be read.
func tail(file string, n int) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	if len(data) > n {
		data = data[len(data)-n:]
	}
	return string(data)
}
