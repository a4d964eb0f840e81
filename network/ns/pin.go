package ns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Intact says whether dir holds an intact pin of every given kind. What is
// missing, a plain file or a namespace of another kind is not intact; an error
// means that it could not be found out.
func Intact(dir string, kinds ...Kind) (bool, error) {
	for _, k := range kinds {
		f, err := open(filepath.Join(dir, string(k)), unix.O_NOFOLLOW)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, errNotNamespace), errors.Is(err, unix.ELOOP),
			errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ENXIO):
			return false, nil
		case err != nil:
			return false, err
		}
		t, err := typeOf(f)
		f.Close()
		if err != nil {
			return false, err
		}
		if t != k.flag() {
			return false, nil
		}
	}
	return true, nil
}

// Pin pins the namespace of kind k of process pid as dir/<k>. If it is pinned
// there already nothing happens; another namespace's pin is replaced. The
// caller must know that pid is still the process it means, and can make sure of
// it afterwards with Same.
func Pin(dir string, k Kind, pid int) error {
	if k.flag() == 0 {
		return fmt.Errorf("pinning namespace: unknown kind %q", k)
	}
	same, err := Same(filepath.Join(dir, string(k)), k, pid)
	if err != nil || same {
		return err
	}
	if err := makeDir(dir); err != nil {
		return err
	}
	return pin(dir, k, procNS(pid, k))
}

// Same says whether path is the namespace of kind k of process pid. It is false
// where there is nothing at path; a process that is gone is an error.
func Same(path string, k Kind, pid int) (bool, error) {
	want, err := os.Stat(procNS(pid, k))
	if err != nil {
		return false, fmt.Errorf("reading namespace of process %d: %w", pid, err)
	}
	have, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading namespace pin: %w", err)
	}
	return os.SameFile(have, want), nil
}

// Remove unmounts and removes all that is in dir, and dir. It does not follow
// symbolic links, takes plain files where pins should be, and is done when
// there is nothing. Namespaces that something else holds live on.
func Remove(dir string) error {
	st, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("removing namespaces: %w", err)
	}
	if !st.IsDir() {
		return fmt.Errorf("removing namespaces: %s is not a directory", dir)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("removing namespaces: %w", err)
	}
	var errs []error
	for _, e := range entries {
		errs = append(errs, unpin(filepath.Join(dir, e.Name())))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing namespaces: %w", err)
	}
	return nil
}

// List returns the names of the directories under root, in ascending order:
// everything that has or had pins. A root that is not there has none.
func List(root string) ([]string, error) {
	entries, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing namespaces: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// pin mounts source at dir/<k>, over nothing and over no second mount.
func pin(dir string, k Kind, source string) error {
	target := filepath.Join(dir, string(k))
	if err := unpin(target); err != nil {
		return err
	}
	f, err := os.OpenFile(target, os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o444)
	if err != nil {
		return fmt.Errorf("pinning %s namespace: %w", k, err)
	}
	f.Close()
	if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("pinning %s namespace: mounting %s at %s: %w", k, source, target, err)
	}
	return nil
}

// unpin unmounts whatever is mounted at path, however often, and unlinks it.
func unpin(path string) error {
	for {
		err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if err == unix.EINVAL || err == unix.ENOENT { // no mount point
			break
		}
		if err != nil {
			return fmt.Errorf("removing namespace pin: %w", &os.PathError{Op: "unmount", Path: path, Err: err})
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing namespace pin: %w", err)
	}
	return nil
}

// makeDir makes a directory of pins. Only root has business in there; what is
// above it may hold things that a container's root in a user namespace must reach.
func makeDir(dir string) error {
	err := os.MkdirAll(filepath.Dir(dir), 0o711)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return fmt.Errorf("making namespace directory: %w", err)
	}
	return nil
}

func procNS(pid int, k Kind) string {
	return "/proc/" + strconv.Itoa(pid) + "/ns/" + string(k)
}
