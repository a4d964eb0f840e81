package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/davit-agent/davit/agent/server/client"
)

func newExec(g *global) *cobra.Command {
	var o client.ExecOptions
	var stdin, quiet bool
	cmd := &cobra.Command{
		Use:   "exec POD [-it] [-c CONTAINER] -- COMMAND [ARG...]",
		Short: "Run a command in a container; its exit code is davit's",
		Long: "Run a command in a container; its exit code is davit's. It ends with davit: when davit is interrupted,\n" +
			"killed or loses its connection, the command is killed. With -it the keys go to the command, Ctrl-C too.",
		Example: "  davit exec -it web -c server -- sh\n  davit exec web -- cat /etc/hosts > hosts\n" +
			"  tar c . | davit exec -i web -- tar x -C /data",
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.ArgsLenAtDash() != 1 || len(args) < 2 {
				return usagef("exec takes POD -- COMMAND [ARG...]")
			}
			var err error
			if o.Pod, err = podArgument(args[0]); err != nil {
				return err
			}
			o.Command = args[1:]
			o.Stdout, o.Stderr = cmd.OutOrStdout(), cmd.ErrOrStderr()
			if stdin {
				o.Stdin = cmd.InOrStdin()
			}
			if !quiet {
				o.Notice = func(text string) { fmt.Fprintln(o.Stderr, text) }
			}
			return execIn(cmd.Context(), g.client(), o)
		},
		ValidArgsFunction: g.podNames(&o.Namespace),
	}
	namespaceFlag(cmd, &o.Namespace)
	cmd.Flags().StringVarP(&o.Container, "container", "c", "", "container; the default one if left out")
	cmd.Flags().BoolVarP(&stdin, "stdin", "i", false, "pass stdin on")
	cmd.Flags().BoolVarP(&o.TTY, "tty", "t", false, "give the command a terminal")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print nothing but what the command does")
	return cmd
}

func execIn(ctx context.Context, c *client.Client, o client.ExecOptions) error {
	if o.TTY {
		term, err := openTerminal(o.Stdin != nil)
		if err != nil {
			if o.Notice != nil {
				o.Notice("Unable to use a TTY - " + err.Error())
			}
			o.TTY = false
		} else {
			defer term.restore()
			o.Resize = term.sizes
		}
	}
	code, err := c.Exec(ctx, o)
	if ctx.Err() != nil {
		return interrupted(ctx)
	}
	if err != nil {
		return err
	}
	if code != 0 {
		return exitCode(code)
	}
	return nil
}
