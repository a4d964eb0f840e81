package volumes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxOpen bounds the directories that are open at a time while a tree is removed.
const maxOpen = 64

// removeTree removes dir/name and all below it. It follows no symlink below dir
// and does not cross into another mount.
func removeTree(ctx context.Context, dir, name string) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	} else if err != nil {
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	r := &remover{ctx: ctx, top: os.NewFile(uintptr(fd), dir)}
	defer func() { _ = r.top.Close() }() // nothing was written through it
	if err := r.entry(r.top, name, dir, 0); err != nil {
		return err
	}
	// Deep directories were moved up, by this call or one that was cut; removing
	// them may move up others.
	for {
		trash, err := r.trash()
		if err != nil || len(trash) == 0 {
			return err
		}
		for _, n := range trash {
			if err := r.entry(r.top, n, dir, 0); err != nil {
				return err
			}
		}
	}
}

// trashPrefix begins the names of deep directories that wait for their turn.
const trashPrefix = ".removing-"

type remover struct {
	ctx   context.Context
	top   *os.File
	moved int
}

// trash returns the names of what was moved up.
func (r *remover) trash() ([]string, error) {
	if _, err := r.top.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	names, err := r.top.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, trashPrefix) }), nil
}

// entry removes one entry of a directory, whatever it is.
func (r *remover) entry(in *os.File, name, path string, depth int) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	at := int(in.Fd())
	path = filepath.Join(path, name)
	err := unix.Unlinkat(at, name, 0)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	if !errors.Is(err, unix.EISDIR) && !errors.Is(err, unix.EPERM) {
		return failed("unlink", path, err)
	}
	if unix.Unlinkat(at, name, unix.AT_REMOVEDIR) == nil {
		return nil
	}
	if depth >= maxOpen {
		return r.moveUp(at, name, path)
	}
	how := &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV,
	}
	fd, openErr := unix.Openat2(at, name, how)
	switch {
	case errors.Is(openErr, unix.EXDEV):
		return fmt.Errorf("%s: something is mounted there, nothing behind it was removed: unmount it", path)
	case errors.Is(openErr, unix.ENOTDIR):
		return failed("unlink", path, err) // no directory, so EPERM was meant
	case openErr != nil:
		return failed("open", path, openErr)
	}
	dir := os.NewFile(uintptr(fd), path)
	err = r.content(dir, path, depth)
	err = errors.Join(err, dir.Close())
	if err != nil {
		return err
	}
	return failed("rmdir", path, unix.Unlinkat(at, name, unix.AT_REMOVEDIR))
}

// content removes what is in a directory, a bounded number of names at a time.
// It goes on after errors.
func (r *remover) content(dir *os.File, path string, depth int) error {
	for {
		names, err := dir.Readdirnames(1024)
		if errors.Is(err, io.EOF) || (err == nil && len(names) == 0) {
			return nil
		}
		if err != nil {
			return err
		}
		var errs []error
		for _, n := range names {
			if err := r.entry(dir, n, path, depth+1); err != nil {
				errs = append(errs, err)
			}
			if r.ctx.Err() != nil || len(errs) > 10 {
				break
			}
		}
		if len(errs) > 0 {
			return errors.Join(errs...)
		}
		// Entries that went may have moved others over the place where the
		// reading stands.
		if _, err := dir.Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
}

// moveUp moves a directory that is too deep to be walked to with open
// descriptors to the top, where removeTree finds it.
func (r *remover) moveUp(at int, name, path string) error {
	for {
		r.moved++
		err := unix.Renameat2(at, name, int(r.top.Fd()), trashPrefix+strconv.Itoa(r.moved), unix.RENAME_NOREPLACE)
		if errors.Is(err, unix.EEXIST) {
			continue
		}
		return failed("moving up", path, err)
	}
}

func failed(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: op, Path: path, Err: err}
}
