package fake

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"github.com/davit-agent/davit/runtime"
)

// Images pulls onto a Node from a registry in memory. It implements
// runtime.Images. Faults of the Node hit its calls as pull, images, load and
// remove-image. All names are normalised.
type Images struct {
	n         *Node
	published map[string]published
	pinned    map[string]bool
	held      map[string]chan struct{}
	pulling   map[string]int
}

type published struct {
	image  *runtime.Image
	secret []runtime.Credential // any of them; none: everybody may have it
}

var _ runtime.Images = (*Images)(nil)

// NewImages makes a registry that has nothing.
func NewImages(n *Node) *Images {
	return &Images{n: n, published: map[string]published{}, pinned: map[string]bool{}, held: map[string]chan struct{}{}, pulling: map[string]int{}}
}

// Publish has the registry serve an image, or another one, under the image's
// name, to those who have one of the credentials if there are any.
func (i *Images) Publish(img *runtime.Image, secret ...runtime.Credential) {
	name, err := normalise(img.Name)
	if err != nil {
		i.n.t.Errorf("fake: publishing image: %v", err)
		return
	}
	i.n.mu.Lock()
	defer i.n.mu.Unlock()
	c := *img
	c.Name = name
	if len(c.RepoDigests) == 0 {
		c.RepoDigests = []string{repository(name) + "@" + digest.FromString("manifest of "+c.ID).String()}
	}
	i.published[name] = published{&c, secret}
}

// Pin has RemoveImage refuse a name.
func (i *Images) Pin(name string) {
	full, _ := normalise(name)
	i.n.mu.Lock()
	defer i.n.mu.Unlock()
	i.pinned[full] = true
}

// Hold has pulls of a name wait, in the stage of fetching, until the function
// that it returns is called or their context ends.
func (i *Images) Hold(name string) (release func()) {
	full, _ := normalise(name)
	i.n.mu.Lock()
	defer i.n.mu.Unlock()
	gate := make(chan struct{})
	i.held[full] = gate
	return func() {
		i.n.mu.Lock()
		defer i.n.mu.Unlock()
		if i.held[full] != gate {
			i.n.impossibleLocked("image %s is released twice", full)
			return
		}
		delete(i.held, full)
		close(gate)
	}
}

// Pulling returns how many pulls of a name, or of all for "", are under way.
func (i *Images) Pulling(name string) int {
	full := ""
	if name != "" {
		full, _ = normalise(name)
	}
	i.n.mu.Lock()
	defer i.n.mu.Unlock()
	sum := 0
	for one, n := range i.pulling {
		if full == "" || one == full {
			sum += n
		}
	}
	return sum
}

// Pull implements runtime.Images.
func (i *Images) Pull(ctx context.Context, req runtime.PullRequest) (*runtime.Image, error) {
	name, err := normalise(req.Ref)
	if err != nil {
		return nil, err
	}
	n := i.n
	n.mu.Lock()
	after, err := n.enterLocked(ctx, "pull", name, true)
	gate := i.held[name]
	if err == nil {
		i.pulling[name]++
		defer func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			i.pulling[name]--
		}()
	}
	n.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("failed to pull and unpack image %q: %w", name, err)
	}
	tell := req.Progress
	if tell == nil {
		tell = func(runtime.PullProgress) {}
	}
	tell(runtime.PullProgress{Stage: runtime.PullResolving})
	img, err := i.serve(name, req.Credentials)
	if err != nil {
		return nil, fmt.Errorf("failed to pull and unpack image %q: %w", name, err)
	}
	tell(runtime.PullProgress{Stage: runtime.PullFetching, Layers: 1, Total: img.Size})
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return nil, fmt.Errorf("failed to pull and unpack image %q: %w", name, ctx.Err())
		}
	}
	tell(runtime.PullProgress{Stage: runtime.PullUnpacking, Layers: 1, LayersDone: 1, Bytes: img.Size, Total: img.Size})
	n.mu.Lock()
	defer n.mu.Unlock()
	n.images[name] = img
	c := *img
	return &c, after(nil)
}

// serve returns what the registry has under a name, for one of the credentials.
func (i *Images) serve(name string, creds []runtime.Credential) (*runtime.Image, error) {
	i.n.mu.Lock()
	defer i.n.mu.Unlock()
	p, ok := i.published[name]
	if !ok {
		for _, other := range i.published { // by digest
			if slices.Contains(other.image.RepoDigests, name) {
				p, ok = other, true
			}
		}
	}
	if !ok {
		return nil, fmt.Errorf("failed to resolve reference %q: %s: not found", name, name)
	}
	allowed := len(p.secret) == 0
	for _, c := range creds {
		allowed = allowed || slices.Contains(p.secret, c)
	}
	if !allowed {
		return nil, fmt.Errorf("failed to resolve reference %q: pull access denied, repository does not exist or may require authorization: authorization failed", name)
	}
	c := *p.image
	c.Name = name
	return &c, nil
}

func repository(name string) string {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return name
	}
	return named.Name()
}

// Images implements runtime.Images.
func (i *Images) Images(ctx context.Context) ([]runtime.ImageInfo, error) {
	i.n.mu.Lock()
	defer i.n.mu.Unlock()
	after, err := i.n.enterLocked(ctx, "images", "", true)
	if err != nil {
		return nil, fmt.Errorf("listing images: %w", err)
	}
	by := map[string]*runtime.ImageInfo{}
	for name, img := range i.n.images {
		info := by[img.ID]
		if info == nil {
			info = &runtime.ImageInfo{ID: img.ID, Size: img.Size}
			by[img.ID] = info
		}
		if !strings.Contains(name, "@") {
			info.Names = append(info.Names, name)
		}
		info.RepoDigests = append(info.RepoDigests, img.RepoDigests...)
		info.Pinned = info.Pinned || i.pinned[name]
	}
	list := make([]runtime.ImageInfo, 0, len(by))
	for _, info := range by {
		slices.Sort(info.Names)
		slices.Sort(info.RepoDigests)
		info.RepoDigests = slices.Compact(info.RepoDigests)
		list = append(list, *info)
	}
	slices.SortFunc(list, func(a, b runtime.ImageInfo) int { return cmp.Compare(firstName(a), firstName(b)) })
	return list, after(nil)
}

func firstName(info runtime.ImageInfo) string {
	return slices.Concat(info.Names, info.RepoDigests, []string{info.ID})[0]
}

// Load implements runtime.Images for archives that are lists of images: on each
// line a name and an ID, with a blank between them.
func (i *Images) Load(ctx context.Context, archive io.Reader) ([]string, error) {
	var loaded []*runtime.Image
	lines := bufio.NewScanner(archive)
	for lines.Scan() {
		name, id, ok := strings.Cut(lines.Text(), " ")
		full, err := normalise(name)
		if !ok || err != nil {
			return nil, fmt.Errorf("loading image archive: %q is not a name and an ID", lines.Text())
		}
		loaded = append(loaded, &runtime.Image{Name: full, ID: id})
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("loading image archive: %w", err)
	}
	i.n.mu.Lock()
	defer i.n.mu.Unlock()
	after, err := i.n.enterLocked(ctx, "load", "", true)
	if err != nil {
		return nil, fmt.Errorf("loading image archive: %w", err)
	}
	var names []string
	for _, img := range loaded {
		i.n.images[img.Name] = img
		names = append(names, img.Name)
	}
	slices.Sort(names)
	return slices.Compact(names), after(nil)
}

// RemoveImage implements runtime.Images.
func (i *Images) RemoveImage(ctx context.Context, ref string) error {
	i.n.mu.Lock()
	defer i.n.mu.Unlock()
	after, err := i.n.enterLocked(ctx, "remove-image", ref, true)
	if err != nil {
		return fmt.Errorf("removing image %q: %w", ref, err)
	}
	full, nerr := normalise(ref)
	var names []string
	ids := map[string]bool{}
	if i.n.images[full] != nil {
		names = append(names, full)
	} else {
		for name, img := range i.n.images {
			if ref != "" && strings.HasPrefix(strings.TrimPrefix(img.ID, "sha256:"), strings.TrimPrefix(ref, "sha256:")) {
				names = append(names, name)
				ids[img.ID] = true
			}
		}
	}
	switch {
	case len(names) == 0 && nerr != nil && !strings.HasPrefix(ref, "sha256:"):
		return fmt.Errorf("removing image %q: %w", ref, nerr)
	case len(names) == 0, len(ids) > 1:
		return fmt.Errorf("removing image %q: %w", ref, runtime.ErrImageNotFound)
	}
	for _, name := range names {
		if i.pinned[name] {
			return fmt.Errorf("removing image %q: %w", ref, runtime.ErrImagePinned)
		}
	}
	for _, name := range names {
		delete(i.n.images, name)
	}
	return after(nil)
}
