package main

import (
	"os"
	"os/signal"
	"syscall"
	"time"
)

const forEver = 100 * 365 * 24 * time.Hour

func exit(args []string) int {
	code := number(args, 0, 0)
	time.Sleep(duration(args, 1, 0))
	return code
}

// ready shows from outside that signals are handled from now on as the command
// says: SIGUSR2 is ignored, which SigIgn in /proc/<pid>/status tells. Whether
// SIGTERM is caught (SigCgt) tells nothing, since Go's runtime catches it before
// main does, and then ends the program with 2.
func ready() { signal.Ignore(syscall.SIGUSR2) }

// sleep handles SIGTERM: as PID 1 a process without a handler never sees it.
func sleep(args []string) int {
	wait, code := duration(args, 0, forEver), number(args, 1, 0)
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	ready()
	select {
	case <-ended:
		return code
	case <-time.After(wait):
		return 0
	}
}

func ignoreTerm(args []string) int {
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT)
	ready()
	time.Sleep(duration(args, 0, forEver))
	return 0
}

// oom touches every page that it takes, 1 MiB at a time.
func oom([]string) int {
	const step = 1 << 20
	for {
		mem, err := syscall.Mmap(-1, 0, step, syscall.PROT_READ|syscall.PROT_WRITE,
			syscall.MAP_PRIVATE|syscall.MAP_ANON)
		if err != nil {
			return fail(err)
		}
		for i := 0; i < step; i += 4096 {
			mem[i] = 1
		}
	}
}
