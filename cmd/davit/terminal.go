package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/term"

	"github.com/davit-agent/davit/runtime"
)

// interrupted is the end of a command by a signal: 128 and the signal's number,
// as a shell has it.
func interrupted(ctx context.Context) error {
	// The cause of a signal.NotifyContext names the signal.
	if cause := context.Cause(ctx); cause != nil && strings.HasPrefix(cause.Error(), syscall.SIGTERM.String()) {
		return exitCode(128 + int(syscall.SIGTERM))
	}
	return exitCode(128 + int(syscall.SIGINT))
}

// terminal is the terminal that davit runs in, in raw mode if its input is
// passed on.
type terminal struct {
	sizes chan runtime.WinSize // the size now, and whenever it changes
	// restore puts the terminal back as it was.
	restore func()
}

// openTerminal takes the terminal at stdin.
func openTerminal(raw bool) (*terminal, error) {
	fd := int(os.Stdin.Fd())
	if !term.IsTerminal(fd) {
		return nil, errors.New("input is not a terminal or the right kind of file")
	}
	t := &terminal{sizes: make(chan runtime.WinSize)}
	reset := func() {}
	if raw {
		before, err := term.MakeRaw(fd)
		if err != nil {
			return nil, err
		}
		reset = func() { term.Restore(fd, before) }
	}
	changed, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(changed, syscall.SIGWINCH)
	t.restore = func() {
		signal.Stop(changed)
		close(done)
		reset()
	}
	go t.tellSizes(fd, changed, done)
	changed <- syscall.SIGWINCH // the size to begin with
	return t, nil
}

func (t *terminal) tellSizes(fd int, changed <-chan os.Signal, done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case <-changed:
		}
		width, height, err := term.GetSize(fd)
		if err != nil {
			continue
		}
		select {
		case <-done:
			return
		case t.sizes <- runtime.WinSize{Width: uint16(width), Height: uint16(height)}:
		}
	}
}
