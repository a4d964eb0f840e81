package main

import (
	"cmp"
	"errors"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/davit-agent/davit/agent/server/client"
)

const defaultSocket = "/run/davit/davit.sock"

// global holds the flags that all subcommands know.
type global struct {
	socket string
}

func (g *global) client() *client.Client { return client.New(g.socket) }

// newRoot returns the command tree. begun tells after Execute whether the
// command line made sense.
func newRoot() (root *cobra.Command, begun *bool) {
	g := &global{}
	begun = new(bool)
	root = &cobra.Command{
		Use:   "davit",
		Short: "davit runs the pods of one node, straight on containerd",
		Long: "davit runs the pods of one node, straight on containerd. 'davit run' is the daemon; the other commands\n" +
			"look at what it runs, and talk to it through its socket.\n\n" +
			"Exit codes: 0, 1 for what failed, 2 for a command line that makes no sense; exec exits as its command.",
		Example:       "  davit apply -f web.yaml --wait\n  davit get pods -A\n  davit explain pod web",
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRun: func(*cobra.Command, []string) {
			*begun = true
		},
	}
	root.PersistentFlags().StringVar(&g.socket, "socket", cmp.Or(os.Getenv("DAVIT_SOCKET"), defaultSocket),
		"socket of the davit to talk to; DAVIT_SOCKET sets the default")
	root.AddCommand(newRun(), newGet(g), newExplain(g), newImages(g), newApply(g), newDelete(g), newLogs(g), newExec(g), newPortForward(g),
		newConfig(), newCleanup(), newVersion(g), newCompletion(), newMan())
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(unknownFlag)
	g.registerCompletions(root)
	return root, begun
}

// unknownFlag adds to an error about a flag which one may have been meant.
func unknownFlag(cmd *cobra.Command, err error) error {
	var no *pflag.NotExistError
	if !errors.As(err, &no) || len(no.GetSpecifiedName()) < 2 {
		return err
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, "--"+f.Name) })
	word := "--" + strings.TrimLeft(no.GetSpecifiedName(), "-")
	return usagef("%w%s", err, didYouMean(word, names))
}

// namespaceFlag adds -n.
func namespaceFlag(cmd *cobra.Command, into *string) {
	cmd.Flags().StringVarP(into, "namespace", "n", "default", "namespace of the pod")
}
