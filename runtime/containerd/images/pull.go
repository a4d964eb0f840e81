package images

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"

	ctrdimages "github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/log"
	"github.com/distribution/reference"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sirupsen/logrus"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/containerd/fault"
	"github.com/davit-agent/davit/runtime/containerd/registry"
)

// Pull implements runtime.Images. Its errors read as those of containerd's CRI
// do. When nothing arrives for Config.PullStall while it waits for a registry,
// it gives up with a registry.StallError.
func (s *Store) Pull(ctx context.Context, req runtime.PullRequest) (*runtime.Image, error) {
	named, err := normalise(req.Ref)
	if err != nil {
		return nil, err
	}
	ctx, watch := registry.NewWatch(quiet(s.withNS(ctx)), s.cfg.PullStall)
	defer watch.Stop()
	progress := newProgress(req.Progress)
	defer progress.end()
	p := &pull{s: s, named: named, watch: watch, progress: progress}
	img, err := p.run(ctx, req.Credentials)
	if err == nil {
		return img, nil
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	var remote *registry.Error
	if !errors.As(err, &remote) {
		err = fault.Classify(err)
	}
	return nil, fmt.Errorf("failed to pull and unpack image %q: %w", named, err)
}

// quiet keeps containerd's library from logging to standard error.
func quiet(ctx context.Context) context.Context {
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	logger.SetLevel(logrus.PanicLevel)
	return log.WithLogger(ctx, logrus.NewEntry(logger))
}

// pull is one pull of an image.
type pull struct {
	s        *Store
	named    reference.Named
	watch    *registry.Watch
	progress *progress
}

// run pulls with one credential after the other, and with none at last.
func (p *pull) run(ctx context.Context, creds []runtime.Credential) (*runtime.Image, error) {
	var first error
	for i := 0; i <= len(creds); i++ {
		var cred runtime.Credential
		if i < len(creds) {
			cred = creds[i]
		}
		img, asked, err := p.with(ctx, cred)
		if err == nil {
			return img, nil
		}
		if first == nil {
			first = err
		}
		if !asked || !registry.Denied(err) || ctx.Err() != nil {
			break // no credential would make it better
		}
	}
	return nil, first
}

// with pulls with one credential; asked: a registry wanted to see it.
func (p *pull) with(ctx context.Context, cred runtime.Credential) (_ *runtime.Image, asked bool, _ error) {
	access, err := registry.Open(ctx, registry.Config{HostsDir: p.s.cfg.HostsDir, Watch: p.watch, Credential: cred}, p.named)
	if err != nil {
		return nil, false, &registry.Error{Err: err}
	}
	defer access.Close()
	target, err := access.Resolve(ctx)
	if err != nil {
		return nil, access.Asked(), fmt.Errorf("failed to resolve reference %q: %w", p.named, err)
	}
	if img := p.unmoved(ctx, target); img != nil {
		return img, access.Asked(), nil
	}
	img, err := p.take(ctx, access, target)
	return img, access.Asked(), err
}

// unmoved returns the image that is here if it is the one to be pulled, and
// whole.
func (p *pull) unmoved(ctx context.Context, target imagespec.Descriptor) *runtime.Image {
	rec, err := p.s.records().Get(ctx, p.named.String())
	if err != nil || rec.Target.Digest != target.Digest || !isPulled(rec) {
		return nil
	}
	img, err := p.s.image(ctx, p.named)
	if err != nil {
		return nil // what is missing is fetched
	}
	return img
}

// take fetches and unpacks what the registry named, under a lease, and moves
// the name to it.
func (p *pull) take(ctx context.Context, access *registry.Access, target imagespec.Descriptor) (*runtime.Image, error) {
	ctx, done, err := p.s.leased(ctx, pullLease+rand.Text())
	if err != nil {
		return nil, err
	}
	defer done()
	f := &fetch{pull: p, access: access}
	if err := f.run(ctx, target); err != nil {
		return nil, err
	}
	rec := ctrdimages.Image{Name: p.named.String(), Target: target, Labels: map[string]string{labelSource: sourceRegistry}}
	if err := p.s.tag(ctx, rec); err != nil {
		return nil, err
	}
	img, err := p.s.image(ctx, p.named)
	if err == nil {
		p.progress.all()
	}
	return img, err
}
