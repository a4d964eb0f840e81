package hooks

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/lifecycle"
)

// Execer runs commands in containers.
type Execer interface {
	// Exec runs a command in a running container and returns its exit code and
	// what it wrote, stdout and stderr together, at most limit bytes. The end of
	// ctx kills the command, and Exec returns soon after that in any case. An
	// error is about running the command, not what it did: no such file, no such
	// container.
	Exec(ctx context.Context, containerID string, command []string, limit int) (code int, output []byte, err error)
}

// Dialer connects from inside a pod.
type Dialer interface {
	// Dial opens a TCP connection from the pod's network namespace.
	Dial(ctx context.Context, podUID string, addr netip.AddrPort) (net.Conn, error)
}

// Recorder takes what is told in events.
type Recorder interface {
	// Event is called with kubelet's reason and message for an HTTPS hook that
	// was answered in plain HTTP (LifecycleHTTPFallback; it concerns the pod, so
	// container is ""), and must not block.
	Event(pod *v1.Pod, container, eventType, reason, message string)
}

// Config is what a Runner needs.
type Config struct {
	Exec   Execer
	Dial   Dialer
	Wake   func(uid string) // a hook of a pod has ended; must not block
	Events Recorder         // nil: nobody listens
	Logger *slog.Logger
	// Lookup resolves the host of an httpGet that is no address; nil: as the node
	// does.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
}

// Request asks for one hook of one attempt.
type Request struct {
	UID       string // of the pod
	ID        string // of the attempt
	Kind      lifecycle.HookKind
	Pod       *v1.Pod
	Container *v1.Container
	PodIP     netip.Addr // where httpGet goes that names no host
	Deadline  time.Time  // zero: none
}

func (r Request) handler() *v1.LifecycleHandler {
	l := r.Container.Lifecycle
	switch {
	case l == nil:
		return nil
	case r.Kind == lifecycle.PostStart:
		return l.PostStart
	}
	return l.PreStop
}

// Runner runs hooks. Its methods may be called concurrently.
type Runner struct {
	cfg   Config
	ctx   context.Context // of all hooks
	leave context.CancelFunc
	wg    sync.WaitGroup

	mu   sync.Mutex
	left bool
	pods map[string]map[key]*hook // by UID
}

type key struct {
	id   string
	kind lifecycle.HookKind
}

// hook is one that was begun.
type hook struct {
	cancel  context.CancelFunc
	done    bool
	failure string
}

// New returns a runner that runs what it is told with Begin until Run's context
// ends.
func New(cfg Config) *Runner {
	if cfg.Lookup == nil {
		cfg.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	r := &Runner{cfg: cfg, pods: map[string]map[key]*hook{}}
	r.ctx, r.leave = context.WithCancel(context.Background())
	return r
}

// Run returns when ctx has ended and all hooks with it; those that are cut so are
// not done. From then on Begin does nothing.
func (r *Runner) Run(ctx context.Context) {
	<-ctx.Done()
	r.mu.Lock()
	r.left = true
	r.mu.Unlock()
	r.leave()
	r.wg.Wait()
}

// Begin starts a hook and returns at once. If it was begun before, or the
// container has none of the kind, there is nothing to start; the latter is done.
func (r *Runner) Begin(req Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := key{req.ID, req.Kind}
	if r.left || r.pods[req.UID][k] != nil {
		return
	}
	if r.pods[req.UID] == nil {
		r.pods[req.UID] = map[key]*hook{}
	}
	h := &hook{cancel: func() {}}
	r.pods[req.UID][k] = h
	handler := req.handler()
	if handler == nil {
		h.done = true
		return
	}
	var ctx context.Context
	ctx, h.cancel = context.WithCancel(r.ctx)
	r.wg.Go(func() { r.run(ctx, h, req, handler) })
}

// run runs a hook and takes in how it ended, unless nobody wants to know.
func (r *Runner) run(ctx context.Context, h *hook, req Request, handler *v1.LifecycleHandler) {
	defer h.cancel()
	within, cancel := ctx, context.CancelFunc(func() {})
	if !req.Deadline.IsZero() {
		within, cancel = context.WithDeadline(ctx, req.Deadline)
	}
	defer cancel()
	failure := r.handle(within, req, handler)
	r.mu.Lock()
	// Whoever cancels holds the lock, or is leaving.
	if ctx.Err() != nil {
		r.mu.Unlock()
		return
	}
	h.done, h.failure = true, failure
	r.mu.Unlock()
	log := r.cfg.Logger.With("pod", req.Pod.Name, "namespace", req.Pod.Namespace, "uid", req.UID,
		"container", req.Container.Name, "hook", string(req.Kind))
	if failure == "" {
		log.Debug("hook ended")
	} else {
		log.Info("hook failed")
	}
	r.cfg.Wake(req.UID)
}

// Seen returns the hooks of a pod that were begun and not released, by attempt
// and kind.
func (r *Runner) Seen(uid string) []lifecycle.HookSeen {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []lifecycle.HookSeen
	for k, h := range r.pods[uid] {
		out = append(out, lifecycle.HookSeen{ID: k.id, Kind: k.kind, Done: h.done, Failure: h.failure})
	}
	slices.SortFunc(out, func(a, b lifecycle.HookSeen) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Kind, b.Kind))
	})
	return out
}

// Release ends the hooks of an attempt, or all of the pod's for id "", and
// forgets them. It does not wait.
func (r *Runner) Release(uid, id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, h := range r.pods[uid] {
		if id == "" || k.id == id {
			h.cancel()
			delete(r.pods[uid], k)
		}
	}
	if len(r.pods[uid]) == 0 {
		delete(r.pods, uid)
	}
}
