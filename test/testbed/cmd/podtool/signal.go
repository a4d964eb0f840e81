package main

import (
	"os"
	"os/signal"
	"syscall"
)

// windowChanges returns a channel that tells of SIGWINCH.
func windowChanges() <-chan os.Signal {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGWINCH)
	return c
}
