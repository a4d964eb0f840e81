package enter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	goruntime "runtime"
	"sync"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/enter/filter"
	"github.com/davit-agent/davit/runtime/enter/inside"
)

// Specs tells what containers were made of.
type Specs interface {
	// ExecSpec returns the spec of a running container and the pid of its first
	// process. It fails for a container that another runtime than runc made.
	ExecSpec(ctx context.Context, id string) (*specs.Spec, uint32, error)
}

// Fallback is the long way; it is of runtime.Runtime.
type Fallback interface {
	Exec(ctx context.Context, id string, cfg runtime.ExecConfig) (int, error)
}

// Config is what New needs.
type Config struct {
	Fallback Fallback
	Specs    Specs
	Helper   string // path of the helper program; "": all goes the long way
	// OCIRuntime is the program that makes the containers; "" is runc.
	OCIRuntime string
	// Dir is a private directory, of nobody else's, for what is needed for an instant.
	Dir string
	// CgroupParent is an absolute cgroup path below which a cgroup is made for an
	// instant.
	CgroupParent string
	Logger       *slog.Logger
}

// maxKnown bounds how many containers are remembered: all are forgotten then.
const maxKnown = 2048

// Enterer runs commands in containers. Its method Exec is safe for concurrent use.
type Enterer struct {
	cfg     Config
	log     *slog.Logger
	program *program // nil: all goes the long way
	filters *filter.Source

	mu    sync.Mutex
	known map[string]*container
}

// container is what is remembered of one.
type container struct {
	spec    *specs.Spec
	target  inside.Target
	filters [][]byte
	unfit   error // why all of its commands go the long way
}

// New makes an Enterer. A kernel that lacks what is needed for it is no error: all
// commands go the long way then.
func New(cfg Config) (*Enterer, error) {
	if cfg.Fallback == nil || cfg.Specs == nil {
		return nil, errors.New("entering containers needs a runtime and its specs")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	e := &Enterer{cfg: cfg, log: cfg.Logger, known: map[string]*container{}}
	e.filters = filter.New(filter.Config{Runtime: cfg.OCIRuntime, Helper: cfg.Helper, Dir: cfg.Dir, CgroupParent: cfg.CgroupParent})
	if cfg.Helper == "" || goruntime.GOARCH != "amd64" && goruntime.GOARCH != "arm64" {
		return e, nil
	}
	err := e.filters.Sweep(context.Background())
	if err != nil {
		e.log.Warn("something is left behind", "error", err)
	}
	if e.program, err = openProgram(cfg.Helper); err != nil {
		e.log.Warn("commands in containers are run by the OCI runtime, which costs more", "error", err)
	}
	return e, nil
}

// Close gives back what New took. No Exec may run.
func (e *Enterer) Close() error {
	if e.program == nil {
		return nil
	}
	return e.program.close()
}

// Forget forgets a container that was deleted. A forgotten one that is there is
// looked at anew.
func (e *Enterer) Forget(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.known, id)
}

// Exec runs a command in a running container, with the container's own environment,
// user, capabilities and working directory, without input. It returns the exit code
// (128+n for death by signal n) and the first limit bytes of what was printed on
// both outputs, in order, once the command has ended; what it left running in the
// background is not waited for. The context's end kills the command, and its error
// is returned with the output until then. Other errors are those of
// runtime.Runtime.Exec.
func (e *Enterer) Exec(ctx context.Context, containerID string, command []string, limit int) (exitCode int, output []byte, err error) {
	res, output, err := e.enter(ctx, containerID, command, limit)
	if err == nil && res.NotRun {
		err = unfit("%s", res.Reason)
	}
	switch {
	case err == nil && res.Status.Signaled():
		return 128 + int(res.Status.Signal()), output, nil
	case err == nil:
		return res.Status.ExitStatus(), output, nil
	case ctx.Err() != nil:
		return 0, output, ctx.Err()
	case !errors.Is(err, errUnfit):
		return 0, nil, fmt.Errorf("executing in container %s: %w", containerID, err)
	}
	e.log.Debug("running a command by the OCI runtime", "container", containerID, "reason", err)
	return e.longWay(ctx, containerID, command, limit)
}

func (e *Enterer) longWay(ctx context.Context, id string, command []string, limit int) (int, []byte, error) {
	out := &shared{w: bounded{limit: limit}}
	code, err := e.cfg.Fallback.Exec(ctx, id, runtime.ExecConfig{Command: command, Stdout: out, Stderr: out})
	return code, out.bytes(), err
}

// enter runs the command by a helper. Of an error that wraps errUnfit, and of a
// result that says so, nothing was run.
func (e *Enterer) enter(ctx context.Context, id string, command []string, limit int) (inside.Result, []byte, error) {
	if e.program == nil {
		return inside.Result{}, nil, unfit("there is no helper")
	}
	for again := false; ; again = true {
		c, fresh := e.container(ctx, id)
		if c.unfit != nil {
			return inside.Result{}, nil, c.unfit
		}
		req, err := Process(c.spec, command)
		if err != nil {
			return inside.Result{}, nil, err
		}
		req.Target, req.Filters = c.target, c.filters
		run, err := start(e.program, &req, limit)
		if err != nil {
			return inside.Result{}, nil, unfit("%v", err)
		}
		res, out, err := run.wait(ctx)
		if err == nil && res.Gone {
			e.Forget(id)
			if !fresh && !again { // what was remembered may have been wrong
				continue
			}
		}
		return res, out, err
	}
}

// container returns what is known of a container, and whether it was asked for now.
func (e *Enterer) container(ctx context.Context, id string) (c *container, fresh bool) {
	e.mu.Lock()
	c = e.known[id]
	e.mu.Unlock()
	if c != nil {
		return c, false
	}
	c, passing := e.ask(ctx, id)
	if !passing {
		e.mu.Lock()
		defer e.mu.Unlock()
		if len(e.known) >= maxKnown {
			clear(e.known)
		}
		e.known[id] = c
	}
	return c, true
}

// ask learns of a container. passing: it may be otherwise the next time.
func (e *Enterer) ask(ctx context.Context, id string) (c *container, passing bool) {
	spec, pid, err := e.cfg.Specs.ExecSpec(ctx, id)
	if err != nil {
		return &container{unfit: unfit("%v", err)}, true
	}
	if err := fit(spec); err != nil {
		return &container{unfit: err}, false
	}
	c = &container{spec: slim(spec)}
	if c.target, err = locate(id, pid, spec); err != nil {
		return &container{unfit: unfit("%v", err)}, true
	}
	if spec.Linux.Seccomp != nil {
		if _, err := filterFlags(spec.Linux.Seccomp); err != nil {
			return &container{unfit: err}, false
		}
		if c.filters, err = e.filters.Get(ctx, spec.Linux.Seccomp); err != nil {
			return &container{unfit: unfit("%v", err)}, true
		}
	}
	return c, false
}

// slim is what Process needs of a spec.
func slim(s *specs.Spec) *specs.Spec {
	l := &specs.Linux{Namespaces: s.Linux.Namespaces, CgroupsPath: s.Linux.CgroupsPath}
	if p := s.Linux.Seccomp; p != nil {
		l.Seccomp = &specs.LinuxSeccomp{DefaultAction: p.DefaultAction, Flags: p.Flags}
	}
	return &specs.Spec{Process: s.Process, Linux: l}
}

// shared is a bounded buffer with two writers.
type shared struct {
	mu sync.Mutex
	w  bounded
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(p)
}

func (s *shared) bytes() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.b
}
