package inside

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The descriptors that the helper is started with, beside /dev/null as its input
// and the outputs of the command.
const (
	ControlFD = 3 // the request; its end afterwards means that the command shall die
	ResultFD  = 4 // the Result
)

// Result is how it went. NotRun: nothing of the command was executed, and Reason
// says why. Gone: because the target is not as it was described.
type Result struct {
	NotRun bool
	Gone   bool
	Status unix.WaitStatus
	Reason string
}

// Encode returns r as DecodeResult reads it.
func (r Result) Encode() []byte {
	b := make([]byte, 5, 5+len(r.Reason))
	if r.NotRun {
		b[0] |= 1
	}
	if r.Gone {
		b[0] |= 2
	}
	binary.LittleEndian.PutUint32(b[1:], uint32(r.Status))
	return append(b, r.Reason...)
}

// DecodeResult reads what a helper wrote.
func DecodeResult(b []byte) (Result, error) {
	if len(b) < 5 {
		return Result{}, errors.New("the helper ended before it had told a result")
	}
	return Result{NotRun: b[0]&1 != 0, Gone: b[0]&2 != 0, Status: unix.WaitStatus(binary.LittleEndian.Uint32(b[1:])), Reason: string(b[5:])}, nil
}

// Serve is the helper's whole life: one request, one command, one result. To be
// called by the main goroutine of a program that was started for it.
func Serve() error {
	// B's death signal comes when the thread ends that made A.
	runtime.LockOSThread()
	debug.SetGCPercent(-1)
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("hiding the memory: %w", err)
	}
	// With fs.suid_dumpable=1 a change of user opens the memory to that user.
	if b, err := os.ReadFile("/proc/sys/fs/suid_dumpable"); err != nil || len(b) == 0 || b[0] == '1' {
		return tell(Result{NotRun: true, Reason: "fs.suid_dumpable is 1, or cannot be read"})
	}
	req, err := Decode(fdReader(ControlFD))
	if err != nil {
		return err
	}
	status, err := req.run()
	if err != nil {
		var ran *ranError
		if errors.As(err, &ran) {
			return err
		}
		return tell(Result{NotRun: true, Gone: errors.Is(err, errGone), Reason: err.Error()})
	}
	return tell(Result{Status: status})
}

func tell(r Result) error {
	if _, err := unix.Write(ResultFD, r.Encode()); err != nil {
		return fmt.Errorf("telling the result: %w", err)
	}
	return nil
}

// fdReader reads a descriptor without the runtime's poller, which would make more
// descriptors.
type fdReader int

func (fd fdReader) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(int(fd), p)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err == nil && n == 0:
			return 0, io.EOF
		}
		return max(n, 0), err
	}
}

// errGone means that the target is not as it was described.
var errGone = errors.New("entering the container")

// ranError means that the command may have run.
type ranError struct{ why string }

func (e *ranError) Error() string { return e.why }

// run runs the command. An error that is no ranError means that nothing was run.
func (r *Request) run() (unix.WaitStatus, error) {
	h, err := r.Target.open()
	if errors.Is(err, errUnlike) || errors.Is(err, errFrozen) {
		return 0, err // which asking anew would not change
	}
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errGone, err)
	}
	if r.Home {
		home, err := r.Target.home(r.User.UID)
		if err != nil {
			return 0, err
		}
		r.Env = append(r.Env, "HOME="+home)
	}
	// Inherited, like all that a process has and that no step changes.
	score := strconv.Itoa(int(r.OOMScoreAdj))
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte(score), 0); err != nil {
		return 0, fmt.Errorf("setting oom_score_adj to %s: %w", score, err)
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return 0, fmt.Errorf("making a pipe: %w", err)
	}
	// Descriptors up to here belong to the start; the list reuses their numbers.
	if h.report, err = unix.FcntlInt(uintptr(pipe[1]), unix.F_DUPFD_CLOEXEC, 10); err != nil {
		return 0, fmt.Errorf("making a pipe: %w", err)
	}
	p, err := newPlan(r, h)
	if err != nil {
		return 0, err
	}
	a, err := p.clone()
	runtime.KeepAlive(p)
	if err != nil {
		return 0, fmt.Errorf("forking: %w", err)
	}
	_ = unix.Close(pipe[1])
	_ = unix.Close(h.report)
	k := &killer{pid: a}
	go k.watch()
	return p.follow(a, pipe[0], k)
}

// follow waits for A, then for B.
func (p *plan) follow(a, pipe int, k *killer) (unix.WaitStatus, error) {
	b, ready := 0, false
	var failed error
	in := fdReader(pipe)
	for {
		var rec record
		buf := (*[unsafe.Sizeof(rec)]byte)(unsafe.Pointer(&rec))[:]
		if _, err := io.ReadFull(in, buf); err != nil {
			break
		}
		switch rec.kind {
		case recChild:
			b = int(rec.value)
		case recReady:
			ready = true
		case recFailed:
			failed = unix.Errno(rec.value)
			if int(rec.step) < len(p.steps) {
				failed = fmt.Errorf("%s: %w", p.steps[rec.step].name, failed)
			}
		}
	}
	status, err := k.reap(a)
	if err != nil {
		return 0, &ranError{"waiting for the first child: " + err.Error()}
	}
	if b, err = child(b); err != nil {
		return 0, &ranError{err.Error()}
	}
	if b == 0 {
		if failed == nil {
			failed = fmt.Errorf("the first child ended with status %#x", uint32(status))
		}
		return 0, failed
	}
	k.follow(b)
	status, err = k.reap(b)
	if err != nil {
		return 0, &ranError{"waiting for the command: " + err.Error()}
	}
	if failed == nil && !ready {
		failed = fmt.Errorf("the second child ended with status %#x", uint32(status))
	}
	if failed != nil {
		return 0, failed
	}
	return status, nil
}
