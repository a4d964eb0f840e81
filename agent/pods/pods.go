package pods

import (
	"context"
	"fmt"
	goruntime "runtime"
	"sync"
	"time"

	"github.com/davit-agent/davit/agent/lifecycle"
	"github.com/davit-agent/davit/agent/pods/record"
	"github.com/davit-agent/davit/runtime"
)

// relist is how often everything is looked at although nothing happened: the
// safety net under events.
const relist = 5 * time.Minute

// Pods runs the pods of a node.
type Pods struct {
	cfg   Config
	d     Deps
	store *record.Store
	addrs *addresses

	mu      sync.Mutex
	workers map[string]*worker
	// unreadable are the UIDs of records that could not be read: their pods
	// are neither run nor removed.
	unreadable map[string]bool
	// sweeping are the UIDs of which something without a record is being removed,
	// or is to be: pods of theirs are not admitted.
	sweeping map[string]bool
	qos      sync.Mutex // held while the burstable pods' sum is made and set
	running  sync.WaitGroup
	pings    chan struct{}
	starts   slots
	ready    chan struct{} // closed when all recorded pods were looked at
	clamped  sync.Once
}

// New opens the store below cfg.StateDir.
func New(cfg Config, d Deps) (*Pods, error) {
	store, err := record.Open(cfg.StateDir)
	if err != nil {
		return nil, err
	}
	return &Pods{
		cfg: cfg, d: d, store: store, addrs: newAddresses(),
		workers: map[string]*worker{}, unreadable: map[string]bool{}, sweeping: map[string]bool{},
		pings:  make(chan struct{}),
		ready:  make(chan struct{}),
		starts: make(slots, startsPerCPU*goruntime.NumCPU()),
	}, nil
}

// Run takes up all recorded pods and then follows source and runtime until ctx
// is cancelled. It returns when every worker has left its pod, alive.
func (p *Pods) Run(ctx context.Context) error {
	defer p.running.Wait()
	if err := p.takeUp(ctx); err != nil {
		return err
	}
	p.setQoS() // a reboot loses it
	p.reconcile(ctx)
	sweep := make(chan struct{}, 1)
	p.running.Go(func() { p.sweepOrphans(ctx, sweep) })
	p.running.Go(func() { p.keepLimits(ctx) })
	tick := time.NewTicker(relist)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.pings:
		case uid := <-p.d.Source.Changes():
			p.consider(ctx, uid)
		case uid := <-p.d.Watcher.Events():
			if uid == "" {
				wake(sweep)
			}
			p.wake(uid)
		case <-tick.C:
			wake(sweep)
			p.setQoS()
			p.reconcile(ctx)
		}
	}
}

// Alive returns nil if Run's loop turns, soon enough for ctx.
func (p *Pods) Alive(ctx context.Context) error {
	select {
	case p.pings <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("asking the pods' loop: %w", ctx.Err())
	}
}

// takeUp starts a worker for every record.
func (p *Pods) takeUp(ctx context.Context) error {
	records, leftovers, problems := p.store.Load()
	for _, err := range problems {
		p.d.Logger.Error("cannot take up a pod; it is left as it is", "err", err)
	}
	if err := p.noteUnreadable(records, leftovers); err != nil {
		return err
	}
	p.mu.Lock()
	for _, uid := range leftovers {
		p.sweeping[uid] = true
		p.running.Go(func() { p.clearLeftover(ctx, uid) })
	}
	p.mu.Unlock()
	var known []runtime.ContainerRef
	for _, r := range records {
		for name, c := range r.Facts.Containers {
			if a := c.Current; a != nil && !a.Removed {
				known = append(known, runtime.ContainerRef{
					Pod:  runtime.PodRef{UID: r.UID, Namespace: r.Pod.Namespace, Name: r.Pod.Name},
					Name: name, Attempt: a.Number, ID: a.ID,
				})
			}
		}
		if holdsAddresses(r.Facts) {
			if other := p.addrs.hold(r.UID, r.Facts.PodIPs); other != "" {
				p.d.Logger.Error("two pods have recorded the same address", "uid", r.UID, "other", other, "addresses", r.Facts.PodIPs)
			}
		}
	}
	p.d.Watcher.Adopt(known)
	p.mu.Lock()
	defer p.mu.Unlock()
	var looks sync.WaitGroup
	for _, r := range records {
		looks.Add(1)
		w := &worker{uid: r.UID, pod: r.Pod, origin: r.Origin, facts: r.Facts, accepted: true, looked: sync.OnceFunc(looks.Done)}
		w.active.Store(r.Facts.Ended == nil)
		p.startLocked(ctx, w)
	}
	p.running.Go(func() { looks.Wait(); close(p.ready) })
	return nil
}

// Ready is closed when Run has looked at all pods that were on record: what is
// reported then is all there is.
func (p *Pods) Ready() <-chan struct{} { return p.ready }

// noteUnreadable remembers which directories hold a record that Load could not
// read.
func (p *Pods) noteUnreadable(records []record.Entry, leftovers []string) error {
	uids, err := p.store.UIDs()
	if err != nil {
		return err
	}
	for _, uid := range uids {
		p.unreadable[uid] = true
	}
	for _, r := range records {
		delete(p.unreadable, r.UID)
	}
	for _, uid := range leftovers {
		delete(p.unreadable, uid)
	}
	for uid := range p.unreadable { // what runs of it has its addresses, if they can be told
		if f, err := p.store.Facts(uid); err == nil {
			p.addrs.hold(uid, f.PodIPs)
		}
	}
	return nil
}

// clearLeftover removes the directory of a pod that was never accepted, or
// whose removal was cut, however often that takes. Nobody waits for it but a pod
// of the same UID.
func (p *Pods) clearLeftover(ctx context.Context, uid string) {
	for retry := retryMin; ctx.Err() == nil; retry = min(2*retry, retryMax) {
		sctx, cancel := context.WithTimeout(ctx, stepTimeout)
		err := p.d.Volumes.Teardown(sctx, p.store.Dir(uid))
		cancel()
		if err == nil {
			err = p.store.Remove(uid)
		}
		if err == nil {
			p.mu.Lock()
			delete(p.sweeping, uid)
			p.mu.Unlock()
			p.wake(uid)
			return
		}
		p.d.Logger.Warn("cannot remove what is left of a pod yet", "uid", uid, "err", err)
		select {
		case <-time.After(retry):
		case <-ctx.Done():
		}
	}
}

// holdsAddresses tells whether a pod with these facts still needs its addresses:
// one that was torn down for good reports them but does not use them.
func holdsAddresses(f lifecycle.Facts) bool {
	return len(f.PodIPs) > 0 && !f.Sandbox.TornDown
}

// reconcile considers every desired pod and wakes every worker.
func (p *Pods) reconcile(ctx context.Context) {
	for _, d := range p.d.Source.List() {
		p.ensure(ctx, string(d.Pod.UID))
	}
	p.wake("")
}

// consider looks at a pod that its source says has changed; "" is all.
func (p *Pods) consider(ctx context.Context, uid string) {
	if uid == "" {
		p.reconcile(ctx)
		return
	}
	p.ensure(ctx, uid)
	p.wake(uid)
}

// ensure starts a worker for uid if the pod is desired, has none, and nothing
// stands in its way.
func (p *Pods) ensure(ctx context.Context, uid string) {
	want, ok := p.d.Source.Get(uid)
	if !ok {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.workers[uid] != nil, p.predecessorLocked(want):
	case p.unreadable[uid]:
		p.d.Logger.Error("a desired pod has a record that cannot be read; it is left as it is", "uid", uid, "dir", p.store.Dir(uid))
	default:
		p.startLocked(ctx, &worker{uid: uid, pod: want.Pod, origin: want.Origin})
	}
}

// predecessorLocked tells whether another pod of the same name is still there:
// an edited manifest's old pod, which has to go first, as with kubelet's static
// pods.
func (p *Pods) predecessorLocked(want Desired) bool {
	for uid, w := range p.workers {
		if uid != string(want.Pod.UID) && w.pod.Namespace == want.Pod.Namespace && w.pod.Name == want.Pod.Name {
			return true
		}
	}
	return false
}

func (p *Pods) startLocked(ctx context.Context, w *worker) {
	w.p = p
	w.wake = make(chan struct{}, 1)
	if w.looked == nil {
		w.looked = func() {}
	}
	w.log = p.d.Logger.With("pod", w.pod.Namespace+"/"+w.pod.Name, "uid", w.uid)
	p.workers[w.uid] = w
	p.running.Go(func() {
		if gone := w.run(ctx); gone {
			p.forget(ctx, w)
		}
	})
}

// forget ends a worker whose pod is gone, and lets in who waited for that.
func (p *Pods) forget(ctx context.Context, w *worker) {
	p.addrs.release(w.uid)
	p.d.Probes.Forget(w.uid)
	p.d.Hooks.Release(w.uid, "")
	p.d.Report.Delete(w.uid)
	p.mu.Lock()
	delete(p.workers, w.uid)
	p.mu.Unlock()
	p.setQoS()
	if ctx.Err() == nil {
		p.reconcile(ctx)
	}
}

// Wake has a pod looked at, or all for "": something that they wait for came.
func (p *Pods) Wake(uid string) { p.wake(uid) }

// wake wakes one worker, or all for "".
func (p *Pods) wake(uid string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if uid != "" {
		if w, ok := p.workers[uid]; ok {
			wake(w.wake)
		}
		return
	}
	for _, w := range p.workers {
		wake(w.wake)
	}
}

// wake never blocks: one wake that is not taken yet is as good as two.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

const (
	// startsPerCPU is how many containers start at once. Starting one is nearly
	// all CPU time of shim and runc: of 50 pods at once on 2 cores the last one
	// runs about a tenth earlier with it (test/bench).
	startsPerCPU = 4
	// startPatience is how long one waits for others; it goes ahead then, so that
	// starts that hang hold up nobody for long.
	startPatience = 5 * time.Second
)

// slots is a semaphore that is a courtesy, not a lock.
type slots chan struct{}

// take waits for a slot, but not for long, and returns what gives it back.
func (s slots) take(ctx context.Context) (done func()) {
	timer := time.NewTimer(startPatience)
	defer timer.Stop()
	select {
	case s <- struct{}{}:
		return func() { <-s }
	case <-timer.C:
	case <-ctx.Done():
	}
	return func() {}
}
