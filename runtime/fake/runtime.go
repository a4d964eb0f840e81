package fake

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/distribution/reference"

	"github.com/davit-agent/davit/runtime"
)

// Runtime is a Node's runtime as one agent process sees it. It implements
// runtime.Runtime and runtime.Watcher.
type Runtime struct {
	n      *Node
	events chan string
	known  map[string]bool         // IDs that it made, listed or adopted
	exits  map[string]runtime.Exit // that it saw
}

var (
	_ runtime.Runtime = (*Runtime)(nil)
	_ runtime.Watcher = (*Runtime)(nil)
)

// Runtime returns a view of the node that knows nothing yet: an agent's after
// its start.
func (n *Node) Runtime() *Runtime {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := &Runtime{n: n, events: make(chan string, 256), known: map[string]bool{}, exits: map[string]runtime.Exit{}}
	n.runtimes = append(n.runtimes, r)
	return r
}

// Close ends the view, as an agent's end does; nothing on the node changes.
func (r *Runtime) Close() {
	r.n.mu.Lock()
	defer r.n.mu.Unlock()
	for i, other := range r.n.runtimes {
		if other == r {
			r.n.runtimes = append(r.n.runtimes[:i], r.n.runtimes[i+1:]...)
			return
		}
	}
}

// Events implements runtime.Watcher.
func (r *Runtime) Events() <-chan string { return r.events }

// wake never blocks: when the reader is far behind, all that waits becomes one
// wake for everything.
func (r *Runtime) wake(uid string) {
	select {
	case r.events <- uid:
		return
	default:
	}
	for {
		select {
		case <-r.events:
			continue
		default:
		}
		break
	}
	select {
	case r.events <- "":
	default:
	}
}

// Adopt implements runtime.Watcher.
func (r *Runtime) Adopt(known []runtime.ContainerRef) {
	r.n.mu.Lock()
	defer r.n.mu.Unlock()
	for _, ref := range known {
		if want := runtime.ContainerID(ref.Pod.UID, ref.Name, ref.Attempt); ref.ID != want {
			r.n.impossibleLocked("container %s is adopted under the ID %s", nameOf(ref), ref.ID)
		}
		r.known[ref.ID] = true
	}
}

func normalise(ref string) (string, error) {
	named, err := reference.ParseDockerRef(ref)
	if err != nil {
		return "", fmt.Errorf("%w %q: %w", runtime.ErrInvalidImageName, ref, err)
	}
	return named.String(), nil
}

// Image implements runtime.Runtime.
func (r *Runtime) Image(ctx context.Context, ref string) (*runtime.Image, error) {
	name, err := normalise(ref)
	if err != nil {
		return nil, err
	}
	r.n.mu.Lock()
	defer r.n.mu.Unlock()
	after, err := r.n.enterLocked(ctx, "image", name, true)
	if err != nil {
		return nil, err
	}
	img := r.n.images[name]
	if img == nil {
		return nil, fmt.Errorf("image %q: %w", name, runtime.ErrImageNotFound)
	}
	if err := after(nil); err != nil {
		return nil, err
	}
	c := *img
	return &c, nil
}

// Create implements runtime.Runtime.
func (r *Runtime) Create(ctx context.Context, cfg *runtime.ContainerConfig) error {
	n := r.n
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.checkLocked(cfg); err != nil {
		return err
	}
	after, err := n.enterLocked(ctx, "create", nameOf(cfg.ContainerRef), true)
	if err != nil {
		return err
	}
	r.known[cfg.ID] = true
	if n.containers[cfg.ID] != nil {
		return after(nil)
	}
	if n.ran[cfg.ID] {
		n.impossibleLocked("container %s ran before and is made again", nameOf(cfg.ContainerRef))
	}
	if cfg.Image != nil && n.images[cfg.Image.Name] == nil {
		return fmt.Errorf("creating container %s: image %q: %w", cfg.ID, cfg.Image.Name, runtime.ErrImageNotFound)
	}
	kept := *cfg
	n.containers[cfg.ID] = &container{cfg: &kept, generation: n.generation, createdAt: n.nowLocked()}
	if cfg.Log.Path != "" {
		n.streams[cfg.ID] = cfg.Log
	}
	return after(nil)
}

// checkLocked refuses a configuration that cannot be, and fails the test for one
// that no caller may make.
func (n *Node) checkLocked(cfg *runtime.ContainerConfig) error {
	ref := cfg.ContainerRef
	switch {
	case ref.ID != runtime.ContainerID(ref.Pod.UID, ref.Name, ref.Attempt):
		n.impossibleLocked("container %s has the ID %s", nameOf(ref), ref.ID)
	case ref.Pod.UID == "":
		n.impossibleLocked("a container is made for no pod")
	case cfg.Image != nil && cfg.RootFS != "":
		n.impossibleLocked("container %s has both an image and a root", nameOf(ref))
	case n.guarded && n.sandboxes[ref.Pod.UID] == nil:
		n.impossibleLocked("container %s is made before its sandbox", nameOf(ref))
	}
	if cfg.Spec == nil || cfg.Spec.Process == nil {
		return errors.New("container has no spec or no process")
	}
	if cfg.Image == nil && cfg.RootFS == "" {
		return errors.New("container has neither an image nor a root")
	}
	if n.guarded && cfg.Spec.Linux != nil {
		for _, ns := range cfg.Spec.Linux.Namespaces {
			if strings.HasPrefix(ns.Path, sandboxDir) && !strings.HasPrefix(ns.Path, filepath.Join(sandboxDir, ref.Pod.UID)+"/") {
				n.impossibleLocked("container %s joins %s, of another pod", nameOf(ref), ns.Path)
			}
		}
	}
	return nil
}

// Start implements runtime.Runtime.
func (r *Runtime) Start(ctx context.Context, id string) error {
	n := r.n
	n.mu.Lock()
	defer n.mu.Unlock()
	after, err := n.enterLocked(ctx, "start", n.whoLocked(id), true)
	if err != nil {
		return err
	}
	c := n.containers[id]
	_, seen := r.exits[id]
	switch {
	case c == nil:
		return fmt.Errorf("starting container %s: %w", id, runtime.ErrNotFound)
	case c.task != nil && c.task.exit == nil:
		return after(nil)
	case seen, c.task != nil, c.marked:
		return fmt.Errorf("starting container %s: %w", id, runtime.ErrExited)
	}
	r.known[id] = true
	program := ProgramOf
	if n.Programs != nil {
		program = n.Programs
	}
	p := program(c.cfg)
	if p.Fail != "" {
		return fmt.Errorf("starting container %s: %w: %s", id, runtime.ErrStart, p.Fail)
	}
	c.marked, n.ran[id] = true, true
	n.pids++
	t := &task{program: p, pid: n.pids, startedAt: time.Now(), ended: make(chan struct{})}
	c.task = t
	switch {
	case p.RunFor < 0:
		n.endLocked(id, c, runtime.Exit{Code: p.ExitCode, OOMKilled: p.OOM})
	case p.RunFor > 0:
		n.endAfterLocked(id, c, p.RunFor, runtime.Exit{Code: p.ExitCode, OOMKilled: p.OOM})
	}
	return after(nil)
}

func (n *Node) whoLocked(id string) string {
	if c := n.containers[id]; c != nil {
		return nameOf(c.cfg.ContainerRef)
	}
	return id
}

// Signal implements runtime.Runtime.
func (r *Runtime) Signal(ctx context.Context, id string, sig syscall.Signal) error {
	n := r.n
	n.mu.Lock()
	defer n.mu.Unlock()
	after, err := n.enterLocked(ctx, "signal", fmt.Sprintf("%s %d", n.whoLocked(id), int(sig)), true)
	if err != nil {
		return err
	}
	c := n.containers[id]
	if c == nil {
		return fmt.Errorf("signalling container %s: %w", id, runtime.ErrNotFound)
	}
	if c.task != nil && c.task.exit == nil {
		n.signalLocked(id, c, sig)
	}
	return after(nil)
}

// Delete implements runtime.Runtime.
func (r *Runtime) Delete(ctx context.Context, id string) error {
	n := r.n
	n.mu.Lock()
	defer n.mu.Unlock()
	after, err := n.enterLocked(ctx, "delete", n.whoLocked(id), true)
	if err != nil {
		return err
	}
	if c := n.containers[id]; c != nil {
		if c.task != nil && c.task.exit == nil {
			n.endLocked(id, c, runtime.Exit{Code: 128 + int32(syscall.SIGKILL)})
		}
		delete(n.containers, id)
		delete(n.streams, id)
	}
	for _, other := range n.runtimes {
		delete(other.known, id)
		delete(other.exits, id)
	}
	return after(nil)
}

// List implements runtime.Runtime.
func (r *Runtime) List(ctx context.Context, uid string) ([]runtime.Container, error) {
	n := r.n
	n.mu.Lock()
	defer n.mu.Unlock()
	after, err := n.enterLocked(ctx, "list", uid, false)
	if err != nil {
		return nil, err
	}
	var list []runtime.Container
	for _, c := range n.sortedLocked() {
		id := c.cfg.ID
		if uid != "" && c.cfg.Pod.UID != uid || n.down && !r.known[id] {
			continue
		}
		r.known[id] = true
		list = append(list, r.lookLocked(c))
	}
	if err := after(nil); err != nil {
		return nil, err
	}
	if n.down {
		return list, fmt.Errorf("listing containers: %w", runtime.ErrUnavailable)
	}
	return list, nil
}

// lookLocked derives what List shows of a container.
func (r *Runtime) lookLocked(c *container) runtime.Container {
	out := runtime.Container{ContainerRef: c.cfg.ContainerRef, CreatedAt: c.createdAt}
	if c.cfg.Image != nil {
		out.ImageName, out.ImageID = c.cfg.Image.Name, c.cfg.Image.Identity()
	}
	if c.task != nil {
		out.StartedAt = c.task.startedAt
		if c.task.exit != nil {
			r.exits[c.cfg.ID] = *c.task.exit
		}
	}
	x, seen := r.exits[c.cfg.ID]
	switch {
	case seen:
		out.State, out.Exit = runtime.StateExited, &x
	case c.task != nil:
		out.State, out.Pid = runtime.StateRunning, c.task.pid
	case c.marked, c.generation != r.n.generation:
		out.State = runtime.StateUnknown
	default:
		out.State = runtime.StateCreated
	}
	return out
}

// Exec implements runtime.Runtime.
func (r *Runtime) Exec(ctx context.Context, id string, cfg runtime.ExecConfig) (int, error) {
	t, after, err := r.execTask(ctx, id, &cfg)
	if err != nil {
		return 0, fmt.Errorf("executing in container %s: %w", id, err)
	}
	code, err := execute(&cfg, t.ended, ctx.Done())
	if ctx.Err() != nil {
		return 0, fmt.Errorf("executing in container %s: %w", id, ctx.Err())
	}
	return code, after(err)
}

func (r *Runtime) execTask(ctx context.Context, id string, cfg *runtime.ExecConfig) (*task, func(error) error, error) {
	n := r.n
	n.mu.Lock()
	defer n.mu.Unlock()
	after, err := n.enterLocked(ctx, "exec", n.whoLocked(id), true)
	if err != nil {
		return nil, nil, err
	}
	c := n.containers[id]
	switch {
	case c == nil:
		return nil, nil, runtime.ErrNotFound
	case len(cfg.Command) == 0:
		return nil, nil, errors.New("no command")
	case c.task == nil:
		return nil, nil, errors.New("container is not running")
	case c.task.exit != nil:
		return nil, nil, runtime.ErrExited
	}
	return c.task, after, nil
}
