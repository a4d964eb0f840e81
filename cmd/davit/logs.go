package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/davit-agent/davit/agent/server/client"
)

func newLogs(g *global) *cobra.Command {
	var o client.LogOptions
	cmd := &cobra.Command{
		Use:     "logs POD [CONTAINER]",
		Short:   "Show what a container printed",
		Example: "  davit logs web -c server -f --timestamps",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Pod = args[0]
			if len(args) == 2 {
				if o.Container != "" && o.Container != args[1] {
					return usagef("two containers are named, %s and %s", o.Container, args[1])
				}
				o.Container = args[1]
			}
			o.Notice = func(text string) { fmt.Fprintln(cmd.ErrOrStderr(), text) }
			return g.client().Logs(cmd.Context(), o, cmd.OutOrStdout())
		},
		ValidArgsFunction: g.podNames(&o.Namespace),
	}
	namespaceFlag(cmd, &o.Namespace)
	cmd.Flags().StringVarP(&o.Container, "container", "c", "", "container; the default one if left out")
	cmd.Flags().BoolVarP(&o.Follow, "follow", "f", false, "go on until the container ends")
	cmd.Flags().BoolVar(&o.Timestamps, "timestamps", false, "begin each line with its time")
	cmd.Flags().BoolVarP(&o.Previous, "previous", "p", false, "of the attempt before the newest")
	return cmd
}
