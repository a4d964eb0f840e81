package inside

import (
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// killer kills the child that is waited for when davit lets go of the request. A
// child that was reaped is not killed: its number may be another's.
type killer struct {
	mu    sync.Mutex
	pid   int // 0: none
	dying bool
}

// watch waits for the end of the control descriptor.
func (k *killer) watch() {
	var b [1]byte
	for {
		if _, err := fdReader(ControlFD).Read(b[:]); err != nil {
			break
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dying = true
	k.killLocked()
}

func (k *killer) follow(pid int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pid = pid
	if k.dying {
		k.killLocked()
	}
}

func (k *killer) killLocked() {
	if k.pid > 0 {
		_ = unix.Kill(-k.pid, unix.SIGKILL) // its group, if it has one yet
		_ = unix.Kill(k.pid, unix.SIGKILL)
	}
}

// reap waits for the end of a child.
func (k *killer) reap(pid int) (unix.WaitStatus, error) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EINTR) {
			return 0, err
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pid = 0
	var status unix.WaitStatus
	_, err := unix.Wait4(pid, &status, 0, nil)
	return status, err
}

// child returns the pid of this process' only child, 0 if it has none. said is what
// a record told, which may be wrong.
func child(said int) (int, error) {
	if said > 0 && unix.Waitid(unix.P_PID, said, nil, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil) == nil {
		return said, nil
	}
	err := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil)
	if errors.Is(err, unix.ECHILD) {
		return 0, nil
	}
	return 0, fmt.Errorf("a child whose number is not known: %v", err)
}
