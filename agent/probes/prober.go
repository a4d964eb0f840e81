package probes

import (
	"context"
	"log/slog"
	"math/rand/v2"
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
	// Dial opens a TCP connection from the pod's network namespace. Where the
	// other side is the cause that it fails, the error wraps the
	// *os.SyscallError of connect, or is a timeout; any other error is not taken
	// for a statement about the pod.
	Dial(ctx context.Context, podUID string, addr netip.AddrPort) (net.Conn, error)
}

// Recorder takes what is told in events.
type Recorder interface {
	// Event is called with kubelet's reasons (Unhealthy, ProbeWarning) and
	// messages, for each probe that did not plainly succeed, which may be one each
	// period for as long as the container lives; and must not block.
	Event(pod *v1.Pod, container, eventType, reason, message string)
}

// Metrics takes measurements.
type Metrics interface {
	// Probed counts a probe by kind (Startup, Liveness or Readiness) and result
	// (successful or failed), as kubelet's prober_probe_total and
	// prober_probe_duration_seconds do. Probes that could not be made are not
	// counted.
	Probed(kind, result string, took time.Duration)
}

// Config is what a Prober needs.
type Config struct {
	Exec    Execer
	Dial    Dialer
	Wake    func(uid string) // Health of a pod has changed; must not block
	Events  Recorder         // nil: nobody listens
	Metrics Metrics          // nil: nobody counts
	Logger  *slog.Logger
	Now     func() time.Time
	// Lookup resolves the host of a probe that is no address; nil: as the node
	// does.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
}

// Prober runs the probes of this node. Its methods may be called concurrently.
type Prober struct {
	cfg   Config
	began time.Time
	ctx   context.Context // of all probes
	leave context.CancelFunc
	wg    sync.WaitGroup

	mu   sync.Mutex
	left bool
	pods map[string]*patient // by UID
}

// patient is a pod that is probed.
type patient struct {
	pod      *v1.Pod
	ip       netip.Addr
	set      []lifecycle.Probing // the last, to tell an equal one by
	attempts map[string]*attempt // by container
}

// attempt is an attempt of a container that is probed.
type attempt struct {
	container *v1.Container
	vitals    vitals
	turned    chan struct{} // closed and replaced when a probe may have another turn
	cancel    context.CancelFunc
}

// New returns a prober that probes what it is told with Set until Run's context
// ends.
func New(cfg Config) *Prober {
	if cfg.Lookup == nil {
		cfg.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	p := &Prober{cfg: cfg, began: cfg.Now(), pods: map[string]*patient{}}
	p.ctx, p.leave = context.WithCancel(context.Background())
	return p
}

// Run returns when ctx has ended and all probes with it. From then on Set does
// nothing. What was found stays in Health.
func (p *Prober) Run(ctx context.Context) {
	<-ctx.Done()
	p.mu.Lock()
	p.left = true
	p.mu.Unlock()
	p.leave()
	p.wg.Wait()
}

// Set tells all that is to be probed of a pod: its running attempts, one of a
// container, and the address at which they are reached (zero: there is none
// yet). An equal Set does nothing. Of an attempt that is known, only Stopping is
// of interest.
func (p *Prober) Set(pod *v1.Pod, podIP netip.Addr, attempts []lifecycle.Probing) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left {
		return
	}
	uid := string(pod.UID)
	t := p.pods[uid]
	if t == nil {
		t = &patient{attempts: map[string]*attempt{}}
		p.pods[uid] = t
	}
	t.pod, t.ip = pod, podIP
	if slices.Equal(t.set, attempts) {
		return
	}
	t.set = slices.Clone(attempts)
	keep := map[string]bool{}
	for _, want := range attempts {
		keep[want.Container] = true
		have := t.attempts[want.Container]
		if have == nil || have.vitals.id != want.ID {
			p.beginLocked(t, want)
			continue
		}
		have.vitals.stopping = want.Stopping
		have.turnLocked()
	}
	for name, a := range t.attempts {
		if !keep[name] {
			a.cancel()
			delete(t.attempts, name)
		}
	}
}

// beginLocked starts the probes of an attempt, in place of those of an earlier.
func (p *Prober) beginLocked(t *patient, want lifecycle.Probing) {
	if old := t.attempts[want.Container]; old != nil {
		old.cancel()
		delete(t.attempts, want.Container)
	}
	c := containerOf(t.pod, want.Container)
	if c == nil {
		p.cfg.Logger.Error("container to be probed is not in its pod", "pod", t.pod.Name, "uid", t.pod.UID, "container", want.Container)
		return
	}
	ctx, cancel := context.WithCancel(p.ctx)
	a := &attempt{
		container: c, cancel: cancel, turned: make(chan struct{}),
		vitals: newVitals(c, want, p.cfg.Now(), func(period time.Duration) time.Duration {
			if want.StartedAt.Before(p.began) {
				return rand.N(period)
			}
			return 0
		}),
	}
	t.attempts[want.Container] = a
	for k := range kinds {
		if turn, _ := a.vitals.next(k); turn != over {
			p.wg.Go(func() { p.run(ctx, t, a, k) })
		}
	}
}

// containerOf is the container of this name, an init container or a main one.
func containerOf(pod *v1.Pod, name string) *v1.Container {
	for _, list := range [][]v1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}

// turnLocked has all probes of the attempt look at their turn anew.
func (a *attempt) turnLocked() {
	close(a.turned)
	a.turned = make(chan struct{})
}

// Health returns what the probes of a pod have come to, by container: of each
// attempt of the last Set.
func (p *Prober) Health(uid string) map[string]lifecycle.Health {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.pods[uid]
	if t == nil {
		return nil
	}
	out := make(map[string]lifecycle.Health, len(t.attempts))
	for name, a := range t.attempts {
		out[name] = a.vitals.health()
	}
	return out
}

// Forget ends the probes of a pod and forgets what they found. It does not wait
// for the one that is under way; what that finds is of no interest any more.
func (p *Prober) Forget(uid string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.pods[uid]; t != nil {
		for _, a := range t.attempts {
			a.cancel()
		}
		delete(p.pods, uid)
	}
}

// run runs one probe of one attempt until it is over.
func (p *Prober) run(ctx context.Context, t *patient, a *attempt, k kind) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		p.mu.Lock()
		turn, due := a.vitals.next(k)
		turned := a.turned
		p.mu.Unlock()
		var at <-chan time.Time
		switch turn {
		case over:
			return
		case running:
			timer.Reset(due.Sub(p.cfg.Now()))
			at = timer.C
		}
		select {
		case <-ctx.Done():
			return
		case <-turned:
		case <-at:
			p.turn(ctx, t, a, k)
		}
	}
}

// turn probes once and takes in what was found.
func (p *Prober) turn(ctx context.Context, t *patient, a *attempt, k kind) {
	p.mu.Lock()
	if turn, _ := a.vitals.next(k); turn != running {
		p.mu.Unlock()
		return
	}
	s := subject{pod: t.pod, ip: t.ip, container: a.container, id: a.vitals.id, kind: k, spec: probeOf(a.container, k)}
	p.mu.Unlock()
	found, message := p.probe(ctx, s)
	p.mu.Lock()
	// What is cancelled was not asked any more, and whoever cancels holds the lock.
	if ctx.Err() != nil {
		p.mu.Unlock()
		return
	}
	changed := a.vitals.fold(k, found, message, p.cfg.Now())
	now := a.vitals.health()
	if changed && k != readiness {
		a.turnLocked()
	}
	p.mu.Unlock()
	if changed {
		p.cfg.Logger.Info("health of a container changed", "pod", s.pod.Name, "namespace", s.pod.Namespace, "uid", s.pod.UID,
			"container", s.container.Name, "probe", k.String(), "started", now.Started, "ready", now.Ready, "failed", now.Failed != nil)
		p.cfg.Wake(string(s.pod.UID))
	}
}
