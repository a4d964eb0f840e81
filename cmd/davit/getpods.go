package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/davit-agent/davit/agent/server/client"
	"github.com/davit-agent/davit/cmd/davit/printer"
)

// getPods is one `davit get pods`.
type getPods struct {
	client    *client.Client
	out, errw io.Writer
	namespace string
	all       bool
	output    string
	watch     bool
}

func newGetPods(g *global) *cobra.Command {
	o := &getPods{}
	cmd := &cobra.Command{
		Use:     "pods [NAME...]",
		Aliases: []string{"pod", "po"},
		Short:   "Show pods, with kubectl's columns",
		Example: "  davit get pods -A -o wide\n  davit get pods -w\n  davit get pods web -o json",
		RunE: func(cmd *cobra.Command, names []string) error {
			o.client, o.out, o.errw = g.client(), cmd.OutOrStdout(), cmd.ErrOrStderr()
			return o.run(cmd.Context(), names)
		},
	}
	namespaceFlag(cmd, &o.namespace)
	cmd.Flags().BoolVarP(&o.all, "all-namespaces", "A", false, "pods of all namespaces")
	cmd.Flags().StringVarP(&o.output, "output", "o", "", "wide, json, yaml or name")
	cmd.Flags().BoolVarP(&o.watch, "watch", "w", false, "go on and show what changes")
	cmd.ValidArgsFunction = g.podNames(&o.namespace)
	return cmd
}

func (o *getPods) run(ctx context.Context, names []string) error {
	if !slices.Contains([]string{"", "wide", "json", "yaml", "name"}, o.output) {
		return usagef("-o %s: there are wide, json, yaml and name", o.output)
	}
	if o.all {
		if len(names) > 0 {
			return usagef("a pod cannot be named across all namespaces: use -n instead of -A")
		}
		o.namespace = ""
	}
	list, err := o.list(ctx, names)
	if err != nil {
		return err
	}
	view := o.view()
	if err := view.list(list, len(names) == 1); err != nil {
		return err
	}
	if len(list.Items) == 0 && o.output != "json" && o.output != "yaml" {
		o.noPods()
	}
	o.warnOfProblems(ctx)
	if !o.watch {
		return nil
	}
	return o.follow(ctx, view, list, names)
}

// list asks for the pods that are named, or for all.
func (o *getPods) list(ctx context.Context, names []string) (*v1.PodList, error) {
	list, err := o.client.Pods(ctx, o.namespace)
	if err != nil || len(names) == 0 {
		return list, err
	}
	list.Items = nil
	for _, name := range names {
		pod, err := o.client.Pod(ctx, o.namespace, name)
		if err != nil {
			return nil, err
		}
		list.Items = append(list.Items, *pod)
	}
	return list, nil
}

func (o *getPods) noPods() {
	if o.all {
		fmt.Fprintln(o.errw, "No resources found")
		return
	}
	fmt.Fprintf(o.errw, "No resources found in %s namespace.\n", o.namespace)
}

// warnOfProblems tells of manifests that are not used: whoever misses a pod
// finds out here why.
func (o *getPods) warnOfProblems(ctx context.Context) {
	if problems, err := o.client.Problems(ctx); err == nil && len(problems) > 0 {
		fmt.Fprintf(o.errw, "%d problem(s) in the manifests, see 'davit get problems'\n", len(problems))
	}
}

// follow shows what changes: a line is printed when it says something new.
func (o *getPods) follow(ctx context.Context, view podView, list *v1.PodList, names []string) error {
	shown := map[string]string{}
	named := map[string]bool{}
	for i := range list.Items {
		p := &list.Items[i]
		shown[string(p.UID)] = view.key(p)
		named[p.Name] = true
	}
	return o.client.Watch(ctx, o.namespace, func(typ watch.EventType, p *v1.Pod) error {
		if len(names) > 0 && !named[p.Name] {
			return nil
		}
		uid, key := string(p.UID), view.key(p)
		if typ == watch.Deleted {
			delete(shown, uid)
		} else if shown[uid] == key {
			return nil
		} else {
			shown[uid] = key
		}
		return view.pod(p)
	})
}

// podView is a way to print pods.
type podView interface {
	// list prints a list, or its only pod when that was asked for alone.
	list(list *v1.PodList, alone bool) error
	pod(p *v1.Pod) error
	// key changes when there is something new to print.
	key(p *v1.Pod) string
}

func (o *getPods) view() podView {
	switch o.output {
	case "json", "yaml":
		return objectView{out: o.out, yaml: o.output == "yaml"}
	case "name":
		return nameView{out: o.out}
	default:
		cols := printer.PodColumns{Namespace: o.all, Wide: o.output == "wide"}
		return rowView{cols: cols, table: printer.NewTable(o.out, cols.Header()...), now: time.Now}
	}
}
