package containerd

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/images/archive"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/davit-agent/davit/runtime"
)

// Labels of an image record that came from an archive: the archive's name in
// its directory, the state of the file, and all names that it holds.
const (
	labelPreload      = "davit.io/preload"
	labelPreloadState = "davit.io/preload-state" // size, mtime in ns, inode
	labelPreloadNames = "davit.io/preload-names" // separated by blanks
)

// maxLabel is what containerd allows of key and value together.
const maxLabel = 4096

// PreloadResult tells what became of one archive.
type PreloadResult struct {
	File      string   // its name in the directory
	Images    []string // the names it gives to images, in full, ascending
	Shadowed  []string // those of Images that belong to a later archive of the directory
	Unchanged bool     // it was imported before and was not read again
	Err       error    // why it could not be imported; the others go on
}

// Preload imports the images in all archives of a directory (*.tar, *.tar.gz,
// *.tgz, *.oci; OCI layouts and what "docker save" writes, gzipped or not, for
// this machine's platform) and unpacks them. It returns a result for each
// archive, ordered by file name. A directory that is not there has none. Where
// two archives hold the same name, the one whose file name sorts last has it.
//
// An archive whose size, mtime and inode are those of its last import, and whose
// images are still there under its label, is not read. An image stays when its
// archive goes. A name is given only to an image that was unpacked, so a damaged
// archive takes nothing away. The error is for what concerns no single archive,
// as runtime.ErrUnavailable.
func (c *Client) Preload(ctx context.Context, dir string) ([]PreloadResult, error) {
	c.images.preloading.Lock()
	defer c.images.preloading.Unlock()
	ctx = c.withNS(ctx)
	files, err := archives(dir)
	if err != nil || len(files) == 0 {
		return nil, err
	}
	cl, err := c.conn()
	if err != nil {
		return nil, err
	}
	p := preload{c: c, cl: cl, dir: dir, owner: make(map[string]string)}
	if err := p.begin(ctx); err != nil {
		return nil, fmt.Errorf("preloading images from %s: %w", dir, classify(err))
	}
	var results []PreloadResult
	slices.Reverse(files) // whoever has a name comes first
	for _, file := range files {
		r := p.file(ctx, file)
		results = append(results, r)
		if errors.Is(r.Err, runtime.ErrUnavailable) || ctx.Err() != nil {
			err = fmt.Errorf("preloading images from %s: %w", dir, cmp.Or(r.Err, ctx.Err()))
			break
		}
	}
	slices.Reverse(results)
	return results, err
}

// archives returns the names of the archives in a directory, ascending.
func archives(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading directory of image archives: %w", err)
	}
	var files []string
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() || strings.HasPrefix(name, ".") {
			continue
		}
		for _, suffix := range []string{".tar", ".tar.gz", ".tgz", ".oci"} {
			if strings.HasSuffix(name, suffix) {
				files = append(files, name)
				break
			}
		}
	}
	return files, nil
}

// preload is one run over a directory.
type preload struct {
	c     *Client
	cl    *client.Client
	dir   string
	owner map[string]string         // image name -> the file whose image has it
	have  map[string][]images.Image // by file: the records that carry its label
}

// begin clears away what a run that was cut has left, and reads what is there.
func (p *preload) begin(ctx context.Context) error {
	if err := p.c.ensureNamespace(ctx); err != nil {
		return err
	}
	if err := deleteLeases(ctx, p.cl, preloadLease); err != nil {
		return err
	}
	all, err := p.cl.ImageService().List(ctx, fmt.Sprintf("labels.%q", labelPreload))
	if err != nil {
		return fmt.Errorf("listing images: %w", err)
	}
	p.have = make(map[string][]images.Image)
	for _, rec := range all {
		file := rec.Labels[labelPreload]
		p.have[file] = append(p.have[file], rec)
	}
	return nil
}

// file imports one archive, unless that was done.
func (p *preload) file(ctx context.Context, file string) PreloadResult {
	r := PreloadResult{File: file}
	state, err := fileState(filepath.Join(p.dir, file))
	if err == nil {
		if r.Images, r.Unchanged = p.unchanged(file, state); !r.Unchanged {
			r.Images, err = p.load(ctx, file, state)
		}
	}
	if err != nil {
		r.Err = fmt.Errorf("importing image archive %s: %w", file, classify(err))
		return r
	}
	for _, name := range r.Images {
		if p.owner[name] == "" {
			p.owner[name] = file
		}
		if p.owner[name] != file {
			r.Shadowed = append(r.Shadowed, name)
		}
	}
	return r
}

// fileState tells a file from an earlier or later one of the same name.
func fileState(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	switch {
	case !info.Mode().IsRegular():
		return "", errors.New("it is not a regular file")
	case info.Size() == 0:
		return "", errors.New("it is empty")
	}
	st := info.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("%d-%d-%d", info.Size(), info.ModTime().UnixNano(), st.Ino), nil
}

// unchanged returns the names in an archive that was imported in this state, if
// all of them still stand for its images or belong to a later archive.
func (p *preload) unchanged(file, state string) ([]string, bool) {
	var names []string
	ours := make(map[string]bool)
	for _, rec := range p.have[file] {
		if rec.Labels[labelPreloadState] == state {
			names = strings.Fields(rec.Labels[labelPreloadNames])
			ours[rec.Name] = true
		}
	}
	for _, name := range names {
		if !ours[name] && p.owner[name] == "" {
			return nil, false
		}
	}
	return names, len(names) > 0
}

// load imports one archive under a lease and returns the names in it.
func (p *preload) load(ctx context.Context, file, state string) ([]string, error) {
	ctx, done, err := p.c.leased(ctx, p.cl, preloadLease+shortHash(file))
	if err != nil {
		return nil, err
	}
	defer done()
	path := filepath.Join(p.dir, file)
	index, err := p.read(ctx, path)
	if err != nil {
		return nil, err
	}
	switch now, err := fileState(path); {
	case err != nil:
		return nil, err
	case now != state:
		return nil, errors.New("it changed while it was read")
	}
	found := make(map[string]imagespec.Descriptor)
	var names []string
	for _, m := range index.Manifests {
		name, err := nameOf(m)
		if err != nil {
			return nil, err
		}
		if _, twice := found[name]; !twice {
			names = append(names, name)
		}
		found[name] = m
	}
	slices.Sort(names)
	for _, name := range names {
		if p.owner[name] != "" {
			continue
		}
		if err := p.unpack(ctx, name, found[name]); err != nil {
			return nil, fmt.Errorf("image %s: %w", name, err)
		}
	}
	labels := map[string]string{labelPreload: file, labelPreloadState: state}
	if all := strings.Join(names, " "); len(labelPreloadNames)+len(all) <= maxLabel {
		labels[labelPreloadNames] = all
	}
	for _, name := range names {
		if p.owner[name] != "" {
			continue
		}
		if err := tag(ctx, p.cl.ImageService(), images.Image{Name: name, Target: found[name], Labels: labels}); err != nil {
			return nil, fmt.Errorf("naming image %s: %w", name, err)
		}
	}
	return names, nil
}

// read copies an archive's blobs into the content store and returns its index.
func (p *preload) read(ctx context.Context, path string) (imagespec.Index, error) {
	var index imagespec.Index
	f, err := os.Open(path)
	if err != nil {
		return index, err
	}
	defer f.Close()
	r, err := plain(bufio.NewReaderSize(f, 1<<16))
	if err != nil {
		return index, err
	}
	store := p.cl.ContentStore()
	desc, err := archive.ImportIndex(ctx, store, r)
	switch {
	case err == nil:
		_, err = io.Copy(io.Discard, r) // up to the checksum
	case strings.Contains(err.Error(), "unrecognized image format"):
		err = errors.New("it is neither an OCI layout nor a docker archive, or is cut short")
	}
	if err != nil {
		return index, err
	}
	data, err := content.ReadBlob(ctx, store, desc)
	if err != nil {
		return index, fmt.Errorf("reading index: %w", err)
	}
	if err := json.Unmarshal(data, &index); err != nil {
		return index, fmt.Errorf("reading index: %w", err)
	}
	if len(index.Manifests) == 0 {
		return index, errors.New("it holds no image")
	}
	return index, nil
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
	name := m.Annotations[images.AnnotationImageName]
	if name == "" {
		// By the OCI image layout's specification this may be a tag alone.
		name = m.Annotations[imagespec.AnnotationRefName]
		if !strings.ContainsAny(name, "/:@") {
			return "", fmt.Errorf("image %s has no name: annotation %s or %s must give one",
				m.Digest, images.AnnotationImageName, imagespec.AnnotationRefName)
		}
	}
	named, err := normalise(name)
	if err != nil {
		return "", err
	}
	return named.String(), nil
}

// unpack makes sure that an image is whole and for this platform, ties its
// content together for the garbage collector, and unpacks it.
func (p *preload) unpack(ctx context.Context, name string, target imagespec.Descriptor) error {
	store, here := p.cl.ContentStore(), platforms.Default()
	if all, err := images.Platforms(ctx, store, target); err == nil && len(all) > 0 && !slices.ContainsFunc(all, here.Match) {
		var have []string
		for _, one := range all {
			have = append(have, platforms.Format(one))
		}
		return fmt.Errorf("it is for %s, not for %s", strings.Join(have, ", "), platforms.Format(platforms.DefaultSpec()))
	}
	ok, _, _, missing, err := images.Check(ctx, store, target, here)
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
	mark := images.SetChildrenLabels(store, images.FilterPlatforms(images.ChildrenHandler(store), here))
	if err := images.Walk(ctx, mark, target); err != nil {
		return fmt.Errorf("labelling content: %w", err)
	}
	img := client.NewImage(p.cl, images.Image{Name: name, Target: target})
	if err := img.Unpack(ctx, p.c.cfg.Snapshotter); err != nil {
		return fmt.Errorf("unpacking: %w", err)
	}
	return nil
}

// tag has a name stand for an image; labels of others stay.
func tag(ctx context.Context, store images.Store, rec images.Image) error {
	fields := []string{"target"}
	for _, key := range []string{labelPreload, labelPreloadState, labelPreloadNames} {
		fields = append(fields, "labels."+key) // one that is missing is removed
	}
	_, err := store.Update(ctx, rec, fields...)
	if errdefs.IsNotFound(err) {
		_, err = store.Create(ctx, rec)
	}
	return err
}
