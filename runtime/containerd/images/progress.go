package images

import (
	"io"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/davit-agent/davit/runtime"
)

// progressEvery is how often progress is told of, if there is any.
const progressEvery = 250 * time.Millisecond

// progress follows one pull.
type progress struct {
	mu    sync.Mutex
	sizes map[digest.Digest]int64 // of configuration and layers; nil until known
	have  map[digest.Digest]int64 // bytes that are here
	order []digest.Digest         // layers as the manifest lists them

	tell    func(runtime.PullProgress)
	stop    chan struct{}
	stopped chan struct{}
}

// newProgress calls tell, if it is not nil, from a goroutine of its own until
// end has returned.
func newProgress(tell func(runtime.PullProgress)) *progress {
	p := &progress{have: map[digest.Digest]int64{}, tell: tell, stop: make(chan struct{}), stopped: make(chan struct{})}
	if tell == nil {
		close(p.stopped)
		return p
	}
	go p.run()
	return p
}

func (p *progress) run() {
	defer close(p.stopped)
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	var told runtime.PullProgress
	for {
		if now := p.now(); now != told {
			told = now
			p.tell(now)
		}
		select {
		case <-tick.C:
		case <-p.stop:
			if now := p.now(); now != told {
				p.tell(now)
			}
			return
		}
	}
}

func (p *progress) end() {
	close(p.stop)
	<-p.stopped
}

func (p *progress) now() runtime.PullProgress {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sizes == nil {
		return runtime.PullProgress{Stage: runtime.PullResolving}
	}
	now := runtime.PullProgress{Stage: runtime.PullFetching, Layers: len(p.order)}
	for d, size := range p.sizes {
		now.Total += size
		now.Bytes += min(p.have[d], size)
	}
	for _, d := range p.order {
		if p.have[d] >= p.sizes[d] {
			now.LayersDone++
		}
	}
	if now.LayersDone == now.Layers && now.Bytes == now.Total {
		now.Stage = runtime.PullUnpacking
	}
	return now
}

// expect says what an image consists of.
func (p *progress) expect(config imagespec.Descriptor, layers []imagespec.Descriptor) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sizes, p.order = map[digest.Digest]int64{config.Digest: config.Size}, nil
	for _, l := range layers {
		p.sizes[l.Digest] = l.Size
		p.order = append(p.order, l.Digest)
	}
}

func (p *progress) read(d digest.Digest, from, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.have[d] = from + n
}

// done says that a blob is here.
func (p *progress) done(d digest.Digest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if size, ok := p.sizes[d]; ok {
		p.have[d] = size
	}
}

// lost says that what there was of a blob is not.
func (p *progress) lost(d digest.Digest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.have, d)
}

// all says that everything is here, layers too that were not fetched since
// another image has them unpacked.
func (p *progress) all() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for d, size := range p.sizes {
		p.have[d] = size
	}
}

// countedBlob tells of what is read of a blob.
type countedBlob struct {
	io.ReadCloser
	desc     imagespec.Descriptor
	progress *progress
	at       int64
}

// Read implements io.Reader.
func (b *countedBlob) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.at += int64(n)
		b.progress.read(b.desc.Digest, b.at-int64(n), int64(n))
	}
	return n, err
}

// Seek implements io.Seeker.
func (b *countedBlob) Seek(offset int64, whence int) (int64, error) {
	n, err := b.ReadCloser.(io.Seeker).Seek(offset, whence)
	if err == nil {
		b.at = n
	}
	return n, err
}
