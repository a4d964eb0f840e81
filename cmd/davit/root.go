package main

import (
	"cmp"
	"context"
	"os"
	"time"

	"github.com/spf13/cobra"

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
		Use:           "davit",
		Short:         "davit runs the pods of one node, straight on containerd",
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRun: func(*cobra.Command, []string) {
			*begun = true
		},
	}
	root.PersistentFlags().StringVar(&g.socket, "socket", cmp.Or(os.Getenv("DAVIT_SOCKET"), defaultSocket),
		"socket of the davit to talk to; DAVIT_SOCKET sets the default")
	root.AddCommand(newRun(), newGet(g), newLogs(g), newExec(g), newConfig(), newCleanup(), newVersion(g))
	return root, begun
}

// podNames completes the name of a pod in the first argument.
func (g *global) podNames(namespace *string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		list, err := g.client().Pods(ctx, *namespace)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var names []string
		for _, p := range list.Items {
			names = append(names, p.Name)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// namespaceFlag adds -n.
func namespaceFlag(cmd *cobra.Command, into *string) {
	cmd.Flags().StringVarP(into, "namespace", "n", "default", "namespace of the pod")
}
