package inside

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// record is what A and B tell the helper. B's may be forged by the container: it
// decides nothing that B could not bring about otherwise.
type record struct{ kind, step, value uint32 }

const (
	recFailed = 1 + iota // value is an errno
	recChild             // value is B's pid
	recReady             // execve is next
)

// cloneArgs is struct clone_args of clone3(2).
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize, cgroup uint64
}

// clone starts A. The helper's signals are blocked meanwhile, so that A, which has
// none of the Go runtime's threads, runs none of its handlers.
func (p *plan) clone() (int, error) {
	args := &cloneArgs{exitSignal: uint64(unix.SIGCHLD)}
	if p.cgroup >= 0 {
		args.flags, args.cgroup = unix.CLONE_INTO_CGROUP, uint64(p.cgroup)
	}
	var all, old uint64 = 1<<64 - 1, 0
	syscall.ForkLock.Lock()
	defer syscall.ForkLock.Unlock()
	pid, errno := p.cloneAndPerform(args, &all, &old)
	if errno != 0 {
		return 0, errno
	}
	return int(pid), nil
}

//go:noinline
//go:nosplit
func (p *plan) cloneAndPerform(args *cloneArgs, all, old *uint64) (uintptr, syscall.Errno) {
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(all)), uintptr(unsafe.Pointer(old)), 8, 0, 0)
	pid, _, errno := syscall.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(args)), unsafe.Sizeof(*args), 0)
	if errno == 0 && pid == 0 {
		p.perform()
	}
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(old)), 0, 8, 0, 0)
	return pid, errno
}

// perform performs all steps. It does not return, allocates nothing, grows no stack
// and calls nothing of the Go runtime.
//
//go:noinline
//go:nosplit
func (p *plan) perform() {
	report := uintptr(p.report)
	refused := false
	var last syscall.Errno // of execve
	for i := range p.steps {
		s := &p.steps[i]
		if s.mode == mark {
			p.tell(report, recReady, i, 0)
			continue
		}
		if s.mode == second && !refused {
			continue
		}
		r, _, errno := syscall.RawSyscall6(s.nr, s.args[0], s.args[1], s.args[2], s.args[3], s.args[4], s.args[5])
		if s.nr == unix.SYS_DUP3 && errno == 0 {
			report = s.args[1]
		}
		denied := errno == unix.EACCES || errno == unix.EPERM
		missing := errno == unix.ENOENT || errno == unix.ENOTDIR
		good := errno == 0
		switch s.mode {
		case lacking:
			good = good || errno == unix.ENOSYS
		case first:
			refused = denied
			good = good || denied
		case rooted:
			if good && p.cwd[0] != '/' {
				good, errno = false, unix.ENOENT
			}
		case fork:
			if good && r != 0 {
				p.tell(report, recChild, i, uint32(r))
				p.end(0)
			}
		case program:
			last = errno
			good = missing || errno == unix.EACCES
		case absent:
			good = missing || errno == unix.EACCES || last == unix.EACCES
			errno = last
		}
		if !good {
			p.tell(report, recFailed, i, uint32(errno))
			p.end(1)
		}
	}
	p.tell(report, recFailed, len(p.steps)-1, uint32(last))
	p.end(1)
}

//go:nosplit
func (p *plan) tell(fd uintptr, kind uint32, at int, value uint32) {
	p.rec = record{kind, uint32(at), value}
	syscall.RawSyscall(unix.SYS_WRITE, fd, uintptr(unsafe.Pointer(&p.rec)), unsafe.Sizeof(p.rec))
}

//go:nosplit
func (p *plan) end(code uintptr) {
	for {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, code, 0, 0)
	}
}
