package inside

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mode says what a step's outcome means.
type mode uint8

const (
	must    mode = iota // an error ends everything
	lacking             // the kernel may lack the call (ENOSYS)
	first               // EACCES and EPERM have the steps of mode second performed
	second              // only if first was refused
	rooted              // plan.cwd is a path that must begin with a slash
	fork                // the parent reports its child and ends, the child goes on
	mark                // the record that is written when execve is all that is left
	program             // execve: what is not there, or not allowed, has the next tried
	absent              // what execve did not find (ENOENT) must not be there
)

// step is a system call.
type step struct {
	nr   uintptr
	args [6]uintptr
	mode mode
	name string
}

// plan is all that is done between the clone and the command.
type plan struct {
	steps  []step
	cgroup int // descriptor to be born into; -1 is none
	report int // the descriptor that records are written to
	rec    record
	cwd    [unix.PathMax]byte
	keep   []unsafe.Pointer // what the arguments point to
}

// reportFD is where the records' pipe is once all else is closed.
const reportFD = 3

// handles are what a plan needs of the container, open.
type handles struct {
	report     int
	namespaces []int // in the order in which they are joined
	tasks      []int // of the hierarchies of version 1
	unified    int   // -1 is none
	rlimits    [rlimits]unix.Rlimit
	lastCap    int
}

// rlimits is how many limits Linux has.
const rlimits = 16

func newPlan(r *Request, h *handles) (*plan, error) {
	p := &plan{cgroup: h.unified, report: h.report}
	zero := p.bytes("0")
	for _, fd := range h.tasks {
		p.do(must, "joining a cgroup", unix.SYS_WRITE, uintptr(fd), zero, 1)
	}
	ring, err := p.text("_ses." + r.Target.ID)
	if err != nil {
		return nil, err
	}
	p.do(lacking, "joining the session keyring", unix.SYS_KEYCTL, unix.KEYCTL_JOIN_SESSION_KEYRING, ring)
	limits := h.rlimits
	for _, l := range r.Rlimits {
		if l.Resource >= rlimits {
			return nil, fmt.Errorf("unknown rlimit %d", l.Resource)
		}
		hard := limits[l.Resource].Max // never more than the container's first process has
		limits[l.Resource] = unix.Rlimit{Cur: min(l.Soft, hard), Max: min(l.Hard, hard)}
	}
	for i := range limits {
		l := limits[i]
		p.do(must, fmt.Sprintf("setting rlimit %d", i), unix.SYS_PRLIMIT64, 0, uintptr(i), hold(p, &l), 0)
	}
	for _, fd := range h.namespaces {
		p.do(must, "joining a namespace", unix.SYS_SETNS, uintptr(fd), 0)
	}
	// Nothing of the host's but the outputs and the report goes further.
	p.do(must, "closing descriptors", unix.SYS_DUP3, uintptr(h.report), reportFD, unix.O_CLOEXEC)
	p.do(must, "closing descriptors", unix.SYS_CLOSE_RANGE, reportFD+1, 1<<32-1, 0)
	p.do(must, "setting umask", unix.SYS_UMASK, uintptr(r.User.Umask))
	// These the Go runtime leaves ignored if davit was started so; execve would too.
	dfl := hold(p, &[8]uint64{})
	for _, sig := range []unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGPIPE} {
		p.do(must, "resetting signals", unix.SYS_RT_SIGACTION, uintptr(sig), dfl, 0, 8)
	}
	for c := 0; c <= h.lastCap; c++ {
		if r.Caps.Bounding&(1<<c) == 0 {
			p.do(must, "dropping a capability", unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0)
		}
	}
	// Without no_new_privs a filter needs privileges, with it it comes last.
	if !r.NoNewPrivileges {
		if err := p.filters(r); err != nil {
			return nil, err
		}
	}
	if err := p.become(r); err != nil {
		return nil, err
	}
	if r.NoNewPrivileges {
		p.do(must, "setting no_new_privs", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	}
	// A change of user may have made the memory readable again (fs.suid_dumpable).
	p.do(must, "hiding the memory", unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	if r.NoNewPrivileges {
		if err := p.filters(r); err != nil {
			return nil, err
		}
	}
	p.do(fork, "forking", unix.SYS_CLONE, unix.CLONE_PARENT|uintptr(unix.SIGCHLD), 0, 0, 0, 0)
	return p, p.start(r)
}

// become takes on the user and capabilities, and goes to the working directory: as
// the mighty user if that may, else as the container's.
func (p *plan) become(r *Request) error {
	cwd, err := p.text(r.Cwd)
	if err != nil {
		return err
	}
	p.do(must, "keeping capabilities", unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1, 0, 0, 0)
	p.do(first, "changing to the working directory", unix.SYS_CHDIR, cwd)
	groups := uintptr(0)
	if n := len(r.User.Groups); n > 0 {
		groups = p.pin(unsafe.Pointer(&r.User.Groups[0]))
	}
	p.do(must, "setting groups", unix.SYS_SETGROUPS, uintptr(len(r.User.Groups)), groups)
	gid, uid := uintptr(r.User.GID), uintptr(r.User.UID)
	p.do(must, "setting group", unix.SYS_SETRESGID, gid, gid, gid)
	p.do(must, "setting user", unix.SYS_SETRESUID, uid, uid, uid)
	p.do(second, "changing to the working directory", unix.SYS_CHDIR, cwd)
	p.do(rooted, "checking the working directory", unix.SYS_GETCWD, uintptr(unsafe.Pointer(&p.cwd[0])), uintptr(len(p.cwd)))
	p.do(must, "keeping capabilities", unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 0, 0, 0, 0)
	c := r.Caps
	data := [2]unix.CapUserData{}
	for i := range data {
		shift := 32 * i
		data[i] = unix.CapUserData{Effective: uint32(c.Effective >> shift), Permitted: uint32(c.Permitted >> shift), Inheritable: uint32(c.Inheritable >> shift)}
	}
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	p.do(must, "setting capabilities", unix.SYS_CAPSET, hold(p, &head), hold(p, &data))
	p.do(must, "clearing ambient capabilities", unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	for n := range 64 {
		if c.Ambient&(1<<n) != 0 {
			p.do(must, "raising an ambient capability", unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(n), 0, 0)
		}
	}
	return nil
}

func (p *plan) filters(r *Request) error {
	for _, f := range r.Filters {
		if len(f) == 0 || len(f)%8 != 0 || len(f)/8 > 1<<16-1 {
			return fmt.Errorf("seccomp program of %d bytes", len(f))
		}
		prog := struct {
			n   uint16
			ptr unsafe.Pointer
		}{uint16(len(f) / 8), unsafe.Pointer(&f[0])}
		p.do(must, "installing the seccomp filter", unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(r.FilterFlags), hold(p, &prog))
	}
	return nil
}

// start is what the process in the container's PID namespace does.
func (p *plan) start(r *Request) error {
	p.do(must, "making a session", unix.SYS_SETSID)
	p.do(must, "setting the death signal", unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
	p.do(must, "unblocking signals", unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, hold(p, new(uint64)), 0, 8)
	p.do(mark, "", 0)
	args, err := p.vector(r.Args)
	if err != nil {
		return err
	}
	env, err := p.vector(r.Env)
	if err != nil {
		return err
	}
	for _, path := range r.Paths {
		ptr, err := p.text(path)
		if err != nil {
			return err
		}
		p.do(program, "executing", unix.SYS_EXECVE, ptr, args, env)
		p.do(absent, "executing", unix.SYS_FACCESSAT, ^uintptr(99), ptr, unix.F_OK) // AT_FDCWD
	}
	return nil
}

func (p *plan) do(m mode, name string, nr uintptr, args ...uintptr) {
	s := step{nr: nr, mode: m, name: name}
	copy(s.args[:], args)
	p.steps = append(p.steps, s)
}

// pin keeps what ptr points to, which is on the heap and so does not move.
func (p *plan) pin(ptr unsafe.Pointer) uintptr {
	p.keep = append(p.keep, ptr)
	return uintptr(ptr)
}

func hold[T any](p *plan, v *T) uintptr { return p.pin(unsafe.Pointer(v)) }

func (p *plan) bytes(s string) uintptr {
	b := append([]byte(s), 0)
	return p.pin(unsafe.Pointer(&b[0]))
}

// errNull does not say where: environments hold secrets.
var errNull = errors.New("a null byte in an argument, variable or path")

func (p *plan) text(s string) (uintptr, error) {
	for i := range len(s) {
		if s[i] == 0 {
			return 0, errNull
		}
	}
	return p.bytes(s), nil
}

func (p *plan) vector(list []string) (uintptr, error) {
	v := make([]uintptr, len(list)+1) // the strings are kept by p.keep
	for i, s := range list {
		var err error
		if v[i], err = p.text(s); err != nil {
			return 0, err
		}
	}
	return p.pin(unsafe.Pointer(&v[0])), nil
}
