package containerd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/davit-agent/davit/runtime"
)

// imageCache remembers images by normalised reference. An entry holds as long
// as the reference points to the same content and the snapshot is there, which
// two calls side by side tell; everything else (manifest, configuration, passwd
// and group file) follows from the content's digest. The zero value is ready.
type imageCache struct {
	mu    sync.Mutex
	byRef map[string]cachedImage
	bytes int // of passwd and group files

	preloading sync.Mutex // one Preload at a time
	reaped     sync.Once  // leases of an earlier process are gone
}

type cachedImage struct {
	target digest.Digest
	image  *runtime.Image
}

// Bounds of the cache. An entry without passwd and group is about 1 KiB.
const (
	maxCachedImages = 500
	maxCachedBytes  = 16 << 20
)

func (k *imageCache) get(ref string, target digest.Digest) *runtime.Image {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e, ok := k.byRef[ref]; ok && e.target == target {
		return e.image
	}
	return nil
}

func (k *imageCache) put(ref string, e cachedImage) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.byRef == nil {
		k.byRef = make(map[string]cachedImage)
	}
	k.dropLocked(ref)
	size := len(e.image.Passwd) + len(e.image.Group)
	for other := range k.byRef { // in no order: any victim will do
		if len(k.byRef) < maxCachedImages && k.bytes+size <= maxCachedBytes {
			break
		}
		k.dropLocked(other)
	}
	k.byRef[ref] = e
	k.bytes += size
}

func (k *imageCache) dropLocked(ref string) {
	if e, ok := k.byRef[ref]; ok {
		k.bytes -= len(e.image.Passwd) + len(e.image.Group)
		delete(k.byRef, ref)
	}
}

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
func (c *Client) Image(ctx context.Context, ref string) (*runtime.Image, error) {
	named, err := normalise(ref)
	if err != nil {
		return nil, err
	}
	img, err := c.image(c.withNS(ctx), named)
	if err != nil {
		return nil, fmt.Errorf("looking up image %q: %w", named, classify(err))
	}
	return img, nil
}

func (c *Client) image(ctx context.Context, named reference.Named) (*runtime.Image, error) {
	cl, err := c.conn()
	if err != nil {
		return nil, err
	}
	ref := named.String()
	rec, known, err := c.find(ctx, cl, named)
	if err != nil || known != nil {
		return known, err
	}
	var img *runtime.Image
	err = c.detached(ctx, "image "+ref, func(ctx context.Context) error {
		if img = c.images.get(ref, rec.Target.Digest); img != nil && c.haveSnapshot(ctx, cl, img.Snapshot) == nil {
			return nil // another call did it meanwhile
		}
		img, err = c.readImage(ctx, cl, named, rec)
		if err == nil {
			c.images.put(ref, cachedImage{rec.Target.Digest, img})
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return img, nil
}

// find returns the daemon's record of an image, and the image itself if the
// cache has it and it is still there.
func (c *Client) find(ctx context.Context, cl *client.Client, named reference.Named) (images.Image, *runtime.Image, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	ref := named.String()
	c.images.mu.Lock()
	cached, ok := c.images.byRef[ref]
	c.images.mu.Unlock()
	there := make(chan error, 1)
	if ok {
		go func() { there <- c.haveSnapshot(ctx, cl, cached.image.Snapshot) }()
	}
	rec, err := cl.ImageService().Get(ctx, ref)
	if errdefs.IsNotFound(err) {
		rec, err = byDigest(ctx, cl, named)
	}
	if errdefs.IsNotFound(err) {
		return rec, nil, fmt.Errorf("%w: %w", runtime.ErrImageNotFound, err)
	}
	if err != nil || !ok || cached.target != rec.Target.Digest || <-there != nil {
		return rec, nil, err
	}
	return rec, cached.image, nil
}

func (c *Client) haveSnapshot(ctx context.Context, cl *client.Client, key string) error {
	if key == "" { // an image without layers
		return nil
	}
	_, err := cl.SnapshotService(c.cfg.Snapshotter).Stat(ctx, key)
	return err
}

// byDigest finds the record for a reference by digest among those of the same
// repository that have it under a tag, as images from archives do.
func byDigest(ctx context.Context, cl *client.Client, named reference.Named) (images.Image, error) {
	none := fmt.Errorf("image %q: %w", named, errdefs.ErrNotFound)
	pinned, ok := named.(reference.Digested)
	if !ok {
		return images.Image{}, none
	}
	found, err := cl.ImageService().List(ctx, fmt.Sprintf("target.digest==%q", pinned.Digest().String()))
	if err != nil {
		return images.Image{}, err
	}
	for _, rec := range found {
		if other, err := reference.ParseNormalizedNamed(rec.Name); err == nil && other.Name() == named.Name() {
			return rec, nil
		}
	}
	return images.Image{}, none
}

// readImage reads all that runtime.Image holds, and unpacks the image first if
// that was not done.
func (c *Client) readImage(ctx context.Context, cl *client.Client, named reference.Named, rec images.Image) (*runtime.Image, error) {
	c.reapImageLeases(ctx, cl)
	m, config, err := readConfig(ctx, cl.ContentStore(), rec.Target)
	if err != nil {
		return nil, fmt.Errorf("%w (its record is, but not its content for this platform): %w", runtime.ErrImageNotFound, err)
	}
	img := &runtime.Image{
		Name:        named.String(),
		ID:          m.Config.Digest.String(),
		RepoDigests: []string{named.Name() + "@" + rec.Target.Digest.String()},
		Size:        m.Config.Size,
		Config:      config.Config,
		Snapshot:    identity.ChainID(config.RootFS.DiffIDs).String(),
	}
	for _, l := range m.Layers {
		img.Size += l.Size
	}
	ctx, done, err := c.leased(ctx, cl, imageLease+shortHash(named.String()))
	if err != nil {
		return nil, err
	}
	defer done()
	if c.haveSnapshot(ctx, cl, img.Snapshot) != nil {
		if err := client.NewImage(cl, rec).Unpack(ctx, c.cfg.Snapshotter); err != nil {
			return nil, fmt.Errorf("unpacking: %w", err)
		}
	}
	if img.Passwd, img.Group, err = c.accounts(ctx, cl, img); err != nil {
		return nil, err
	}
	return img, nil
}

// readConfig reads the manifest and the configuration of this machine's
// platform.
func readConfig(ctx context.Context, store content.Store, target imagespec.Descriptor) (imagespec.Manifest, imagespec.Image, error) {
	var config imagespec.Image
	m, err := images.Manifest(ctx, store, target, platforms.Default())
	if err != nil {
		return m, config, fmt.Errorf("reading manifest: %w", err)
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

// Prefixes of the names of leases that hold images while they are worked on.
const (
	imageLease   = "davit-image-"
	preloadLease = "davit-preload-"
)

func shortHash(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:8])
}

// leased makes the lease of that name and returns ctx with it, and a function
// that gives it up together with everything that nothing else holds. What an
// earlier holder of the name that was cut has left goes first: a write would go
// on where a half-written blob of the same name ends.
func (c *Client) leased(ctx context.Context, cl *client.Client, name string) (context.Context, func(), error) {
	ls := cl.LeasesService()
	drop := func(ctx context.Context) error {
		err := ls.Delete(ctx, leases.Lease{ID: name}, leases.SynchronousDelete)
		if errdefs.IsNotFound(err) {
			return nil
		}
		return err
	}
	if err := c.ensureNamespace(ctx); err != nil {
		return nil, nil, err
	}
	if err := drop(ctx); err != nil {
		return nil, nil, fmt.Errorf("deleting old lease %s: %w", name, err)
	}
	// The expiry is for a davit that never comes back.
	lease, err := ls.Create(ctx, leases.WithID(name), leases.WithExpiration(24*time.Hour))
	if err != nil {
		return nil, nil, fmt.Errorf("creating lease %s: %w", name, err)
	}
	return leases.WithLease(ctx, lease.ID), func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), opTimeout)
		defer cancel()
		if err := drop(ctx); err != nil {
			c.log.Warn("deleting lease failed", "lease", name, "error", err)
		}
	}, nil
}

// reapImageLeases deletes, once, the leases that earlier processes were cut in
// the middle of; no other process uses davit's namespace.
func (c *Client) reapImageLeases(ctx context.Context, cl *client.Client) {
	c.images.reaped.Do(func() {
		if err := deleteLeases(ctx, cl, imageLease); err != nil {
			c.log.Warn("deleting old leases failed", "error", err)
		}
	})
}

func deleteLeases(ctx context.Context, cl *client.Client, prefix string) error {
	ls := cl.LeasesService()
	all, err := ls.List(ctx)
	if err != nil {
		return fmt.Errorf("listing leases: %w", err)
	}
	var errs []error
	for _, l := range all {
		if !strings.HasPrefix(l.ID, prefix) {
			continue
		}
		if err := ls.Delete(ctx, l, leases.SynchronousDelete); err != nil && !errdefs.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("deleting lease %s: %w", l.ID, err))
		}
	}
	return errors.Join(errs...)
}
