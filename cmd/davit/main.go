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
	"io/fs"
	"os"
	"os/signal"
	"syscall"

	"github.com/davit-agent/davit/agent/server/client"
	"github.com/davit-agent/davit/cmd/davit/printer"
	"github.com/davit-agent/davit/cmd/davit/usage"
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
type usageError = usage.Error

func usagef(format string, args ...any) error { return usage.Errorf(format, args...) }

func didYouMean(word string, words []string) string { return usage.DidYouMean(word, words) }

// run carries a command line out and returns the exit code.
func run(ctx context.Context, args []string) int {
	root, begun := newRoot()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	var code exitCode
	var wrong usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	fmt.Fprintln(os.Stderr, "error:", printer.SafeText(err.Error()))
	if errors.As(err, &wrong) || !*begun {
		fmt.Fprintf(os.Stderr, "See '%s --help'.\n", cmd.CommandPath())
		return 2
	}
	if text := remedy(err); text != "" {
		fmt.Fprintln(os.Stderr, text)
	}
	return 1
}

// remedy is what to do about davit not answering, or "".
func remedy(err error) string {
	const other = "or name its socket with --socket or DAVIT_SOCKET."
	switch {
	case errors.Is(err, client.ErrNotRunning) && errors.Is(err, fs.ErrNotExist):
		return "Start it with 'davit run' (as a service: 'systemctl start davit'), " + other
	case errors.Is(err, client.ErrNotRunning):
		return "The socket is there, but nobody listens: davit was killed or is about to start. See 'systemctl status davit' and\n" +
			"'journalctl -u davit', start it with 'davit run' (as a service: 'systemctl restart davit'), " + other
	case errors.Is(err, client.ErrDenied):
		return "Only root may talk to davit: try sudo, " + other
	}
	return ""
}
