package images

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/davit-agent/davit/runtime"
)

// Times of the package.
const (
	wakeEvery      = time.Second      // at least between two wakes for progress
	lookupPatience = time.Second      // how long Ensure waits for a lookup
	lookupLimit    = 10 * time.Minute // of one lookup: it may unpack the image
	// retryAfter is how long a claim's failed pull stands: less than any back-off
	// (kubelet's begins with 10 s), and enough that a caller who does without
	// back-off is no burden to a registry.
	retryAfter = 5 * time.Second
	pollEvery  = 200 * time.Millisecond // of the progress that Pull tells
)

// Runtime is what the package needs of a runtime; see runtime.Runtime and
// runtime.Images.
type Runtime interface {
	// Image may take as long as it likes.
	Image(ctx context.Context, ref string) (*runtime.Image, error)
	Pull(ctx context.Context, req runtime.PullRequest) (*runtime.Image, error)
}

// Credentials are those of the node; see keyring.File.
type Credentials interface {
	// Lookup returns what is to be tried for an image, in this order, and the
	// problems that may be why something is missing.
	Lookup(image string) ([]runtime.Credential, []error)
}

// Metrics takes measurements.
type Metrics interface {
	// ImagePulled tells of the end of a pull, by one of the Results, and how
	// long it took from the moment it was begun (not from when it was asked for).
	ImagePulled(result string, took time.Duration)
}

// Results of pulls, for Metrics.
const (
	ResultSuccess   = "success"
	ResultError     = "error"
	ResultCancelled = "cancelled" // nobody wants it any more, or the agent leaves
)

// Config is what a Puller needs. Runtime and Log are required.
type Config struct {
	Runtime     Runtime
	Credentials Credentials // nil: the node has none
	Metrics     Metrics     // nil: nobody measures
	MaxParallel int         // pulls at a time; less than 1 is 1
	// Wake is called when Ensure is worth calling again for a pod: at the end of
	// a pull or lookup, and at most once a second as the text of Pulling
	// changes. It must not block, and it may call the Puller.
	Wake func(uid string)
	Log  *slog.Logger
	Now  func() time.Time // nil: time.Now
}

// ErrClosed is the answer of a Puller that was closed: the agent leaves.
var ErrClosed = errors.New("davit is leaving")

// Puller gets images onto the node. Its methods are safe for concurrent use.
type Puller struct {
	cfg    Config
	ctx    context.Context // of all lookups and pulls
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	claims  map[claimKey]*claim // of containers
	pulls   map[string]*pull    // that may be joined, by key
	queue   []*pull             // those of them that wait for their turn
	running int
}

// New returns a Puller; nothing happens before it is asked for an image.
func New(cfg Config) *Puller {
	cfg.MaxParallel = max(1, cfg.MaxParallel)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Wake == nil {
		cfg.Wake = func(string) {}
	}
	p := &Puller{cfg: cfg, claims: map[claimKey]*claim{}, pulls: map[string]*pull{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// Run waits until ctx is done, then closes the Puller.
func (p *Puller) Run(ctx context.Context) error {
	<-ctx.Done()
	p.Close()
	return nil
}

// Close cancels everything that is under way and returns when that has ended.
func (p *Puller) Close() {
	p.mu.Lock()
	p.closed = true
	queued := p.queue
	p.queue = nil
	for _, pl := range queued {
		p.endLocked(pl, nil, ErrClosed)
	}
	p.mu.Unlock()
	p.cancel()
	p.wg.Wait()
}

// Release forgets what a pod has asked for. What nobody else waits for is
// cancelled. To be called when the pod goes, and when it has ended.
func (p *Puller) Release(uid string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.claims {
		if c.uid == uid {
			p.dropLocked(c)
		}
	}
}

// Pulling tells how far that is which a pod waits for: texts for people, by
// Request.ContainerID.
func (p *Puller) Pulling(uid string) map[string]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string]string{}
	for _, c := range p.claims {
		switch {
		case c.uid != uid:
		case c.pull != nil && !c.pull.over():
			out[c.id] = p.stateLocked(c.pull, c.want.ref).Error()
		case c.found != nil && c.found.left && !c.found.over():
			out[c.id] = (&Pulling{Ref: c.want.ref, Stage: StageLooking}).Error()
		}
	}
	return out
}

// goLocked runs f in the background until it has ended; false: it is too late.
func (p *Puller) goLocked(f func()) bool {
	if p.closed {
		return false
	}
	p.wg.Go(f)
	return true
}
