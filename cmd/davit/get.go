package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/davit-agent/davit/cmd/davit/get"
)

// outputs are the values of -o.
var outputs = get.Outputs

func newGet(g *global) *cobra.Command {
	o := &get.Get{}
	cmd := &cobra.Command{
		Use:   "get KIND [NAME...] | KIND/NAME...",
		Short: "Show what is on this node",
		Long: "Show what is on this node, with kubectl's columns. KIND is one of\n\n" + get.KindTable() + "\n" +
			"or several of them with commas between, or all (pods and services). The node's suffix of a pod's name\n" +
			"may be left out. Of secrets, keys and sizes are told, never their contents.",
		Example: "  davit get pods -A -o wide\n  davit get pods -w -l app=web\n  davit get pod/web -o yaml\n" +
			"  davit get services,configmaps\n  davit get problems",
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Client, o.Out, o.Errw = g.client(), cmd.OutOrStdout(), cmd.ErrOrStderr()
			o.Images = func(ctx context.Context) error { return getImages(ctx, o) }
			return o.Run(cmd.Context(), args)
		},
		ValidArgsFunction: g.completeGet(&o.Namespace),
	}
	namespaceFlag(cmd, &o.Namespace)
	cmd.Flags().Lookup("namespace").Usage = "namespace to look into"
	cmd.Flags().BoolVarP(&o.All, "all-namespaces", "A", false, "those of all namespaces")
	cmd.Flags().StringVarP(&o.Output, "output", "o", "", strings.Join(outputs[:len(outputs)-1], ", ")+" or "+outputs[len(outputs)-1])
	cmd.Flags().StringVarP(&o.Selector, "selector", "l", "", "only those with these labels, such as app=web,tier!=db")
	cmd.Flags().BoolVarP(&o.Watch, "watch", "w", false, "go on and show what changes")
	return cmd
}

// getImages is `davit get images`: what davit images ls shows.
func getImages(ctx context.Context, o *get.Get) error {
	list, err := o.Client.Images(ctx)
	if err != nil {
		return err
	}
	if len(list) == 0 && o.Output != "json" && o.Output != "yaml" {
		fmt.Fprintln(o.Errw, "No resources found")
		return nil
	}
	return printImages(o.Out, list, o.Output, time.Now())
}
