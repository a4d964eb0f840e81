// Command davit is the node's pod agent and the command line to it: one small
// file for each subcommand, which turns flags into calls and answers into text.
//
// Exit codes: 0, 1 for what failed, 2 for a command line that makes no sense;
// exec exits as the command it ran.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/davit-agent/davit/agent/server/client"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends what does not end by itself
	os.Exit(run(ctx, os.Args[1:]))
}

// exitCode is the end of a command that davit ran for somebody.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// usageError is a command line that makes no sense.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// run carries a command line out and returns the exit code.
func run(ctx context.Context, args []string) int {
	root, begun := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var code exitCode
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	fmt.Fprintln(os.Stderr, "error:", err)
	switch {
	case errors.As(err, &usage) || !*begun:
		fmt.Fprintln(os.Stderr, "See 'davit --help'.")
		return 2
	case errors.Is(err, client.ErrNotRunning):
		fmt.Fprintln(os.Stderr, "Start it with 'davit run' (as a service: 'systemctl start davit'), or name its socket with --socket or DAVIT_SOCKET.")
	case errors.Is(err, os.ErrPermission):
		fmt.Fprintln(os.Stderr, "Only root may talk to davit: try sudo.")
	}
	return 1
}
