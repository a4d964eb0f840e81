package keyring

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/davit-agent/davit/runtime"
)

// File is the config.json of the node. It is safe for concurrent use.
type File struct {
	path string
	log  *slog.Logger

	mu     sync.Mutex
	seen   stamp    // of the file that was read last; zero: read it again
	sum    [32]byte // of what was in it, and its mode
	ring   *Keyring // of the last that was whole
	err    error    // why the file as it is now is not used
	logged string   // the last error in the log
}

// stamp tells one state of a file from the next.
type stamp struct {
	ino, size    int64
	mtime, ctime syscall.Timespec
}

// NewFile returns the credentials in a file, which may come and change later;
// "" has none. It is read when it is needed.
func NewFile(path string, log *slog.Logger) *File {
	return &File{path: path, log: log, ring: &Keyring{}}
}

// Lookup is Keyring.Lookup with the file as it is now. It costs opening
// the file, and reading it when it has changed.
func (f *File) Lookup(image string) ([]runtime.Credential, []error) {
	if f.path == "" {
		return nil, nil
	}
	f.mu.Lock()
	f.refreshLocked()
	ring, failed := f.ring, f.err
	f.mu.Unlock()
	found, problems := ring.Lookup(image)
	if failed != nil {
		problems = append(problems, failed)
	}
	return found, problems
}

// racy is how close a file's times may be to now for another change to leave
// them as they are: the kernel's clock for files moves every 1 to 10 ms.
const racy = 100 * time.Millisecond

// refreshLocked reads the file if it may not be the one that was read.
func (f *File) refreshLocked() {
	file, err := os.OpenFile(f.path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO is not waited for
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) { // whoever removes it takes them back
			f.ring = &Keyring{}
		}
		f.failLocked(fmt.Errorf("reading credentials: %w", err))
		return
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		f.failLocked(fmt.Errorf("reading credentials: %w", err))
		return
	}
	now := stampOf(info)
	switch {
	case now == f.seen:
		return
	case !info.Mode().IsRegular():
		f.failLocked(fmt.Errorf("reading credentials: %s is not a file", f.path))
		return
	}
	data, err := io.ReadAll(io.LimitReader(file, MaxSize+1))
	if err != nil {
		f.failLocked(fmt.Errorf("reading credentials: %w", err))
		return
	}
	f.seen = now
	if time.Since(time.Unix(now.ctime.Unix())) < racy {
		f.seen = stamp{}
	}
	perm := info.Mode().Perm()
	sum := sha256.Sum256(fmt.Appendf(data, "%d", perm))
	if sum == f.sum {
		return
	}
	f.sum = sum
	f.takeLocked(data)
	if perm&0o007 != 0 {
		f.log.Warn("the file with the registries' credentials is open to everybody on this machine: chmod 0600 it",
			"file", f.path, "mode", perm.String())
	}
}

// takeLocked takes new content. If nothing of it can be used what was good
// before stays.
func (f *File) takeLocked(data []byte) {
	ring := Parse("file "+f.path, data)
	if len(ring.entries) == 0 && len(ring.problems) > 0 && len(f.ring.entries) > 0 {
		f.tellLocked(fmt.Errorf("%w; the credentials of before are used", ring.problems[0].err))
		return
	}
	f.ring, f.err, f.logged = ring, nil, ""
	for _, err := range ring.Problems() {
		f.log.Warn("cannot use a credential", "err", err)
	}
}

// failLocked notes that the file cannot be read now.
func (f *File) failLocked(err error) {
	f.seen, f.sum = stamp{}, [32]byte{}
	f.tellLocked(err)
}

func (f *File) tellLocked(err error) {
	f.err = err
	if f.logged != err.Error() {
		f.logged = err.Error()
		f.log.Warn("cannot read the registries' credentials", "err", err)
	}
}

func stampOf(info os.FileInfo) stamp {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return stamp{size: info.Size()}
	}
	return stamp{ino: int64(st.Ino), size: st.Size, mtime: st.Mtim, ctime: st.Ctim}
}
