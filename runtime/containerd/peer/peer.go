// Package peer tells processes apart: which one listens at a unix socket, and
// when it was started.
package peer

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ticksPerSecond is the kernel's USER_HZ, 100 on every architecture that Go
// runs on; /proc/<pid>/stat counts in it.
const ticksPerSecond = 100

// Identity names the process that listens at the other end of conn, so
// that two daemons never have the same name: its pid, its start time and the
// boot (pid and start time alone repeat on machines that boot alike).
func Identity(conn *net.UnixConn) (string, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return "", fmt.Errorf("reading socket peer: %w", err)
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err = errors.Join(err, credErr); err != nil {
		return "", fmt.Errorf("reading socket peer: %w", err)
	}
	if cred.Pid == 0 {
		return "", errors.New("reading socket peer: process is in another PID namespace")
	}
	start, err := startTicks(int(cred.Pid))
	if err != nil {
		return "", err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("reading boot id: %w", err)
	}
	return fmt.Sprintf("%d.%d.%s", cred.Pid, start, strings.TrimSpace(string(boot))), nil
}

// startTicks returns the start time of a process in clock ticks since boot.
func startTicks(pid int) (uint64, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, fmt.Errorf("reading start time of process %d: %w", pid, err)
	}
	// The command name stands in parentheses and may hold anything; what
	// follows the last one begins with field 3. Start time is field 22.
	_, rest, _ := bytes.Cut(data[max(0, bytes.LastIndexByte(data, ')')):], []byte(") "))
	fields := bytes.Fields(rest)
	if len(fields) < 20 {
		return 0, fmt.Errorf("reading start time of process %d: unknown form of stat", pid)
	}
	return strconv.ParseUint(string(fields[19]), 10, 64)
}

// StartedAt returns when a process was started; zero if it is not there.
func StartedAt(pid uint32) time.Time {
	ticks, err := startTicks(int(pid))
	if err != nil {
		return time.Time{}
	}
	var boot unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot); err != nil {
		return time.Time{}
	}
	age := time.Duration(boot.Nano()) - time.Duration(ticks)*(time.Second/ticksPerSecond)
	return time.Now().Add(-age).Round(0)
}
