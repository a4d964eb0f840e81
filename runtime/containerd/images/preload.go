package images

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	ctrdimages "github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/containerd/fault"
)

// Labels of an image record that came from an archive: the archive's name in
// its directory, the state of the file, and all names that it holds.
const (
	labelPreload      = "davit.io/preload"
	labelPreloadState = "davit.io/preload-state" // size, mtime in ns, inode
	labelPreloadNames = "davit.io/preload-names" // separated by blanks
)

// preloadFields are what an update of a record sets or clears that an archive
// of the directory has, or no longer has.
var preloadFields = []string{"labels." + labelPreload, "labels." + labelPreloadState, "labels." + labelPreloadNames}

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
// archive takes nothing away. As long as its archive is there, the image counts
// as pinned: it would come back at once. The error is for what concerns no single archive,
// as runtime.ErrUnavailable.
func (s *Store) Preload(ctx context.Context, dir string) ([]PreloadResult, error) {
	s.preloading.Lock()
	defer s.preloading.Unlock()
	ctx = s.withNS(ctx)
	files, err := archives(dir)
	if err != nil {
		return nil, err
	}
	p := preload{s: s, dir: dir, owner: make(map[string]string)}
	if err := p.begin(ctx, files); err != nil {
		return nil, fmt.Errorf("preloading images from %s: %w", dir, fault.Classify(err))
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
	s     *Store
	dir   string
	owner map[string]string             // image name -> the file whose image has it
	have  map[string][]ctrdimages.Image // by file: the records that carry its label
}

// begin reads what is there. The images of archives that have gone become like
// any others.
func (p *preload) begin(ctx context.Context, files []string) error {
	if err := p.s.cfg.EnsureNamespace(ctx); err != nil {
		return err
	}
	all, err := p.s.records().List(ctx, fmt.Sprintf("labels.%q", labelPreload))
	if err != nil {
		return fmt.Errorf("listing images: %w", err)
	}
	p.have = make(map[string][]ctrdimages.Image)
	for _, rec := range all {
		file := rec.Labels[labelPreload]
		if slices.Contains(files, file) {
			p.have[file] = append(p.have[file], rec)
			continue
		}
		rec.Labels = nil
		if _, err := p.s.records().Update(ctx, rec, preloadFields...); err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("unlabelling image %s, whose archive %s has gone: %w", rec.Name, file, err)
		}
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
		r.Err = fmt.Errorf("importing image archive %s: %w", file, fault.Classify(err))
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
	ctx, done, err := p.s.leased(ctx, preloadLease+shortHash(file))
	if err != nil {
		return nil, err
	}
	defer done()
	path := filepath.Join(p.dir, file)
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	found, names, err := p.s.readArchive(ctx, f)
	if err != nil {
		return nil, err
	}
	switch now, err := fileState(path); {
	case err != nil:
		return nil, err
	case now != state:
		return nil, errors.New("it changed while it was read")
	}
	ours := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return p.owner[name] != "" })
	if err := p.s.unpackAll(ctx, ours, found); err != nil {
		return nil, err
	}
	labels := map[string]string{labelPreload: file, labelPreloadState: state}
	if all := strings.Join(names, " "); len(labelPreloadNames)+len(all) <= maxLabel {
		labels[labelPreloadNames] = all
	}
	for _, name := range ours {
		if err := p.s.tag(ctx, ctrdimages.Image{Name: name, Target: found[name], Labels: labels}, preloadFields...); err != nil {
			return nil, err
		}
	}
	return names, nil
}
