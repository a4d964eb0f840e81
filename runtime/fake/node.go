package fake

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/davit-agent/davit/runtime"
)

// TB is what a Node needs of a test.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
}

// Node is a machine with a container runtime. Its methods and those of the
// Runtimes, Sandboxes and Logs on it are safe for concurrent use.
type Node struct {
	// Programs says what a container runs; nil is ProgramOf. To be set before
	// the first container is started.
	Programs func(*runtime.ContainerConfig) Program

	t          TB
	mu         sync.Mutex
	images     map[string]*runtime.Image // by normalised name
	containers map[string]*container     // by ID
	ran        map[string]bool           // IDs that were started once, for ever
	down       bool                      // the daemon is away
	generation int                       // counts the daemon's starts
	pids       uint32
	clock      time.Time // of the newest object: no two have the same time
	runtimes   []*Runtime
	sandboxes  map[string]*sandbox // by pod UID
	guarded    bool                // Sandboxes is in use: containers need one
	streams    map[string]runtime.LogStream
	calls      []string
	faults     []*Fault
}

// container is a container object with its task.
type container struct {
	cfg        *runtime.ContainerConfig
	generation int // of the daemon at Create
	createdAt  time.Time
	marked     bool // Start was begun
	task       *task
}

// task is a process; exit is set when it has ended.
type task struct {
	program   Program
	pid       uint32
	startedAt time.Time
	exit      *runtime.Exit
	ended     chan struct{}
	timers    []*time.Timer
}

// New makes a Node whose daemon runs and that has no images. What the contract
// rules out fails t.
func New(t TB) *Node {
	return &Node{
		t: t, generation: 1, pids: 1000,
		images: map[string]*runtime.Image{}, containers: map[string]*container{}, ran: map[string]bool{},
		sandboxes: map[string]*sandbox{}, streams: map[string]runtime.LogStream{},
	}
}

// AddImage puts an image on the node, or replaces the one of that name.
func (n *Node) AddImage(img *runtime.Image) {
	n.mu.Lock()
	defer n.mu.Unlock()
	name, err := normalise(img.Name)
	if err != nil {
		n.t.Errorf("fake: adding image: %v", err)
		return
	}
	c := *img
	c.Name = name
	n.images[name] = &c
}

// RemoveImage takes an image away, by any spelling of its name.
func (n *Node) RemoveImage(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	full, _ := normalise(name)
	delete(n.images, full)
}

// StopDaemon takes the daemon away; containers run on.
func (n *Node) StopDaemon() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = true
	n.wakeLocked("")
}

// Restarted says what a daemon does with stopped tasks when it starts.
type Restarted bool

// LoseStopped is what containerd does from 1.7 on, KeepStopped what 1.6 does.
const (
	LoseStopped Restarted = true
	KeepStopped Restarted = false
)

// StartDaemon brings a daemon that was away back.
func (n *Node) StartDaemon(how Restarted) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.down {
		n.impossibleLocked("the daemon is started while it runs")
		return
	}
	n.down = false
	n.generation++
	for _, c := range n.containers {
		if how == LoseStopped && c.task != nil && c.task.exit != nil {
			c.task = nil
		}
	}
	n.wakeLocked("")
}

// End ends a container's process as x says; a zero time is now. Ending what does
// not run fails the test.
func (n *Node) End(id string, x runtime.Exit) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.containers[id]
	if c == nil || c.task == nil || c.task.exit != nil {
		n.impossibleLocked("the process of container %s is ended, which does not run", id)
		return
	}
	n.endLocked(id, c, x)
}

// Signal sends a signal to a container's process past the runtime, as kill(1) on
// the machine does. Signalling what does not run fails the test.
func (n *Node) Signal(id string, sig syscall.Signal) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.containers[id]
	if c == nil || c.task == nil || c.task.exit != nil {
		n.impossibleLocked("the process of container %s is signalled, which does not run", id)
		return
	}
	n.signalLocked(id, c, sig)
}

func (n *Node) signalLocked(id string, c *container, sig syscall.Signal) {
	after, code, ends := c.task.program.signalled(sig)
	switch {
	case ends && after > 0:
		n.endAfterLocked(id, c, after, runtime.Exit{Code: code})
	case ends:
		n.endLocked(id, c, runtime.Exit{Code: code})
	}
}

// endAfterLocked ends the process that runs now in a while, if it still runs.
func (n *Node) endAfterLocked(id string, c *container, after time.Duration, x runtime.Exit) {
	t := c.task
	t.timers = append(t.timers, time.AfterFunc(after, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if c.task == t && t.exit == nil {
			n.endLocked(id, c, x)
		}
	}))
}

// Lose takes a container's task away without anybody seeing its end, as a shim
// that is killed does.
func (n *Node) Lose(id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.containers[id]
	if c == nil || c.task == nil {
		n.impossibleLocked("the task of container %s is lost, which has none", id)
		return
	}
	c.task.stop()
	c.task = nil
	n.wakeLocked(c.cfg.Pod.UID)
}

// Reboot ends everything that does not survive the machine's restart: processes,
// tasks, sandboxes and log streams. Objects stay.
func (n *Node) Reboot() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.containers {
		if c.task != nil {
			c.task.stop()
		}
		c.task, c.marked = nil, false
	}
	clear(n.sandboxes)
	clear(n.streams)
	n.generation++
	for _, r := range n.runtimes {
		clear(r.exits)
	}
}

func (t *task) stop() {
	for _, timer := range t.timers {
		timer.Stop()
	}
	if t.exit == nil {
		close(t.ended)
	}
}

func (n *Node) endLocked(id string, c *container, x runtime.Exit) {
	if x.At.IsZero() {
		x.At = time.Now()
	}
	c.task.stop()
	c.task.exit = &x
	for _, r := range n.runtimes {
		if !n.down || r.known[id] {
			r.exits[id] = x
			r.wake(c.cfg.Pod.UID)
		}
	}
}

// wakeLocked wakes all Runtimes.
func (n *Node) wakeLocked(uid string) {
	for _, r := range n.runtimes {
		r.wake(uid)
	}
}

// now returns a time for a new object, later than that of any other.
func (n *Node) nowLocked() time.Time {
	now := time.Now()
	if !now.After(n.clock) {
		now = n.clock.Add(time.Nanosecond)
	}
	n.clock = now
	return now
}

// impossibleLocked fails the test for what the contract rules out.
func (n *Node) impossibleLocked(format string, args ...any) {
	n.t.Helper()
	n.t.Errorf("fake: impossible: "+format+"\n%s", append(args, n.stringLocked())...)
}

// Calls returns all calls so far, as "start u1/web/0", in their order, and
// those that were refused by a fault with "!" before them.
func (n *Node) Calls() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.calls)
}

// String draws the node: one line for each thing on it, in a fixed order.
func (n *Node) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stringLocked()
}

func (n *Node) stringLocked() string {
	var b strings.Builder
	daemon := "up"
	if n.down {
		daemon = "away"
	}
	fmt.Fprintf(&b, "daemon %s, started %d times\n", daemon, n.generation)
	for _, name := range slices.Sorted(maps.Keys(n.images)) {
		fmt.Fprintf(&b, "image %s\n", name)
	}
	for _, uid := range slices.Sorted(maps.Keys(n.sandboxes)) {
		fmt.Fprintf(&b, "sandbox %s%s\n", uid, n.sandboxes[uid].damage())
	}
	for _, c := range n.sortedLocked() {
		fmt.Fprintf(&b, "container %s %s\n", nameOf(c.cfg.ContainerRef), c)
	}
	for _, id := range slices.Sorted(maps.Keys(n.streams)) {
		fmt.Fprintf(&b, "streams %.12s %s\n", id, n.streams[id].Path)
	}
	return b.String()
}

func (c *container) String() string {
	switch {
	case c.task == nil && c.marked:
		return "no task, was started"
	case c.task == nil:
		return "no task"
	case c.task.exit != nil:
		return fmt.Sprintf("exited %d", c.task.exit.Code)
	}
	return fmt.Sprintf("running as %d", c.task.pid)
}

func nameOf(r runtime.ContainerRef) string {
	return fmt.Sprintf("%s/%s/%d", r.Pod.UID, r.Name, r.Attempt)
}

// sortedLocked returns the containers in List's order.
func (n *Node) sortedLocked() []*container {
	return slices.SortedFunc(maps.Values(n.containers), func(a, b *container) int {
		if d := a.createdAt.Compare(b.createdAt); d != 0 {
			return d
		}
		return strings.Compare(a.cfg.ID, b.cfg.ID)
	})
}

// Left returns what is on the node beside images, one line each: for the end of
// a test that should leave nothing.
func (n *Node) Left() []string {
	var left []string
	for line := range strings.Lines(n.String()) {
		if !strings.HasPrefix(line, "daemon ") && !strings.HasPrefix(line, "image ") {
			left = append(left, strings.TrimSpace(line))
		}
	}
	return left
}

// enter begins a call: it notes it, and returns an error if ctx has ended, the
// daemon is needed and away, or a fault is due. The returned function ends the
// call's effect: it returns the error of a fault that comes after it.
func (n *Node) enterLocked(ctx context.Context, op, what string, daemon bool) (after func(error) error, err error) {
	n.calls = append(n.calls, strings.TrimSpace(op+" "+what))
	after = func(err error) error { return err }
	if err := ctx.Err(); err != nil {
		return after, err
	}
	if daemon && n.down {
		return after, fmt.Errorf("%s: %w", op, runtime.ErrUnavailable)
	}
	f := n.dueLocked(op)
	if f == nil {
		return after, nil
	}
	n.calls[len(n.calls)-1] = "!" + n.calls[len(n.calls)-1]
	if !f.After {
		return after, f.Err
	}
	return func(error) error { return f.Err }, nil
}
