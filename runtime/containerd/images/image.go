package images

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	ctrdimages "github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/opencontainers/image-spec/identity"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/containerd/fault"
)

// labelSource is on image records that were pulled, with the value
// sourceRegistry: their target is what a registry calls the image.
const (
	labelSource    = "davit.io/source"
	sourceRegistry = "registry"
)

// normalise returns a reference in full, as docker.io/library/x:latest for x.
// Of a reference with tag and digest the digest counts.
func normalise(ref string) (reference.Named, error) {
	named, err := reference.ParseDockerRef(ref)
	if err != nil {
		return nil, fmt.Errorf("%w %q: %w", runtime.ErrInvalidImageName, ref, err)
	}
	return named, nil
}

// Image implements runtime.Runtime. It costs one round trip to the daemon, two
// calls side by side, for an image that it has returned before; the first call
// for an image reads its configuration and unpacks it where that is not done.
// What it returns must not be changed.
func (s *Store) Image(ctx context.Context, ref string) (*runtime.Image, error) {
	named, err := normalise(ref)
	if err != nil {
		return nil, err
	}
	img, err := s.image(s.withNS(ctx), named)
	if err != nil {
		return nil, fmt.Errorf("looking up image %q: %w", named, fault.Classify(err))
	}
	return img, nil
}

func (s *Store) image(ctx context.Context, named reference.Named) (*runtime.Image, error) {
	ref := named.String()
	rec, known, err := s.find(ctx, named)
	if err != nil || known != nil {
		return known, err
	}
	var img *runtime.Image
	err = s.detached(ctx, ref, func(ctx context.Context) error {
		if e, ok := s.cache.get(ref); ok && e.of(rec) && s.haveSnapshot(ctx, e.image.Snapshot) == nil {
			img = e.image // another call did it meanwhile
			return nil
		}
		img, err = s.readImage(ctx, named, rec)
		return err
	})
	if err != nil {
		return nil, err
	}
	return img, nil
}

// of tells whether an entry is about what a record says.
func (e cached) of(rec ctrdimages.Image) bool {
	return e.target == rec.Target.Digest && e.pulled == isPulled(rec)
}

func isPulled(rec ctrdimages.Image) bool { return rec.Labels[labelSource] == sourceRegistry }

// find returns the daemon's record of an image, and the image itself if the
// cache has it and it is still there.
func (s *Store) find(ctx context.Context, named reference.Named) (ctrdimages.Image, *runtime.Image, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	e, ok := s.cache.get(named.String())
	there := make(chan error, 1)
	if ok {
		go func() { there <- s.haveSnapshot(ctx, e.image.Snapshot) }()
	}
	rec, err := s.record(ctx, named)
	if errdefs.IsNotFound(err) {
		return rec, nil, fmt.Errorf("%w: %w", runtime.ErrImageNotFound, err)
	}
	if err != nil || !ok || !e.of(rec) || <-there != nil {
		return rec, nil, err
	}
	return rec, e.image, nil
}

func (s *Store) haveSnapshot(ctx context.Context, key string) error {
	if key == "" { // an image without layers
		return nil
	}
	_, err := s.snapshots().Stat(ctx, key)
	return err
}

// record returns the record for a reference. One by digest is also found among
// those of the same repository that have it under a tag, as images from
// archives do.
func (s *Store) record(ctx context.Context, named reference.Named) (ctrdimages.Image, error) {
	rec, err := s.records().Get(ctx, named.String())
	pinned, ok := named.(reference.Digested)
	if !ok || !errdefs.IsNotFound(err) {
		return rec, err
	}
	found, lerr := s.records().List(ctx, fmt.Sprintf("target.digest==%q", pinned.Digest().String()))
	if lerr != nil {
		return ctrdimages.Image{}, lerr
	}
	for _, rec := range found {
		if other, err := reference.ParseNormalizedNamed(rec.Name); err == nil && other.Name() == named.Name() {
			return rec, nil
		}
	}
	return ctrdimages.Image{}, err
}

// readImage reads all that runtime.Image holds, and unpacks the image first if
// that was not done. The cache has it then. It works under the lease that ctx
// carries, or one of its own.
func (s *Store) readImage(ctx context.Context, named reference.Named, rec ctrdimages.Image) (*runtime.Image, error) {
	m, config, err := readConfig(ctx, s.content(), rec.Target)
	if err != nil {
		return nil, fmt.Errorf("%w (its record is, but not its content for this platform): %w", runtime.ErrImageNotFound, err)
	}
	img := &runtime.Image{
		Name:        named.String(),
		ID:          m.Config.Digest.String(),
		RepoDigests: repoDigests(named, rec),
		Size:        sizeOf(m),
		Config:      config.Config,
		Snapshot:    identity.ChainID(config.RootFS.DiffIDs).String(),
	}
	if _, held := leases.FromContext(ctx); !held {
		lctx, done, err := s.leased(ctx, imageLease+shortHash(named.String()))
		if err != nil {
			return nil, err
		}
		defer done()
		ctx = lctx
	}
	if s.haveSnapshot(ctx, img.Snapshot) != nil {
		if err := client.NewImage(s.cfg.Client, rec).Unpack(ctx, s.cfg.Snapshotter); err != nil {
			return nil, fmt.Errorf("unpacking: %w", err)
		}
	}
	if img.Passwd, img.Group, err = s.accounts(ctx, img); err != nil {
		return nil, err
	}
	s.cache.put(named.String(), cached{target: rec.Target.Digest, pulled: isPulled(rec), image: img})
	return img, nil
}

// repoDigests are the names by digest under which a registry has an image: none
// for an image that came from an archive and was asked for by a tag.
func repoDigests(named reference.Named, rec ctrdimages.Image) []string {
	if _, digested := named.(reference.Digested); !digested && !isPulled(rec) {
		return nil
	}
	return []string{named.Name() + "@" + rec.Target.Digest.String()}
}

func sizeOf(m imagespec.Manifest) int64 {
	size := m.Config.Size
	for _, l := range m.Layers {
		size += l.Size
	}
	return size
}

// readConfig reads the manifest and the configuration of this machine's
// platform.
func readConfig(ctx context.Context, store content.Store, target imagespec.Descriptor) (imagespec.Manifest, imagespec.Image, error) {
	var config imagespec.Image
	m, err := ctrdimages.Manifest(ctx, store, target, platforms.Default())
	if err != nil {
		return m, config, fmt.Errorf("reading manifest: %w", err)
	}
	if m.Config.Size > maxDocument {
		return m, config, fmt.Errorf("configuration %s has %d bytes, at most %d are read", m.Config.Digest, m.Config.Size, maxDocument)
	}
	data, err := content.ReadBlob(ctx, store, m.Config)
	if err != nil {
		return m, config, fmt.Errorf("reading configuration: %w", err)
	}
	if err := json.Unmarshal(data, &config); err != nil {
		return m, config, fmt.Errorf("reading configuration %s: %w", m.Config.Digest, err)
	}
	return m, config, nil
}
