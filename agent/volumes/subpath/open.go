package subpath

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// maxLinks bounds the symlinks that are followed, as the kernel does.
	maxLinks = 40
	// maxTries bounds how often it is tried again because the volume changed
	// under it.
	maxTries = 100
)

// ErrCreate is wrapped by errors of making what is missing.
var ErrCreate = errors.New("making the directory")

var (
	errEscapes = errors.New("it leads out of the volume")
	errLoop    = errors.New("too many levels of symbolic links")
	// errChanged: the volume changed between looking and opening.
	errChanged = errors.New("it changes all the time")
)

// Check tells whether a subPath, expanded, may be one at all.
func Check(sub string) error {
	if path.IsAbs(sub) {
		return fmt.Errorf("error SubPath `%s` must not be an absolute path", sub)
	}
	for name := range strings.SplitSeq(sub, "/") {
		if name == ".." {
			return fmt.Errorf("unable to provision SubPath `%s`: must not contain '..'", sub)
		}
	}
	if strings.ContainsRune(sub, 0) {
		return fmt.Errorf("unable to provision SubPath %q: must not contain a NUL", sub)
	}
	return nil
}

// Open opens (O_PATH) the place sub in the volume, which is a directory of the
// host, and makes it and what leads to it where it is missing. It blocks with
// the volume's file system.
func Open(ctx context.Context, volume, sub string) (*os.File, error) {
	if err := Check(sub); err != nil {
		return nil, err
	}
	root, err := os.OpenFile(volume, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }() // a reference, nothing to write
	o := &opener{root: int(root.Fd()), volume: volume}
	err = errChanged
	for tries := 0; tries < maxTries && errors.Is(err, errChanged) && ctx.Err() == nil; tries++ {
		var f *os.File
		if f, err = o.try(sub); err == nil {
			return f, nil
		}
	}
	return nil, fmt.Errorf("opening %q in volume %s: %w", sub, volume, errors.Join(err, ctx.Err()))
}

type opener struct {
	root   int    // descriptor of the volume
	volume string // its path
}

func (o *opener) try(sub string) (*os.File, error) {
	found, missing, err := o.resolve(sub)
	if err != nil {
		return nil, err
	}
	fd, err := o.at(o.root, found, unix.O_PATH)
	if err != nil {
		return nil, changed(err)
	}
	f := os.NewFile(uintptr(fd), filepath.Join(o.volume, found))
	for _, name := range missing {
		next, err := o.make(f, name)
		_ = f.Close()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrCreate, err)
		}
		f = next
	}
	return f, nil
}

// at opens a path below a directory without following any symlink.
func (o *opener) at(dir int, name string, flags uint64) (int, error) {
	if name == "" {
		name = "."
	}
	how := &unix.OpenHow{
		Flags:   flags | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	for range maxTries {
		fd, err := unix.Openat2(dir, name, how)
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) { // a rename somewhere
			return fd, err
		}
	}
	return -1, unix.EAGAIN
}

// changed turns an error that a path without symlinks cannot give while nothing
// changes into errChanged.
func changed(err error) error {
	for _, e := range []error{unix.ENOENT, unix.ELOOP, unix.ENOTDIR, unix.EEXIST, unix.EXDEV, unix.EAGAIN} {
		if errors.Is(err, e) {
			return fmt.Errorf("%w (%w)", errChanged, err)
		}
	}
	return err
}

// resolve works out where sub leads: a path without symlinks of what is there,
// and the names of what is missing below it. It reads only what lies in the
// volume, but what it says may be no longer true.
func (o *opener) resolve(sub string) (found string, missing []string, err error) {
	todo := strings.Split(sub, "/")
	for links := 0; len(todo) > 0; {
		name := todo[0]
		todo = todo[1:]
		switch name {
		case "", ".":
			continue
		case "..": // of a symlink
			if found == "" {
				return "", nil, errEscapes
			}
			if found = path.Dir(found); found == "." {
				found = ""
			}
			continue
		}
		at := path.Join(found, name)
		link, err := o.link(at)
		switch {
		case errors.Is(err, unix.ENOENT):
			missing, err := rest(name, todo)
			return found, missing, err
		case err != nil:
			return "", nil, err
		case link == "":
			found = at
			continue
		}
		if links++; links > maxLinks {
			return "", nil, errLoop
		}
		if path.IsAbs(link) {
			if link, err = o.inside(link); err != nil {
				return "", nil, err
			}
			found = ""
		}
		todo = append(strings.Split(link, "/"), todo...)
	}
	return found, nil, nil
}

// rest is what is to be made: the names, without those that mean nothing. A
// symlink that goes up from what is missing leads nowhere.
func rest(first string, more []string) ([]string, error) {
	out := []string{first}
	for _, name := range more {
		switch name {
		case "", ".":
		case "..":
			return nil, unix.ENOENT
		default:
			out = append(out, name)
		}
	}
	return out, nil
}

// link returns what a symlink says, "" for anything else.
func (o *opener) link(name string) (string, error) {
	fd, err := o.at(o.root, name, unix.O_PATH|unix.O_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return "", err
	} else if err != nil {
		return "", changed(err)
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "", err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return "", nil
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// inside turns an absolute path of the host into one of the volume.
func (o *opener) inside(link string) (string, error) {
	tops := []string{filepath.Clean(o.volume)}
	if real, err := filepath.EvalSymlinks(o.volume); err == nil {
		tops = append(tops, real)
	}
	for _, top := range tops {
		if link == top {
			return ".", nil
		}
		if in, ok := strings.CutPrefix(link, strings.TrimSuffix(top, "/")+"/"); ok {
			return in, nil
		}
	}
	return "", errEscapes
}

// make makes a directory with the mode of the volume and opens it.
func (o *opener) make(in *os.File, name string) (*os.File, error) {
	var volume unix.Stat_t
	if err := unix.Fstat(o.root, &volume); err != nil {
		return nil, err
	}
	mode := volume.Mode & 0o7777
	if err := unix.Mkdirat(int(in.Fd()), name, mode&0o777); err != nil {
		return nil, changed(err)
	}
	fd, err := o.at(int(in.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err != nil {
		return nil, changed(err)
	}
	f := os.NewFile(uintptr(fd), filepath.Join(in.Name(), name))
	if err := widen(f, mode); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// widen sets the mode of a directory that was just made, which the umask
// narrowed. If it is another by now, somebody's who would not want that, it is
// left.
func widen(f *os.File, mode uint32) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if st.Mode&0o7777 == mode {
		return nil
	}
	if _, err := f.Readdirnames(1); !errors.Is(err, io.EOF) || int(st.Uid) != os.Geteuid() {
		return errChanged
	}
	return unix.Fchmod(int(f.Fd()), mode)
}
