package images

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/distribution/reference"
	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/images/keyring"
	"github.com/davit-agent/davit/runtime"
)

// Request is what one attempt of a container wants.
type Request struct {
	UID         string // of the pod: who is woken and released
	ContainerID string // of the attempt
	Ref         string // as it stands in the container's spec
	Policy      v1.PullPolicy
	// Secrets are the pod's pull secrets, in the order of its spec.
	Secrets []*v1.Secret
	// Missing are the names of pull secrets that do not exist.
	Missing []string
}

// claim is what somebody wants and how far that is. Its fields belong to the
// Puller's mutex.
type claim struct {
	uid    string
	id     string // Request.ContainerID
	want   want
	notify func()   // called without the mutex
	found  *lookup  // under way, or done and not looked at yet
	pull   *pull    // likewise
	notes  []string // of credentials that cannot be used, for the case of failure
	gone   bool     // dropped: it must not join a pull any more
	// failure is of the last pull, until retryAfter has passed since failedAt.
	failure  *Error
	failedAt time.Time
}

// claimKey tells claims apart.
type claimKey struct{ uid, id string }

func (r Request) key() claimKey { return claimKey{r.UID, r.ContainerID} }

// want is what makes two requests of a container the same.
type want struct {
	ref    string
	policy v1.PullPolicy
}

// lookup is one call of Runtime.Image.
type lookup struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when img and err are there
	img    *runtime.Image
	err    error
	left   bool // whoever asked has gone and wants to be woken
}

func (l *lookup) over() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// Ensure returns the image for a container if the policy allows to run it now.
// Otherwise the error is *Pulling, and the pod is woken when it is time to call
// again, or *Error, which is final: calling again tries afresh, but not within 5
// seconds of a failed pull. It waits for nothing longer than a second; when ctx
// ends or the Puller is closed the error is that.
func (p *Puller) Ensure(ctx context.Context, req Request) (*runtime.Image, error) {
	name, err := normalise(req.Ref)
	if err != nil {
		return nil, err
	}
	c, joined, failed := p.claim(req)
	if failed != nil {
		return nil, failed
	}
	if !joined {
		if req.Policy != v1.PullAlways {
			img, err := p.look(ctx, c, name)
			if err == nil || !errors.Is(err, runtime.ErrImageNotFound) {
				return img, p.settle(ctx, req, err)
			}
			if req.Policy == v1.PullNever {
				return nil, p.settle(ctx, req, neverPull(req.Ref))
			}
		}
		creds, notes := p.credentials(name, req)
		if err := p.join(c, name, creds, notes); err != nil {
			return nil, p.settle(ctx, req, err)
		}
	}
	img, err := p.outcome(c, req.Ref)
	return img, p.settle(ctx, req, err)
}

// claim returns the container's claim, whether it waits for a pull, and the
// failure that it was told a moment ago. A claim that wanted something else is
// dropped.
func (p *Puller) claim(req Request) (c *claim, joined bool, failed error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := want{req.Ref, req.Policy}
	c = p.claims[req.key()]
	if c != nil && c.want != w {
		p.dropLocked(c)
		c = nil
	}
	if c == nil {
		c = &claim{uid: req.UID, id: req.ContainerID, want: w, notify: func() { p.cfg.Wake(req.UID) }}
		p.claims[req.key()] = c
	}
	if c.failure != nil && p.cfg.Now().Sub(c.failedAt) < retryAfter {
		return c, false, c.failure
	}
	c.failure = nil
	return c, c.pull != nil, nil
}

// settle ends the claim unless err says that it goes on, and returns err as it
// is for the caller.
func (p *Puller) settle(ctx context.Context, req Request, err error) error {
	var pulling *Pulling
	if errors.As(err, &pulling) {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.claims[req.key()]
	var failed *Error
	switch {
	case err != nil && ctx.Err() != nil:
		err = ctx.Err()
	case err != nil && p.closed:
		err = ErrClosed
	case c != nil && c.pull != nil && errors.As(err, &failed):
		p.leaveLocked(c)
		c.failure, c.failedAt = failed, p.cfg.Now()
		return err
	}
	if c != nil {
		p.dropLocked(c)
	}
	return err
}

// dropLocked ends a claim, and cancels what was for it alone.
func (p *Puller) dropLocked(c *claim) {
	delete(p.claims, claimKey{c.uid, c.id})
	c.gone = true
	if c.found != nil {
		c.found.left = false
		c.found.cancel()
		c.found = nil
	}
	p.leaveLocked(c)
}

// look asks whether the image is here. *Pulling: that takes longer than a caller
// waits.
func (p *Puller) look(ctx context.Context, c *claim, name string) (*runtime.Image, error) {
	l := p.lookup(c, name)
	if l == nil {
		return nil, ErrClosed
	}
	p.mu.Lock()
	wait := lookupPatience
	if l.left { // once is enough
		wait = 0
	}
	p.mu.Unlock()
	patience := time.NewTimer(wait)
	defer patience.Stop()
	select {
	case <-l.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-patience.C:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !l.over() {
		l.left = true
		return nil, &Pulling{Ref: c.want.ref, Stage: StageLooking}
	}
	c.found = nil
	switch {
	case l.err == nil, errors.Is(l.err, runtime.ErrImageNotFound):
		return l.img, l.err
	}
	return nil, inspectFailed(c.want.ref, l.err)
}

// lookup returns the claim's lookup, which is begun if there is none; nil: the
// Puller is closed.
func (p *Puller) lookup(c *claim, name string) *lookup {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.found != nil {
		return c.found
	}
	ctx, cancel := context.WithTimeout(p.ctx, lookupLimit)
	l := &lookup{cancel: cancel, done: make(chan struct{})}
	if !p.goLocked(func() {
		defer cancel()
		img, err := p.cfg.Runtime.Image(ctx, name)
		p.mu.Lock()
		l.img, l.err = img, err
		close(l.done)
		left := l.left
		p.mu.Unlock()
		if left {
			c.notify()
		}
	}) {
		cancel()
		return nil
	}
	c.found = l
	return l
}

// credentials returns the credentials for a request, the pod's first, and what
// is to be told of others if they were not enough.
func (p *Puller) credentials(name string, req Request) ([]runtime.Credential, []string) {
	creds, problems := keyring.Secrets(req.Secrets).Lookup(name)
	var notes []string
	if len(req.Missing) > 0 {
		notes = append(notes, fmt.Sprintf("pull secrets that do not exist: %s", strings.Join(req.Missing, ", ")))
	}
	more, faults := p.nodeCredentials(name)
	for _, c := range more {
		if !slices.Contains(creds, c) {
			creds = append(creds, c)
		}
	}
	for _, err := range append(problems, faults...) {
		notes = append(notes, err.Error())
	}
	return creds, notes
}

func (p *Puller) nodeCredentials(name string) ([]runtime.Credential, []error) {
	if p.cfg.Credentials == nil {
		return nil, nil
	}
	return p.cfg.Credentials.Lookup(name)
}

// normalise returns a reference in full, as docker.io/library/x:latest for x. Of
// a reference with tag and digest the digest counts.
func normalise(ref string) (string, error) {
	named, err := reference.ParseDockerRef(ref)
	if err != nil {
		return "", invalidName(ref, err)
	}
	return named.String(), nil
}
