package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// PipeSize is asked for each FIFO: what a container can print before it blocks
// while no pump reads. The kernel takes memory only for what is in it; a root
// without CAP_SYS_RESOURCE may be refused (pipe-user-pages-soft), and then keeps
// the kernel's 64 KiB.
const PipeSize = 256 << 10

// makeFIFO makes a FIFO; one that is there is kept.
func makeFIFO(name string) error {
	err := unix.Mkfifo(name, 0o600)
	if errors.Is(err, unix.EEXIST) {
		return checkFIFO(name)
	}
	if err != nil {
		return &os.PathError{Op: "mkfifo", Path: name, Err: err}
	}
	return nil
}

func checkFIFO(name string) error {
	st, err := os.Lstat(name)
	if err != nil {
		return err
	}
	if st.Mode().Type() != os.ModeNamedPipe {
		return fmt.Errorf("%s is not a FIFO", name)
	}
	return nil
}

// OpenFIFO opens both ends of a FIFO: never blocks, never reads an end of file,
// and keeps what is in it as long as the result is open.
func OpenFIFO(name string) (*os.File, error) {
	if err := checkFIFO(name); err != nil {
		return nil, fmt.Errorf("opening FIFO: %w", err)
	}
	f, err := os.OpenFile(name, os.O_RDWR|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("opening FIFO: %w", err)
	}
	rc, err := f.SyscallConn()
	if err == nil {
		err = rc.Control(func(fd uintptr) {
			if n, err := unix.FcntlInt(fd, unix.F_GETPIPE_SZ, 0); err == nil && n < PipeSize {
				_, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, PipeSize)
			}
		})
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("opening FIFO: %w", err)
	}
	return f, nil
}

// Hold is a set of open FIFOs of one entry, opened only so that nothing in them
// is lost while no pump is there.
type Hold struct{ files []*os.File }

// NewHold opens the FIFOs of s.
func NewHold(dir string, s Spec) (*Hold, error) {
	h := &Hold{}
	for _, name := range s.FIFOs() {
		f, err := OpenFIFO(filepath.Join(dir, s.ID, name))
		if err != nil {
			h.Close()
			return nil, err
		}
		h.files = append(h.files, f)
	}
	return h, nil
}

// Close lets go. It may be called on nil.
func (h *Hold) Close() {
	if h == nil {
		return
	}
	for _, f := range h.files {
		f.Close()
	}
	h.files = nil
}

// Marks returns the entry's marks, one byte per FIFO, in memory that is shared
// with their file: what is stored there outlives a process that is killed. They
// are to be released by Unmark.
func Marks(dir string, s Spec) ([]byte, error) {
	f, err := os.OpenFile(filepath.Join(dir, s.ID, marksName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening marks: %w", err)
	}
	defer f.Close()
	n := len(s.FIFOs())
	st, err := f.Stat()
	if err == nil && st.Size() < int64(n) {
		// Written, not only extended: a store into a hole on a full file system
		// would be answered with SIGBUS.
		_, err = f.WriteAt(make([]byte, n), 0)
	}
	if err != nil {
		return nil, fmt.Errorf("writing marks: %w", err)
	}
	m, err := unix.Mmap(int(f.Fd()), 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mapping marks: %w", err)
	}
	return m, nil
}

// Unmark releases what Marks returned. It may be called with nil.
func Unmark(marks []byte) {
	if marks != nil {
		_ = unix.Munmap(marks)
	}
}
