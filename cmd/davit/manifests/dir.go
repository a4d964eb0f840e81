package manifests

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/davit-agent/davit/agent/podspec/strictyaml"
)

// Dir is a directory of manifests, locked.
type Dir struct {
	path  string
	lock  *os.File
	files map[string]*file // by path
}

// file is one manifest of it.
type file struct {
	objs  []Object
	whole bool // objs is all that is in it
	ours  bool // apply wrote it
	link  bool // it is a symbolic link
}

// Open locks the directory and reads what is in it.
func Open(path string) (*Dir, error) {
	lock, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the manifest directory %s does not exist: make it (mkdir -p %s)", path, path)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the manifest directory: %w", err)
	}
	d := &Dir{path: path, lock: lock, files: map[string]*file{}}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		d.Close()
		return nil, fmt.Errorf("locking the manifest directory %s: %w", path, err)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		d.Close()
		return nil, fmt.Errorf("listing the manifest directory: %w", err)
	}
	for _, e := range entries {
		if IsManifest(e.Name()) && !e.IsDir() {
			full := filepath.Join(path, e.Name())
			d.files[full] = look(full, e)
		}
	}
	return d, nil
}

// Close gives the lock back.
func (d *Dir) Close() { d.lock.Close() }

// IsManifest tells whether the daemon reads a file of this name.
func IsManifest(name string) bool {
	if name == "" || name[0] == '.' || name[0] == '#' {
		return false
	}
	return slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(name))
}

// look reads a file. What cannot be read holds what is not known.
func look(path string, e fs.DirEntry) *file {
	f := &file{link: e.Type()&fs.ModeSymlink != 0}
	text, err := ReadFile(path)
	if err != nil {
		return f
	}
	f.objs, f.whole = parse(text, path, "")
	f.ours = bytes.HasPrefix(text, []byte(Mark))
	return f
}

// ReadFile reads a regular file, as far as a manifest may be long and one byte
// more.
func ReadFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	return ReadAll(f)
}

// ReadAll reads a text, as far as a manifest may be long and one byte more.
func ReadAll(r io.Reader) ([]byte, error) { return io.ReadAll(io.LimitReader(r, strictyaml.MaxSize+1)) }

// place is where an object stands.
type place struct {
	*file
	path string
	obj  Object
}

func (p place) String() string { return fmt.Sprintf("%s:%d", p.path, p.obj.Line) }

// alone tells whether nothing else is in the file.
func (p place) alone() bool { return p.whole && len(p.objs) == 1 }

// places returns where an object stands, by path.
func (d *Dir) places(id ID) []place {
	var out []place
	for path, f := range d.files {
		for _, o := range f.objs {
			if o.ID == id {
				out = append(out, place{f, path, o})
			}
		}
	}
	slices.SortFunc(out, func(a, b place) int { return strings.Compare(a.path, b.path) })
	return out
}

// maxName is NAME_MAX of Linux' file systems.
const maxName = 255

// newPath is the file for an object that stands in none. Two objects can have
// names that give one file name, since both parts may hold hyphens: then, and if
// it is too long, it ends with a hash.
func (d *Dir) newPath(id ID, taken map[string]bool) string {
	base := strings.ToLower(id.Kind) + "-" + id.Namespace + "-" + id.Name
	path := filepath.Join(d.path, base+".yaml")
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) && !taken[path] && len(base)+len(".yaml") <= maxName {
		return path
	}
	sum := sha256.Sum256([]byte(id.Kind + "/" + id.Namespace + "/" + id.Name))
	base = base[:min(len(base), maxName-20)] + "-" + hex.EncodeToString(sum[:4])
	return filepath.Join(d.path, base+".yaml")
}
