package server

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// maxSocketPath is the length of sockaddr_un's sun_path less the zero byte
// (unix(7)).
const maxSocketPath = 107

// ErrInUse: somebody answers at the socket.
var ErrInUse = errors.New("another davit answers there")

// listener is a unix listener whose path was moved, so it removes it itself.
type listener struct {
	*net.UnixListener
	path string
	info fs.FileInfo
	once sync.Once
}

// listenUnix makes a unix socket of mode 0600 at path. It replaces a socket at
// which nobody answers; anything else there is an error.
func listenUnix(path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("listening on %s: the path has %d bytes, a unix socket's at most %d", path, len(path), maxSocketPath)
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	unlock, err := lockDir(dir)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	defer unlock()
	if err := vacant(path); err != nil {
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	l, err := listenAside(dir, path)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	return l, nil
}

// listenAside makes the socket in a directory that only we may enter, sets its
// mode, and moves it to path. The name aside is opened through the directory's
// descriptor, so it is never longer than the kernel allows.
func listenAside(dir, path string) (net.Listener, error) {
	aside, err := os.MkdirTemp(dir, ".sock-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(aside)
	fd, err := unix.Open(aside, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: fmt.Sprintf("/proc/self/fd/%d/s", fd)})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	fail := func(err error) (net.Listener, error) { l.Close(); return nil, err }
	temp := filepath.Join(aside, "s")
	if err := os.Chmod(temp, 0o600); err != nil {
		return fail(err)
	}
	info, err := os.Lstat(temp)
	if err != nil {
		return fail(err)
	}
	if err := os.Rename(temp, path); err != nil {
		return fail(err)
	}
	return &listener{UnixListener: l, path: path, info: info}, nil
}

// Addr is the path it was moved to.
func (l *listener) Addr() net.Addr { return &net.UnixAddr{Net: "unix", Name: l.path} }

// Close closes the socket and removes its name if it still is ours.
func (l *listener) Close() error {
	err := l.UnixListener.Close()
	l.once.Do(func() {
		if now, e := os.Lstat(l.path); e == nil && os.SameFile(now, l.info) {
			os.Remove(l.path)
		}
	})
	return err
}

// vacant tells whether a socket may be put at path.
func vacant(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("there is something that is not a socket")
	}
	conn, err := net.DialTimeout("unix", path, 5*time.Second)
	if err == nil {
		conn.Close()
		return ErrInUse
	}
	if errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("asking who is there: %w", err)
}

// lockDir keeps two processes from both finding the place vacant.
func lockDir(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("locking %s: %w", dir, err)
	}
	return func() { f.Close() }, nil
}
