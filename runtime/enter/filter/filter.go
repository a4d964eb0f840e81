package filter

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/davit-agent/davit/runtime/enter/inside"
)

const (
	limit = 30 * time.Second // for one profile
	pause = time.Minute      // after a failure
	// maxProfiles bounds what is remembered, 8 KiB each; all are forgotten then.
	maxProfiles = 256

	prefix   = "seccomp-" // of a translation's directory
	stateDir = "state"    // in it: the runtime's own
)

// Config is what New needs.
type Config struct {
	Runtime      string // program of the OCI runtime; "" is runc
	Helper       string // path of the helper program
	Dir          string // private directory
	CgroupParent string // absolute path of a cgroup, in which one is made
}

// Source translates profiles and remembers them.
type Source struct {
	cfg Config

	mu    sync.Mutex
	known map[[sha256.Size]byte]*entry
}

type entry struct {
	mu      sync.Mutex
	filters [][]byte
	err     error
	tried   time.Time
}

// New makes a Source.
func New(cfg Config) *Source {
	if cfg.Runtime == "" {
		cfg.Runtime = "runc"
	}
	return &Source{cfg: cfg, known: map[[sha256.Size]byte]*entry{}}
}

// Get returns the programs (struct sock_filter) that the OCI runtime installs for a
// profile, the oldest first.
func (s *Source) Get(ctx context.Context, profile *specs.LinuxSeccomp) ([][]byte, error) {
	text, err := json.Marshal(profile)
	if err != nil {
		return nil, fmt.Errorf("encoding seccomp profile: %w", err)
	}
	e := s.entry(sha256.Sum256(text))
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.filters != nil || e.err != nil && time.Since(e.tried) < pause {
		return e.filters, e.err
	}
	// Who asks first may not have the time; the others need it all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	e.filters, e.err = s.translate(ctx, profile)
	e.tried = time.Now()
	return e.filters, e.err
}

func (s *Source) entry(key [sha256.Size]byte) *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.known[key]
	if e == nil {
		if len(s.known) >= maxProfiles {
			clear(s.known)
		}
		e = &entry{}
		s.known[key] = e
	}
	return e
}

func (s *Source) translate(ctx context.Context, profile *specs.LinuxSeccomp) (filters [][]byte, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("translating seccomp profile: %w", err)
		}
	}()
	if err := os.MkdirAll(s.cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(s.cfg.Dir, prefix)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.remove(context.WithoutCancel(ctx), dir)) }()
	id := "davit-" + prefix + strings.ToLower(rand.Text())
	if err := s.bundle(dir, id, profile); err != nil {
		return nil, err
	}
	pidFile := filepath.Join(dir, "pid")
	if _, err := command(ctx, dir, s.cfg.Runtime, "--root", filepath.Join(dir, stateDir), "create", "--bundle", dir, "--pid-file", pidFile, id); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(pidFile)
	if err != nil {
		return nil, err
	}
	pid := strings.TrimSpace(string(text))
	if err := awaitFilter(ctx, pid); err != nil {
		return nil, err
	}
	out, err := command(ctx, dir, s.cfg.Helper, "filters", pid)
	if err != nil {
		return nil, err
	}
	if filters, err = inside.ReadFilters(out); err == nil && len(filters) == 0 {
		err = errors.New("there is none")
	}
	return filters, err
}

// remove deletes what the runtime made, then the directory, which stays if that fails.
func (s *Source) remove(ctx context.Context, dir string) error {
	state := filepath.Join(dir, stateDir)
	made, err := os.ReadDir(state)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, c := range made {
		if _, err := command(ctx, dir, s.cfg.Runtime, "--root", state, "delete", "--force", c.Name()); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}

// Sweep removes what an agent left behind that was killed within a translation.
func (s *Source) Sweep(ctx context.Context) error {
	left, err := filepath.Glob(filepath.Join(s.cfg.Dir, prefix+"*"))
	for _, dir := range left {
		err = errors.Join(err, s.remove(ctx, dir))
	}
	if err != nil {
		return fmt.Errorf("removing what is left of translating seccomp profiles: %w", err)
	}
	return nil
}

// bundle writes a container that has a seccomp profile and nothing else. Without
// no_new_privs the runtime installs the filter before it waits for the start.
func (s *Source) bundle(dir, id string, profile *specs.LinuxSeccomp) error {
	root := filepath.Join(dir, "rootfs")
	if err := os.Mkdir(root, 0o700); err != nil {
		return err
	}
	spec := &specs.Spec{Version: "1.0.2", Root: &specs.Root{Path: root},
		Process: &specs.Process{Args: []string{"/nothing"}, Cwd: "/", Env: []string{"PATH=/"}, Capabilities: &specs.LinuxCapabilities{}},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
			// Looked for, but never run. Run directories may allow no programs.
			{Destination: "/nothing", Type: "bind", Source: s.cfg.Helper, Options: []string{"bind", "ro"}},
			// The runtime makes devices, and a run directory's file system has none.
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "noexec", "mode=755", "size=64k"}},
		},
		Linux: &specs.Linux{Seccomp: profile, CgroupsPath: filepath.Join("/", s.cfg.CgroupParent, id),
			Namespaces: []specs.LinuxNamespace{{Type: specs.MountNamespace}, {Type: specs.PIDNamespace}}}}
	text, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "config.json"), text, 0o600)
}

// awaitFilter waits until a process is under a seccomp filter: the runtime's
// `create` returns before that.
func awaitFilter(ctx context.Context, pid string) error {
	if _, err := strconv.ParseUint(pid, 10, 31); err != nil {
		return fmt.Errorf("pid %q: %w", pid, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		status, err := os.ReadFile(filepath.Join("/proc", pid, "status"))
		if err != nil {
			return err
		}
		if strings.Contains(string(status), "\nSeccomp:\t2\n") {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.New("the OCI runtime has not installed the filter")
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// command runs a program and returns what it printed. Into a file: the container's
// process holds the outputs for longer than the runtime's `create` lasts.
func command(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var files [2]*os.File
	for i, file := range []string{"stdout", "stderr"} {
		f, err := os.Create(filepath.Join(dir, file))
		if err != nil {
			return nil, err
		}
		defer f.Close()
		files[i] = f
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = files[0], files[1]
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(files[1].Name())
		return nil, fmt.Errorf("running %s: %w: %s", filepath.Base(name), err, text[:min(len(text), 500)])
	}
	return os.ReadFile(files[0].Name())
}
