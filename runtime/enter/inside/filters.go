package inside

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxFilters bounds how many seccomp programs of a process are read.
const maxFilters = 16

// Filters returns the seccomp programs that a process runs under, the oldest first.
// The process is stopped meanwhile, and goes on as if nothing had been.
func Filters(pid int) (filters [][]byte, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.PtraceSeize(pid); err != nil {
		return nil, fmt.Errorf("tracing process %d: %w", pid, err)
	}
	defer func() { err = errors.Join(err, unix.PtraceDetach(pid)) }()
	if err := unix.PtraceInterrupt(pid); err != nil {
		return nil, fmt.Errorf("stopping process %d: %w", pid, err)
	}
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &status, unix.WALL, nil)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EINTR) {
			return nil, fmt.Errorf("waiting for process %d: %w", pid, err)
		}
	}
	if !status.Stopped() {
		return nil, fmt.Errorf("process %d ended", pid)
	}
	for i := range maxFilters {
		f, err := filterOf(pid, i)
		if errors.Is(err, unix.EINVAL) && i == 0 { // it is under none
			return nil, nil
		}
		if errors.Is(err, unix.ENOENT) { // the kernel counts from the newest
			for a, b := 0, len(filters)-1; a < b; a, b = a+1, b-1 {
				filters[a], filters[b] = filters[b], filters[a]
			}
			return filters, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading seccomp filter %d: %w", i, err)
		}
		filters = append(filters, f)
	}
	return nil, fmt.Errorf("process %d has more than %d seccomp filters", pid, maxFilters)
}

func filterOf(pid, i int) ([]byte, error) {
	n, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SECCOMP_GET_FILTER, uintptr(pid), uintptr(i), 0, 0, 0)
	if errno != 0 {
		return nil, errno
	}
	if n == 0 {
		return nil, errors.New("an empty program")
	}
	f := make([]byte, 8*n)
	_, _, errno = unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SECCOMP_GET_FILTER, uintptr(pid), uintptr(i), uintptr(unsafe.Pointer(&f[0])), 0, 0)
	if errno != 0 {
		return nil, errno
	}
	return f, nil
}

// WriteFilters writes what Filters returned.
func WriteFilters(w io.Writer, filters [][]byte) error {
	for _, f := range filters {
		if _, err := w.Write(append(binary.LittleEndian.AppendUint32(nil, uint32(len(f))), f...)); err != nil {
			return fmt.Errorf("writing seccomp filters: %w", err)
		}
	}
	return nil
}

// ReadFilters reads what WriteFilters wrote.
func ReadFilters(b []byte) ([][]byte, error) {
	var filters [][]byte
	for len(b) > 0 {
		if len(b) < 4 {
			return nil, errRequest
		}
		n := binary.LittleEndian.Uint32(b)
		b = b[4:]
		if uint64(n) > uint64(len(b)) || n == 0 || n%8 != 0 {
			return nil, errRequest
		}
		filters = append(filters, b[:n:n])
		b = b[n:]
	}
	return filters, nil
}
