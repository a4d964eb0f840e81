package main

import (
	"cmp"
	"errors"
	"fmt"
	goruntime "runtime"

	"github.com/spf13/cobra"

	"github.com/davit-agent/davit/agent/server/client"
)

// version is stamped by the Makefile.
var version = ""

func buildVersion() string { return cmp.Or(version, "devel") }

func newVersion(g *global) *cobra.Command {
	var own bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show the version of this program and of the davit that runs",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := cmd.OutOrStdout()
			fmt.Fprintf(out, "davit %s (%s)\n", buildVersion(), goruntime.Version())
			if own {
				return nil
			}
			v, err := g.client().Version(cmd.Context())
			switch {
			case errors.Is(err, client.ErrNotRunning):
				fmt.Fprintf(out, "running: none at %s\n", g.socket)
				return nil
			case err != nil:
				return err
			}
			fmt.Fprintf(out, "running: %s (%s) on node %s\n", v.Version, v.Go, v.Node)
			return nil
		},
	}
	cmd.Flags().BoolVar(&own, "client", false, "this program's only")
	return cmd
}
