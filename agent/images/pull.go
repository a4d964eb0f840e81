package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/davit-agent/davit/runtime"
)

// pull is one call of Runtime.Pull, begun or waiting for its turn. Its fields
// belong to the Puller's mutex.
type pull struct {
	key    string
	name   string // normalised
	creds  []runtime.Credential
	claims map[*claim]struct{}

	cancel   context.CancelFunc // nil: it waits for its turn
	progress runtime.PullProgress
	told     time.Time   // of the last wake for progress
	toldText string      // of then
	due      *time.Timer // of the next, if there is something new

	ended chan struct{} // closed when img and err are there
	img   *runtime.Image
	err   error
}

// keyOf tells pulls apart by image and credentials.
func keyOf(name string, creds []runtime.Credential) string {
	data, err := json.Marshal(creds)
	if err != nil {
		panic(err) // a slice of strings
	}
	sum := sha256.Sum256(data)
	return name + " " + hex.EncodeToString(sum[:])
}

// join has a claim wait for a pull, which is begun if there is none.
func (p *Puller) join(c *claim, name string, creds []runtime.Credential, notes []string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return ErrClosed
	case c.gone:
		return pullFailed(c.want.ref, context.Canceled, nil)
	}
	if len(notes) > 0 {
		p.cfg.Log.Warn("cannot use some credentials", "image", name, "problems", notes)
	}
	key := keyOf(name, creds)
	pl := p.pulls[key]
	if pl == nil {
		pl = &pull{key: key, name: name, creds: creds, claims: map[*claim]struct{}{}, ended: make(chan struct{})}
		p.pulls[key] = pl
		if p.running < p.cfg.MaxParallel {
			p.startLocked(pl)
		} else {
			p.queue = append(p.queue, pl)
		}
		pl.toldText = p.stateLocked(pl, name).Error() // Ensure tells it
	}
	pl.claims[c] = struct{}{}
	c.pull, c.notes = pl, notes
	return nil
}

// leaveLocked ends a claim's interest in its pull. The last who leaves cancels
// it; whoever comes after that begins another.
func (p *Puller) leaveLocked(c *claim) {
	pl := c.pull
	if pl == nil {
		return
	}
	c.pull = nil
	delete(pl.claims, c)
	if len(pl.claims) > 0 || pl.over() {
		return
	}
	p.forgetLocked(pl)
	if pl.cancel != nil {
		pl.cancel()
		return
	}
	p.queue = slices.DeleteFunc(p.queue, func(other *pull) bool { return other == pl })
	p.endLocked(pl, nil, context.Canceled)
	p.tellQueueLocked()
}

func (p *Puller) forgetLocked(pl *pull) {
	if p.pulls[pl.key] == pl {
		delete(p.pulls, pl.key)
	}
}

func (pl *pull) over() bool {
	select {
	case <-pl.ended:
		return true
	default:
		return false
	}
}

func (p *Puller) startLocked(pl *pull) {
	ctx, cancel := context.WithCancel(p.ctx)
	pl.cancel = cancel
	p.running++
	if !p.goLocked(func() { defer cancel(); p.run(ctx, pl) }) {
		cancel()
		p.running--
		p.endLocked(pl, nil, ErrClosed)
	}
}

// run pulls, and begins what waits next.
func (p *Puller) run(ctx context.Context, pl *pull) {
	log := p.cfg.Log.With("image", pl.name)
	log.Info("pulling image")
	began := p.cfg.Now()
	img, err := p.cfg.Runtime.Pull(ctx, runtime.PullRequest{
		Ref: pl.name, Credentials: pl.creds,
		Progress: func(now runtime.PullProgress) { p.progressed(pl, now) },
	})
	took := p.cfg.Now().Sub(began)
	result := ResultSuccess
	switch {
	case err == nil:
		log.Info("image pulled", "took", took, "id", img.ID, "bytes", img.Size)
	case ctx.Err() != nil:
		result = ResultCancelled
		log.Info("image pull cancelled", "after", took)
	default:
		result = ResultError
		log.Warn("cannot pull image", "after", took, "err", err)
	}
	if p.cfg.Metrics != nil {
		p.cfg.Metrics.ImagePulled(result, took)
	}
	p.mu.Lock()
	p.running--
	p.endLocked(pl, img, err)
	for p.running < p.cfg.MaxParallel && len(p.queue) > 0 {
		next := p.queue[0]
		p.queue = p.queue[1:]
		p.startLocked(next)
		p.tellLocked(next)
	}
	p.tellQueueLocked()
	p.mu.Unlock()
}

// endLocked hands the outcome to all who wait for it.
func (p *Puller) endLocked(pl *pull, img *runtime.Image, err error) {
	p.forgetLocked(pl)
	pl.img, pl.err, pl.creds = img, err, nil
	if pl.due != nil {
		pl.due.Stop()
	}
	close(pl.ended)
	p.notifyLocked(pl)
}

// notifyLocked wakes those who wait, soon: not under the mutex.
func (p *Puller) notifyLocked(pl *pull) {
	var calls []func()
	for c := range pl.claims {
		calls = append(calls, c.notify)
	}
	if len(calls) == 0 {
		return
	}
	p.goLocked(func() {
		for _, notify := range calls {
			notify()
		}
	})
}

func (p *Puller) progressed(pl *pull, now runtime.PullProgress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pl.progress = now
	p.tellLocked(pl)
}

// tellQueueLocked tells all who wait for their turn that it may be nearer.
func (p *Puller) tellQueueLocked() {
	for _, pl := range p.queue {
		p.tellLocked(pl)
	}
}

// tellLocked wakes those who wait if there is something new to read, at once or
// when the last time is long enough ago.
func (p *Puller) tellLocked(pl *pull) {
	text := p.stateLocked(pl, pl.name).Error()
	if pl.due != nil || text == pl.toldText || pl.over() {
		return
	}
	wait := wakeEvery - p.cfg.Now().Sub(pl.told)
	if pl.told.IsZero() || wait <= 0 {
		pl.told, pl.toldText = p.cfg.Now(), text
		p.notifyLocked(pl)
		return
	}
	pl.due = time.AfterFunc(wait, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		pl.due, pl.told = nil, time.Time{}
		p.tellLocked(pl)
	})
}

// stateLocked tells how far a pull is.
func (p *Puller) stateLocked(pl *pull, ref string) *Pulling {
	if pl.cancel != nil {
		return &Pulling{Ref: ref, Stage: pl.progress.Stage, Progress: pl.progress}
	}
	return &Pulling{Ref: ref, Stage: StageWaiting, Running: p.running, Before: slices.Index(p.queue, pl)}
}

// outcome is how the claim's pull has ended, or how far it is.
func (p *Puller) outcome(c *claim, ref string) (*runtime.Image, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pl := c.pull
	switch {
	case pl == nil: // released by another call
		return nil, pullFailed(ref, context.Canceled, nil)
	case !pl.over():
		return nil, p.stateLocked(pl, ref)
	case pl.err != nil:
		return nil, pullFailed(ref, pl.err, c.notes)
	}
	return pl.img, nil
}

// Pull pulls an image for somebody who waits for it, with the node's credentials
// after those of the request, in turn with all other pulls. Progress is called
// from the caller's goroutine; its stages are also StageWaiting. A failure is an
// *Error; when ctx ends the error is that.
func (p *Puller) Pull(ctx context.Context, req runtime.PullRequest) (*runtime.Image, error) {
	name, err := normalise(req.Ref)
	if err != nil {
		return nil, err
	}
	creds := slices.Clone(req.Credentials)
	more, problems := p.nodeCredentials(name)
	creds = append(creds, more...)
	var notes []string
	for _, err := range problems {
		notes = append(notes, err.Error())
	}
	c := &claim{want: want{ref: req.Ref}, notify: func() {}}
	if err := p.join(c, name, creds, notes); err != nil {
		return nil, err
	}
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.leaveLocked(c)
	}()
	return p.await(ctx, c, req)
}

func (p *Puller) await(ctx context.Context, c *claim, req runtime.PullRequest) (*runtime.Image, error) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	p.mu.Lock()
	ended := c.pull.ended
	p.mu.Unlock()
	var told runtime.PullProgress
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		case <-ended:
		}
		img, err := p.outcome(c, req.Ref)
		var pulling *Pulling
		if !errors.As(err, &pulling) {
			return img, err
		}
		now := pulling.Progress
		now.Stage = pulling.Stage
		if req.Progress != nil && now != told {
			told = now
			req.Progress(now)
		}
	}
}
