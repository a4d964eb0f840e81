package images

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	ctrdimages "github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/containerd/fault"
)

// labelPinned is what containerd's CRI sets on an image that is not to be
// removed.
const (
	labelPinned = "io.cri-containerd.pinned"
	pinned      = "pinned"
)

// facts are what follows from the content that a record points to.
type facts struct {
	id      string
	size    int64
	created time.Time
}

// factBook remembers facts by target. The zero value is ready.
type factBook struct {
	mu       sync.Mutex
	byTarget map[digest.Digest]facts
}

// of returns the facts about targets, reading those that it does not know, and
// forgets all others. A target that cannot be read for this platform has none.
func (b *factBook) of(ctx context.Context, s *Store, recs []ctrdimages.Image) (map[digest.Digest]facts, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	found := make(map[digest.Digest]facts, len(recs))
	for _, rec := range recs {
		f, ok := b.byTarget[rec.Target.Digest]
		if !ok {
			m, config, err := readConfig(ctx, s.content(), rec.Target)
			if errdefs.IsUnavailable(err) || ctx.Err() != nil {
				return nil, err
			}
			if err != nil {
				s.log.Debug("image is not whole", "image", rec.Name, "error", err)
				continue
			}
			f = facts{id: m.Config.Digest.String(), size: sizeOf(m)}
			if config.Created != nil {
				f.created = *config.Created
			}
		}
		found[rec.Target.Digest] = f
	}
	b.byTarget = found
	return found, nil
}

// held is an image as the daemon's records amount to it.
type held struct {
	runtime.ImageInfo
	records []ctrdimages.Image
}

// all returns all images by ID. A record whose content is not whole, or is for
// another platform, is an image of its own: its ID is the record's target.
func (s *Store) all(ctx context.Context) (map[string]*held, error) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	recs, err := s.records().List(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading image records: %w", err)
	}
	known, err := s.facts.of(ctx, s, recs)
	if err != nil {
		return nil, fmt.Errorf("reading images: %w", err)
	}
	by := map[string]*held{}
	for _, rec := range recs {
		f, ok := known[rec.Target.Digest]
		if !ok {
			f = facts{id: rec.Target.Digest.String(), size: rec.Target.Size}
		}
		h := by[f.id]
		if h == nil {
			h = &held{ImageInfo: runtime.ImageInfo{ID: f.id, Size: f.size, Created: f.created}}
			by[f.id] = h
		}
		h.add(rec)
	}
	for _, h := range by {
		slices.Sort(h.Names)
		slices.Sort(h.RepoDigests)
		h.RepoDigests = slices.Compact(h.RepoDigests)
	}
	return by, nil
}

func (h *held) add(rec ctrdimages.Image) {
	h.records = append(h.records, rec)
	h.Pinned = h.Pinned || isPinned(rec)
	named, err := reference.ParseNormalizedNamed(rec.Name)
	if err != nil { // not davit's
		h.Names = append(h.Names, rec.Name)
		return
	}
	if _, digested := named.(reference.Digested); !digested {
		h.Names = append(h.Names, rec.Name)
	}
	h.RepoDigests = append(h.RepoDigests, repoDigests(named, rec)...)
}

// isPinned tells whether a record keeps its image: by containerd's label, or
// because an archive of the preload directory would bring it back.
func isPinned(rec ctrdimages.Image) bool {
	return rec.Labels[labelPinned] == pinned || rec.Labels[labelPreload] != ""
}

// Images implements runtime.Images.
func (s *Store) Images(ctx context.Context) ([]runtime.ImageInfo, error) {
	by, err := s.all(s.withNS(ctx))
	if err != nil {
		return nil, fmt.Errorf("listing images: %w", fault.Classify(err))
	}
	list := make([]runtime.ImageInfo, 0, len(by))
	for _, id := range slices.Sorted(maps.Keys(by)) {
		list = append(list, by[id].ImageInfo)
	}
	slices.SortStableFunc(list, func(a, b runtime.ImageInfo) int { return cmp.Compare(firstName(a), firstName(b)) })
	return list, nil
}

func firstName(i runtime.ImageInfo) string {
	for _, names := range [][]string{i.Names, i.RepoDigests} {
		if len(names) > 0 {
			return names[0]
		}
	}
	return i.ID
}

// RemoveImage implements runtime.Images. ref is a name with a tag or digest,
// else the ID of an image with or without "sha256:", or as much of the ID's
// beginning as is unique.
func (s *Store) RemoveImage(ctx context.Context, ref string) error {
	if err := s.remove(s.withNS(ctx), ref); err != nil {
		return fmt.Errorf("removing image %q: %w", ref, fault.Classify(err))
	}
	return nil
}

func (s *Store) remove(ctx context.Context, ref string) error {
	by, err := s.all(ctx)
	if err != nil {
		return err
	}
	recs, err := match(by, ref)
	if err != nil {
		return err
	}
	for _, rec := range recs {
		switch {
		case rec.Labels[labelPreload] != "":
			return fmt.Errorf("%w: archive %s of the image directory would bring it back; remove that first", runtime.ErrImagePinned, rec.Labels[labelPreload])
		case isPinned(rec):
			return fmt.Errorf("%w by its label %s", runtime.ErrImagePinned, labelPinned)
		}
	}
	for i, rec := range recs {
		var opts []ctrdimages.DeleteOpt
		if i == len(recs)-1 {
			opts = append(opts, ctrdimages.SynchronousDelete())
		}
		if err := s.records().Delete(ctx, rec.Name, opts...); err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("deleting the record of %s: %w", rec.Name, err)
		}
		s.cache.drop(rec.Name)
	}
	return nil
}

// match returns the records that ref stands for.
func match(by map[string]*held, ref string) ([]ctrdimages.Image, error) {
	hex, isID := strings.CutPrefix(ref, "sha256:")
	if !isID && !isHex(ref, 64) {
		named, err := normalise(ref)
		if err != nil {
			return nil, err
		}
		if recs := byName(by, named); len(recs) > 0 {
			return recs, nil
		}
	}
	if !isHex(hex, 0) {
		return nil, fmt.Errorf("%w: nothing has this name", runtime.ErrImageNotFound)
	}
	var found []*held
	for id, h := range by {
		if strings.HasPrefix(strings.TrimPrefix(id, "sha256:"), hex) {
			found = append(found, h)
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("%w: nothing has this name or ID", runtime.ErrImageNotFound)
	case 1:
		return found[0].records, nil
	}
	return nil, fmt.Errorf("%w: the IDs of %d images begin so; give more of it", runtime.ErrImageNotFound, len(found))
}

// byName returns the record of a name; of one by digest that has none, those of
// the same repository with that target.
func byName(by map[string]*held, named reference.Named) []ctrdimages.Image {
	pinned, digested := named.(reference.Digested)
	var same []ctrdimages.Image
	for _, h := range by {
		for _, rec := range h.records {
			if rec.Name == named.String() {
				return []ctrdimages.Image{rec}
			}
			other, err := reference.ParseNormalizedNamed(rec.Name)
			if digested && err == nil && other.Name() == named.Name() && rec.Target.Digest == pinned.Digest() {
				same = append(same, rec)
			}
		}
	}
	return same
}

// isHex tells whether s consists of hexadecimal digits; n is how many, 0 any
// number from 1 to 64.
func isHex(s string, n int) bool {
	if len(s) == 0 || len(s) > 64 || n != 0 && len(s) != n {
		return false
	}
	return strings.Trim(s, "0123456789abcdef") == ""
}
