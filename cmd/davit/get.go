package main

import "github.com/spf13/cobra"

func newGet(g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "get",
		Short: "Show what is on this node",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return usagef("get what? One of: pods, problems")
		},
	}
	cmd.AddCommand(newGetPods(g), newGetProblems(g))
	return cmd
}
