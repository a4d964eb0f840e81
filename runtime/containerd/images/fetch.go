package images

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	ctrdimages "github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/unpack"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/semaphore"

	"github.com/davit-agent/davit/runtime/containerd/registry"
)

const (
	// maxDocument bounds manifests, indexes and configurations.
	maxDocument = registry.MaxDocument
	// maxLayers is more than overlayfs can stack (500 since Linux 5.12).
	maxLayers = 500
	// maxImage bounds what an image may claim to have, compressed.
	maxImage = 1 << 40
	// maxIndexes is how deep indexes may be nested.
	maxIndexes = 4
	// downloads is how many layers of one image are fetched at a time, as
	// containerd's CRI has it.
	downloads = 3
	// fetchTries is how often a blob is asked for whose transfer breaks off.
	fetchTries = 3
	fetchPause = 300 * time.Millisecond
)

// fetch brings the content of one image here and unpacks it as it comes.
type fetch struct {
	*pull
	access *registry.Access

	mu      sync.Mutex
	indexes int
}

func (f *fetch) run(ctx context.Context, target imagespec.Descriptor) error {
	if !ctrdimages.IsManifestType(target.MediaType) && !ctrdimages.IsIndexType(target.MediaType) {
		return fmt.Errorf("%s has the media type %q, which is no image's", target.Digest, target.MediaType)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	store := f.s.content()
	unpacker, err := unpack.NewUnpacker(ctx, store,
		unpack.WithUnpackPlatform(unpack.Platform{
			Platform: platforms.All, SnapshotterKey: f.s.cfg.Snapshotter, Snapshotter: f.s.snapshots(), Applier: f.s.cfg.Client.DiffService(),
		}),
		unpack.WithLimiter(semaphore.NewWeighted(downloads)),
		unpack.WithDuplicationSuppressor(&f.s.blobs))
	if err != nil {
		return err
	}
	children := ctrdimages.SetChildrenMappedLabels(store, ctrdimages.HandlerFunc(f.children), nil)
	err = ctrdimages.Dispatch(ctx, unpacker.Unpack(ctrdimages.Handlers(ctrdimages.HandlerFunc(f.blob), children)), nil, target)
	if err != nil {
		cancel()
	}
	if _, werr := unpacker.Wait(); err == nil {
		err = werr
	}
	return err
}

// blob fetches one blob, unless it is here. It is called under the lock of its
// digest. What cannot be completed is not left half-fetched.
func (f *fetch) blob(ctx context.Context, desc imagespec.Descriptor) ([]imagespec.Descriptor, error) {
	what, err := f.check(desc)
	if err != nil {
		return nil, err
	}
	// Neither addresses nor data that a manifest brings along are used, and no
	// annotation becomes part of the name under which the blob is written.
	desc.URLs, desc.Data, desc.Annotations = nil, nil, nil
	for try := 1; ; try++ {
		err = remotes.Fetch(ctx, f.s.content(), remotes.FetcherFunc(f.open), desc)
		if err == nil || errdefs.IsAlreadyExists(err) {
			f.progress.done(desc.Digest)
			return nil, nil
		}
		if try == fetchTries || ctx.Err() != nil || !brokeOff(err) {
			break
		}
		select {
		case <-time.After(fetchPause << try):
		case <-ctx.Done():
		}
	}
	actx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	if aerr := f.s.content().Abort(actx, remotes.MakeRefKey(ctx, desc)); aerr != nil && !errdefs.IsNotFound(aerr) {
		f.s.log.Debug("aborting ingest failed", "digest", desc.Digest, "error", aerr)
	}
	f.progress.lost(desc.Digest)
	return nil, fmt.Errorf("fetching %s %s: %w", what, desc.Digest, err)
}

// open has the transfer of a blob counted.
func (f *fetch) open(ctx context.Context, desc imagespec.Descriptor) (io.ReadCloser, error) {
	r, err := f.access.Fetch(ctx, desc)
	if err != nil {
		return nil, err
	}
	return &countedBlob{ReadCloser: r, desc: desc, progress: f.progress}, nil
}

// brokeOff tells whether a transfer that failed so may be gone on with. What a
// registry said, and what has been tried several times, is final.
func brokeOff(err error) bool {
	var remote *registry.Error
	var status *registry.StatusError
	if !errors.As(err, &remote) || errors.As(err, &status) {
		return false
	}
	var network net.Error
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.As(err, &network) && network.Timeout()
}

// check refuses what no image needs.
func (f *fetch) check(desc imagespec.Descriptor) (what string, err error) {
	most := int64(maxDocument)
	switch {
	case ctrdimages.IsManifestType(desc.MediaType):
		what = "manifest"
	case ctrdimages.IsIndexType(desc.MediaType):
		what = "index"
	case ctrdimages.IsConfigType(desc.MediaType):
		what = "configuration"
	default:
		what, most = "layer", maxImage
	}
	if err := desc.Digest.Validate(); err != nil {
		return what, fmt.Errorf("%s %q: %w", what, desc.Digest, err)
	}
	if desc.Size <= 0 || desc.Size > most {
		return what, fmt.Errorf("%s %s is said to have %d bytes: it must have from 1 to %d", what, desc.Digest, desc.Size, most)
	}
	return what, nil
}

// children are the blobs that a blob which is here needs for this platform.
func (f *fetch) children(ctx context.Context, desc imagespec.Descriptor) ([]imagespec.Descriptor, error) {
	switch {
	case ctrdimages.IsIndexType(desc.MediaType):
		return f.manifestOf(ctx, desc)
	case ctrdimages.IsManifestType(desc.MediaType):
		return f.parts(ctx, desc)
	case ctrdimages.IsConfigType(desc.MediaType):
		return nil, f.checkPlatform(ctx, desc)
	}
	return nil, nil
}

// manifestOf picks the best manifest of an index for this platform.
func (f *fetch) manifestOf(ctx context.Context, desc imagespec.Descriptor) ([]imagespec.Descriptor, error) {
	f.mu.Lock()
	f.indexes++
	depth := f.indexes
	f.mu.Unlock()
	if depth > maxIndexes {
		return nil, fmt.Errorf("index %s is nested more than %d deep", desc.Digest, maxIndexes)
	}
	all, err := ctrdimages.Children(ctx, f.s.content(), desc)
	if err != nil {
		return nil, fmt.Errorf("reading index %s: %w", desc.Digest, err)
	}
	here := platforms.Default()
	var fit []imagespec.Descriptor
	var others []imagespec.Platform
	for _, m := range all {
		switch {
		case !ctrdimages.IsManifestType(m.MediaType) && !ctrdimages.IsIndexType(m.MediaType):
		case m.Platform == nil:
			fit = append(fit, m) // its configuration tells
		case here.Match(*m.Platform):
			fit = append(fit, m)
		case m.Platform.OS != "unknown": // an attestation of another manifest
			others = append(others, *m.Platform)
		}
	}
	slices.SortStableFunc(fit, func(a, b imagespec.Descriptor) int {
		switch {
		case b.Platform == nil && a.Platform != nil, a.Platform != nil && here.Less(*a.Platform, *b.Platform):
			return -1
		case a.Platform == nil && b.Platform != nil, b.Platform != nil && here.Less(*b.Platform, *a.Platform):
			return 1
		}
		return 0
	})
	if len(fit) > 0 {
		return fit[:1], nil
	}
	if len(others) > 0 {
		return nil, fmt.Errorf("no match for platform in manifest %s: %w", desc.Digest, wrongPlatform(others))
	}
	return nil, fmt.Errorf("index %s holds no image", desc.Digest)
}

// parts are the configuration and layers of a manifest.
func (f *fetch) parts(ctx context.Context, desc imagespec.Descriptor) ([]imagespec.Descriptor, error) {
	all, err := ctrdimages.Children(ctx, f.s.content(), desc)
	if err != nil {
		return nil, fmt.Errorf("reading manifest %s: %w", desc.Digest, err)
	}
	if len(all) == 0 || !ctrdimages.IsConfigType(all[0].MediaType) {
		mediaType := ""
		if len(all) > 0 {
			mediaType = all[0].MediaType
		}
		return nil, fmt.Errorf("manifest %s is not of a container image: its configuration has the media type %q", desc.Digest, mediaType)
	}
	if len(all)-1 > maxLayers {
		return nil, fmt.Errorf("manifest %s has %d layers, at most %d are possible", desc.Digest, len(all)-1, maxLayers)
	}
	total := int64(0)
	for i, part := range all {
		if i > 0 && (!ctrdimages.IsLayerType(part.MediaType) || ctrdimages.IsNonDistributable(part.MediaType)) {
			return nil, fmt.Errorf("layer %s of manifest %s has the media type %q, which cannot be used", part.Digest, desc.Digest, part.MediaType)
		}
		if _, err := f.check(part); err != nil {
			return nil, fmt.Errorf("manifest %s: %w", desc.Digest, err)
		}
		if total += part.Size; total > maxImage {
			return nil, fmt.Errorf("manifest %s: its layers are said to have more than %d bytes", desc.Digest, int64(maxImage))
		}
	}
	f.progress.expect(all[0], all[1:])
	return all, nil
}

// checkPlatform tells whether an image's configuration is for this machine.
func (f *fetch) checkPlatform(ctx context.Context, desc imagespec.Descriptor) error {
	data, err := content.ReadBlob(ctx, f.s.content(), desc)
	if err != nil {
		return fmt.Errorf("reading configuration %s: %w", desc.Digest, err)
	}
	var config imagespec.Image
	if err := json.Unmarshal(data, &config); err != nil {
		return fmt.Errorf("reading configuration %s: %w", desc.Digest, err)
	}
	p := config.Platform
	if p.OS == "" || p.Architecture == "" { // it does not say
		return nil
	}
	if !platforms.Default().Match(platforms.Normalize(p)) {
		return fmt.Errorf("no match for platform: %w", wrongPlatform([]imagespec.Platform{p}))
	}
	return nil
}
