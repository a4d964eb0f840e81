package images

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	ctrdimages "github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/images/archive"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/davit-agent/davit/runtime/containerd/fault"
)

// Load implements runtime.Images. What the archive names moves to its images;
// names that it gives to nothing that can be unpacked stay where they are.
func (s *Store) Load(ctx context.Context, r io.Reader) ([]string, error) {
	names, err := s.load(s.withNS(ctx), r)
	if err != nil {
		return nil, fmt.Errorf("loading image archive: %w", fault.Classify(err))
	}
	return names, nil
}

func (s *Store) load(ctx context.Context, r io.Reader) ([]string, error) {
	ctx, done, err := s.leased(ctx, loadLease+rand.Text())
	if err != nil {
		return nil, err
	}
	defer done()
	found, names, err := s.readArchive(ctx, r)
	if err != nil {
		return nil, err
	}
	if err := s.unpackAll(ctx, names, found); err != nil {
		return nil, err
	}
	for _, name := range names {
		if err := s.tag(ctx, ctrdimages.Image{Name: name, Target: found[name]}); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// What an archive may expand to: a gzip stream of zeros grows 1,000-fold, and
// a sparse entry of a tar file is as large as it says.
const (
	freeExpansion = 256 << 20
	maxExpansion  = 100
)

// readArchive copies an archive's blobs into the content store and returns the
// images in it by name, and the names in ascending order.
func (s *Store) readArchive(ctx context.Context, r io.Reader) (map[string]imagespec.Descriptor, []string, error) {
	in := &counted{Reader: r}
	tar, err := plain(bufio.NewReaderSize(in, 1<<16))
	if err != nil {
		return nil, nil, err
	}
	store := &boundedStore{Store: s.content(), in: in, prefix: rand.Text()}
	desc, err := archive.ImportIndex(ctx, store, tar)
	switch {
	case err == nil:
		_, err = io.Copy(io.Discard, io.LimitReader(tar, freeExpansion)) // up to the checksum
	case strings.Contains(err.Error(), "unrecognized image format"):
		err = errors.New("it is neither an OCI layout nor a docker archive, or is cut short")
	}
	if err != nil {
		return nil, nil, err
	}
	if desc.Size > maxDocument {
		return nil, nil, fmt.Errorf("its index has %d bytes, at most %d are read", desc.Size, maxDocument)
	}
	data, err := content.ReadBlob(ctx, store, desc)
	if err != nil {
		return nil, nil, fmt.Errorf("reading index: %w", err)
	}
	var index imagespec.Index
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, nil, fmt.Errorf("reading index: %w", err)
	}
	if len(index.Manifests) == 0 {
		return nil, nil, errors.New("it holds no image")
	}
	found := make(map[string]imagespec.Descriptor)
	var names []string
	for _, m := range index.Manifests {
		name, err := nameOf(m)
		if err != nil {
			return nil, nil, err
		}
		if _, twice := found[name]; !twice {
			names = append(names, name)
		}
		found[name] = m
	}
	slices.Sort(names)
	return found, names, nil
}

// counted counts what is read.
type counted struct {
	io.Reader
	n atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// boundedStore takes no more than its source can be meant to hold. Archives
// name their entries as they like: a prefix keeps a half-written entry from
// being gone on with by another archive's of that name.
type boundedStore struct {
	content.Store
	prefix  string
	in      *counted
	written atomic.Int64
}

// Writer implements content.Ingester.
func (b *boundedStore) Writer(ctx context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	var o content.WriterOpts
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return nil, err
		}
	}
	w, err := b.Store.Writer(ctx, content.WithRef(b.prefix+o.Ref), content.WithDescriptor(o.Desc))
	if err != nil {
		return nil, err
	}
	return &boundedWriter{Writer: w, store: b}, nil
}

type boundedWriter struct {
	content.Writer
	store *boundedStore
}

func (w *boundedWriter) Write(p []byte) (int, error) {
	all, in := w.store.written.Add(int64(len(p))), w.store.in.n.Load()
	if all > freeExpansion && all > maxExpansion*in {
		return 0, fmt.Errorf("%d bytes of it expand to more than %d: it is not taken for an image", in, all)
	}
	return w.Writer.Write(p)
}

// plain returns what a stream holds uncompressed.
func plain(r *bufio.Reader) (io.Reader, error) {
	magic, err := r.Peek(4)
	if err != nil {
		return nil, fmt.Errorf("reading its first bytes: %w", err)
	}
	switch {
	case magic[0] == 0x1f && magic[1] == 0x8b: // RFC 1952
		return gzip.NewReader(r)
	case string(magic) == "\x28\xb5\x2f\xfd": // RFC 8878
		return nil, errors.New("zstd archives are not supported, gzip and plain ones are")
	}
	return r, nil
}

// nameOf returns the name that an archive gives to an image.
func nameOf(m imagespec.Descriptor) (string, error) {
	name := m.Annotations[ctrdimages.AnnotationImageName]
	if name == "" {
		// By the OCI image layout's specification this may be a tag alone.
		name = m.Annotations[imagespec.AnnotationRefName]
		if !strings.ContainsAny(name, "/:@") {
			return "", fmt.Errorf("image %s has no name: annotation %s or %s must give one",
				m.Digest, ctrdimages.AnnotationImageName, imagespec.AnnotationRefName)
		}
	}
	named, err := normalise(name)
	if err != nil {
		return "", err
	}
	return named.String(), nil
}

func (s *Store) unpackAll(ctx context.Context, names []string, found map[string]imagespec.Descriptor) error {
	for _, name := range names {
		if err := s.unpack(ctx, name, found[name]); err != nil {
			return fmt.Errorf("image %s: %w", name, err)
		}
	}
	return nil
}

// unpack makes sure that an image is whole and for this platform, ties its
// content together for the garbage collector, and unpacks it.
func (s *Store) unpack(ctx context.Context, name string, target imagespec.Descriptor) error {
	store, here := s.content(), platforms.Default()
	if all, err := ctrdimages.Platforms(ctx, store, target); err == nil && len(all) > 0 && !slices.ContainsFunc(all, here.Match) {
		return wrongPlatform(all)
	}
	ok, _, _, missing, err := ctrdimages.Check(ctx, store, target, here)
	if err != nil {
		return fmt.Errorf("checking content: %w", err)
	}
	if !ok || len(missing) > 0 {
		what := "its manifest"
		if len(missing) > 0 {
			what = missing[0].Digest.String()
		}
		return fmt.Errorf("the archive has not got %s, or has it damaged", what)
	}
	mark := ctrdimages.SetChildrenLabels(store, ctrdimages.FilterPlatforms(ctrdimages.ChildrenHandler(store), here))
	if err := ctrdimages.Walk(ctx, mark, target); err != nil {
		return fmt.Errorf("labelling content: %w", err)
	}
	img := client.NewImage(s.cfg.Client, ctrdimages.Image{Name: name, Target: target})
	if err := img.Unpack(ctx, s.cfg.Snapshotter); err != nil {
		return fmt.Errorf("unpacking: %w", err)
	}
	return nil
}

// wrongPlatform says what an image is for.
func wrongPlatform(all []imagespec.Platform) error {
	var have []string
	for _, one := range all {
		if f := platforms.Format(one); !slices.Contains(have, f) {
			have = append(have, f)
		}
	}
	return fmt.Errorf("it is for %s, not for %s", strings.Join(have, ", "), platforms.Format(platforms.DefaultSpec()))
}

// tag has a name stand for an image: its target, its source and the fields
// become what rec says, all other labels stay.
func (s *Store) tag(ctx context.Context, rec ctrdimages.Image, fields ...string) error {
	fields = append([]string{"target", "labels." + labelSource}, fields...) // a label that is missing is removed
	for range 3 {
		_, err := s.records().Update(ctx, rec, fields...)
		if errdefs.IsNotFound(err) {
			_, err = s.records().Create(ctx, rec)
		}
		if errdefs.IsAlreadyExists(err) {
			continue // somebody else made it in between
		}
		if err != nil {
			return fmt.Errorf("naming image %s: %w", rec.Name, err)
		}
		return nil
	}
	return fmt.Errorf("naming image %s: it comes and goes", rec.Name)
}
