package main

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/davit-agent/davit/cmd/davit/get"
	"github.com/davit-agent/davit/cmd/davit/printer"
)

func newExplain(g *global) *cobra.Command {
	var namespace, output string
	cmd := &cobra.Command{
		Use:   "explain pod NAME | pod/NAME",
		Short: "Tell why a pod is where it is, what it waits for and what happens next",
		Long: "Tell why a pod is where it is, what it waits for and why, what happens next and when, and how it got there.\n" +
			"Of a pod that there is not, since its manifest is refused, it tells what is wrong with the manifest.",
		Example: "  davit explain pod web\n  davit explain pod/web -n shop -o json",
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "" && output != "json" && output != "yaml" {
				return usagef("-o %s: there are json and yaml%s", output, didYouMean(output, []string{"json", "yaml"}))
			}
			name, err := podArg(args)
			if err != nil {
				return err
			}
			e, err := g.client().Explain(cmd.Context(), namespace, name)
			if err != nil {
				return err
			}
			if output != "" {
				return printer.Object(cmd.OutOrStdout(), e, output == "yaml")
			}
			printer.Explanation(cmd.OutOrStdout(), e, time.Now())
			return nil
		},
	}
	namespaceFlag(cmd, &namespace)
	cmd.Flags().StringVarP(&output, "output", "o", "", "json or yaml")
	cmd.ValidArgsFunction = g.completeKind(&namespace, "pod")
	return cmd
}

// podArg reads "pod NAME" or "pod/NAME".
func podArg(args []string) (string, error) {
	targets, err := get.ParseTargets(args)
	switch {
	case len(args) == 0:
		return "", usagef("explain takes pod NAME")
	case err != nil && len(args) == 1 && !strings.Contains(args[0], "/"):
		return "", usagef("explain takes pod NAME: say 'davit explain pod %s'", args[0])
	case err != nil:
		return "", err
	case len(targets) != 1 || targets[0].Kind.Name != "pods" || len(targets[0].Names) != 1:
		return "", usagef("explain takes one pod: pod NAME")
	}
	return targets[0].Names[0], nil
}
