package main

import (
	"errors"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"golang.org/x/sys/unix"
)

// initProcess reaps what is orphaned in its PID namespace until SIGTERM or
// SIGINT. It forwards no signal: each container's processes are signalled by
// themselves. It opens no file, for its root may be empty and read-only.
func initProcess() error {
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(-1) // allocates nothing after this
	signals := make(chan os.Signal, 16)
	// The Go runtime would die of some of these with a dump.
	signal.Ignore(syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGABRT, syscall.SIGUSR1, syscall.SIGUSR2,
		syscall.SIGPIPE, syscall.SIGALRM, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGTSTP)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
	for {
		// Before the first wait too: a child may have ended already. SIGCHLD is
		// coalesced, so all that are there are taken.
		if err := reap(); err != nil {
			return err
		}
		if sig := <-signals; sig != syscall.SIGCHLD {
			return nil
		}
	}
}

func reap() error {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.ECHILD):
			return nil
		case err != nil:
			return err
		case pid == 0:
			return nil
		}
	}
}

// hold waits for the end of r.
func hold(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}
