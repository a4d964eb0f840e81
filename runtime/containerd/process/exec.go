// Package process runs further processes in containers.
//
// Each has a directory with its FIFOs and the ID of its container. The
// directory is removed when the process is known to have ended; so what stands
// there when davit starts, or when the daemon comes back, is a process to be
// ended by Reap.
package process

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/containerd/fault"
	"github.com/davit-agent/davit/runtime/containerd/object"
)

// execContainerFile stands beside an exec's FIFOs and holds its container's
// ID, so that a davit that was killed can end the process when it is back.
const execContainerFile = "container"

// cleanTimeout bounds starting and cleaning up, which the caller's cancellation
// does not end.
const cleanTimeout = 2 * time.Minute

// reapTimeout bounds the ending of one process that was left.
const reapTimeout = 10 * time.Second

// execution is one further process, from its FIFOs to its exit code.
type execution struct {
	r      *Runner
	id     string // container
	execID string // of the process, and the name of its directory
	dir    string
	io     *streams
	left   bool // the process may run on; it is for Reap
}

// tidy removes the directory, unless the process may still run.
func (x *execution) tidy() {
	if x.left {
		x.r.mu.Lock()
		defer x.r.mu.Unlock()
		x.r.left = append(x.r.left, x.execID)
		return
	}
	if err := os.RemoveAll(x.dir); err != nil {
		x.r.log.Warn("cannot remove exec directory", "dir", x.dir, "error", err)
	}
}

// Runner runs further processes.
type Runner struct {
	client *client.Client
	dir    string
	log    *slog.Logger

	mu   sync.Mutex
	left []string // directories whose process may still run
}

// New makes a runner with a directory of its own.
func New(cl *client.Client, dir string, log *slog.Logger) (*Runner, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making exec directory: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("reading exec directory: %w", err)
	}
	r := &Runner{client: cl, dir: dir, log: log}
	for _, e := range entries {
		r.left = append(r.left, e.Name())
	}
	return r, nil
}

// Exec is runtime.Runtime's, for a context that has the namespace.
func (r *Runner) Exec(ctx context.Context, id string, cfg runtime.ExecConfig) (int, error) {
	if len(cfg.Command) == 0 {
		return 0, errors.New("no command")
	}
	proc, err := r.execProcess(ctx, id, &cfg)
	if err != nil {
		return 0, err
	}
	x := &execution{r: r, id: id, execID: strings.ToLower(rand.Text())}
	x.dir = filepath.Join(r.dir, x.execID)
	if err := os.Mkdir(x.dir, 0o700); err != nil {
		return 0, fmt.Errorf("making exec directory: %w", err)
	}
	defer x.tidy()
	if err := os.WriteFile(filepath.Join(x.dir, execContainerFile), []byte(id), 0o600); err != nil {
		return 0, fmt.Errorf("making exec directory: %w", err)
	}
	if x.io, err = openStreams(x.dir, &cfg); err != nil {
		return 0, err
	}
	defer x.io.close()
	return x.run(ctx, proc, &cfg)
}

// execProcess derives the process from the container's own.
func (r *Runner) execProcess(ctx context.Context, id string, cfg *runtime.ExecConfig) (*specs.Process, error) {
	o, err := r.client.ContainerService().Get(ctx, id)
	if errdefs.IsNotFound(err) {
		return nil, fmt.Errorf("%w: %w", runtime.ErrNotFound, err)
	}
	if err != nil {
		return nil, fmt.Errorf("reading container object: %w", fault.Classify(err))
	}
	spec, err := object.Spec(&o)
	if err != nil {
		return nil, err
	}
	if spec.Process == nil {
		return nil, errors.New("container's spec has no process")
	}
	p := *spec.Process
	p.Args, p.CommandLine, p.Terminal, p.ConsoleSize = cfg.Command, "", cfg.TTY, nil
	if cfg.TTY && !hasTerm(p.Env) {
		p.Env = append(p.Env[:len(p.Env):len(p.Env)], "TERM=xterm")
	}
	return &p, nil
}

func hasTerm(env []string) bool {
	for _, e := range env {
		if strings.HasPrefix(e, "TERM=") {
			return true
		}
	}
	return false
}

// run runs the process to its end. Calls that clean up are made without the
// caller's cancellation.
func (x *execution) run(ctx context.Context, proc *specs.Process, cfg *runtime.ExecConfig) (int, error) {
	ts := x.r.client.TaskService()
	spec, err := typeurl.MarshalAnyToProto(proc)
	if err != nil {
		return 0, fmt.Errorf("encoding process: %w", err)
	}
	_, err = ts.Exec(ctx, &tasks.ExecProcessRequest{
		ContainerID: x.id, ExecID: x.execID, Spec: spec, Terminal: cfg.TTY,
		Stdin: x.io.Stdin, Stdout: x.io.Stdout, Stderr: x.io.Stderr,
	})
	if err != nil {
		return 0, x.explain(err)
	}
	x.io.copyOut(cfg)
	if err := x.start(ctx); err != nil {
		return 0, err
	}
	x.io.copyIn(cfg, func() {
		// The shim holds stdin open too.
		cctx, cancel := uncancelled(ctx)
		defer cancel()
		_, _ = ts.CloseIO(cctx, &tasks.CloseIORequest{ContainerID: x.id, ExecID: x.execID, Stdin: true})
	})
	code, err := x.wait(ctx, cfg)
	if err != nil {
		cctx, cancel := uncancelled(ctx)
		defer cancel()
		x.kill(cctx)
		return 0, err
	}
	// The shim ends its copying when the process is deleted; then everything
	// is in the FIFOs.
	x.remove(ctx)
	return code, x.io.drain(ctx)
}

func uncancelled(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), cleanTimeout)
}

// start starts the process. A caller that leaves does not stop it half way.
func (x *execution) start(ctx context.Context) error {
	ctx, cancel := uncancelled(ctx)
	defer cancel()
	_, err := x.r.client.TaskService().Start(ctx, &tasks.StartRequest{ContainerID: x.id, ExecID: x.execID})
	if err == nil {
		return nil
	}
	if err = x.explain(err); errors.Is(err, runtime.ErrUnavailable) || errdefs.IsCanceled(err) {
		x.left = true // it may run: the daemon, or our connection, went away
		return err
	}
	x.remove(ctx)
	return err
}

// wait returns the exit code, and passes on changes of the window meanwhile.
func (x *execution) wait(ctx context.Context, cfg *runtime.ExecConfig) (int, error) {
	type result struct {
		resp *tasks.WaitResponse
		err  error
	}
	ts := x.r.client.TaskService()
	done := make(chan result, 1)
	go func() {
		resp, err := ts.Wait(ctx, &tasks.WaitRequest{ContainerID: x.id, ExecID: x.execID})
		done <- result{resp, err}
	}()
	resize := cfg.Resize
	if !cfg.TTY {
		resize = nil
	}
	for {
		select {
		case size, ok := <-resize:
			if !ok {
				resize = nil
				continue
			}
			_, err := ts.ResizePty(ctx, &tasks.ResizePtyRequest{
				ContainerID: x.id, ExecID: x.execID, Width: uint32(size.Width), Height: uint32(size.Height),
			})
			if err != nil {
				x.r.log.Debug("cannot resize terminal", "container", x.id, "error", err)
			}
		case res := <-done:
			if ctx.Err() != nil {
				return 0, ctx.Err()
			}
			if res.err != nil {
				return 0, fmt.Errorf("waiting for the process: %w", fault.Classify(res.err))
			}
			return int(res.resp.ExitStatus), nil
		}
	}
}

// kill ends a process whose caller has gone. If the daemon has gone too, or the
// process does not end before ctx does, that is left for when the daemon is back.
func (x *execution) kill(ctx context.Context) {
	ts := x.r.client.TaskService()
	_, err := ts.Kill(ctx, &tasks.KillRequest{ContainerID: x.id, ExecID: x.execID, Signal: uint32(syscall.SIGKILL)})
	if err = fault.Classify(err); err != nil && !errdefs.IsNotFound(err) && !fault.ProcessEnded(err) {
		x.r.log.Warn("cannot kill exec process", "container", x.id, "error", err)
		x.left = true
		return
	}
	if _, err := ts.Wait(ctx, &tasks.WaitRequest{ContainerID: x.id, ExecID: x.execID}); err == nil {
		x.remove(ctx)
	} else if ctx.Err() != nil {
		x.left = true
	}
}

// remove removes the ended process from its shim.
func (x *execution) remove(ctx context.Context) {
	ctx, cancel := uncancelled(ctx)
	defer cancel()
	_, err := x.r.client.TaskService().DeleteProcess(ctx, &tasks.DeleteProcessRequest{ContainerID: x.id, ExecID: x.execID})
	if err = fault.Classify(err); err != nil && !errdefs.IsNotFound(err) {
		x.r.log.Debug("cannot remove exec process", "container", x.id, "error", err)
	}
}

func (x *execution) explain(err error) error {
	err = fault.Classify(err)
	if errdefs.IsNotFound(err) {
		return fmt.Errorf("%w: %w", runtime.ErrNotFound, err)
	}
	return err
}

// Reap ends what a davit that was killed, or a daemon that went away,
// left running in containers, and removes its FIFOs.
func (r *Runner) Reap(ctx context.Context) {
	r.mu.Lock()
	left := r.left
	r.left = nil
	r.mu.Unlock()
	for _, execID := range left {
		x := &execution{r: r, execID: execID, dir: filepath.Join(r.dir, execID)}
		if id, err := os.ReadFile(filepath.Join(x.dir, execContainerFile)); err == nil && len(id) > 0 {
			x.id = string(id)
			kctx, cancel := context.WithTimeout(ctx, reapTimeout)
			x.kill(kctx)
			cancel()
		}
		x.tidy()
	}
}
