package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/cmd/davit/get"
)

const noFiles = cobra.ShellCompDirectiveNoFileComp

func newCompletion() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print a script that has a shell complete davit's command lines",
		Long: "Print a script that has a shell complete davit's command lines, with the names of what is on the node.\n\n" +
			"To have it always:\n\n" +
			"  bash: davit completion bash > /etc/bash_completion.d/davit\n" +
			"  zsh:  davit completion zsh > \"${fpath[1]}/_davit\"\n" +
			"  fish: davit completion fish > ~/.config/fish/completions/davit.fish",
		Example:   "  source <(davit completion bash)",
		ValidArgs: []string{"bash", "zsh", "fish"},
		Args:      cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			root, out := cmd.Root(), cmd.OutOrStdout()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(out, true)
			case "zsh":
				return root.GenZshCompletion(out)
			case "fish":
				return root.GenFishCompletion(out, true)
			}
			return usagef("unknown shell %q: there are bash, zsh and fish", args[0])
		},
	}
}

// registerCompletions gives all commands' flags their values, by the flags' names.
func (g *global) registerCompletions(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		g.registerCompletions(sub)
	}
	for name, f := range map[string]cobra.CompletionFunc{
		"namespace": g.namespaces, "container": g.containerFlag,
		"log-format": cobra.FixedCompletions([]string{"text", "json"}, noFiles),
		"log-level":  cobra.FixedCompletions([]string{"DEBUG", "INFO", "WARN", "ERROR"}, noFiles),
		"output":     outputValues,
	} {
		if _, done := cmd.GetFlagCompletionFunc(name); cmd.Flags().Lookup(name) != nil && !done {
			_ = cmd.RegisterFlagCompletionFunc(name, f) // it fails for a flag that is not there or done
		}
	}
	if cmd.Flags().Lookup("filename") != nil {
		_ = cmd.MarkFlagFilename("filename", "yaml", "yml", "json")
	}
}

// outputValues completes -o: what its help text names.
func outputValues(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	usage := cmd.Flags().Lookup("output").Usage
	words := strings.FieldsFunc(usage, func(r rune) bool { return r == ' ' || r == ',' })
	return slices.DeleteFunc(words, func(w string) bool { return !slices.Contains(outputs, w) }), noFiles
}

// ask returns a context for a question whose answer somebody waits for at the
// keyboard.
func ask() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 2*time.Second)
}

// pods returns the pods of a namespace; "": all.
func (g *global) pods(namespace string) []v1.Pod {
	ctx, cancel := ask()
	defer cancel()
	list, err := g.client().Pods(ctx, namespace)
	if err != nil {
		return nil
	}
	return list.Items
}

// podNames completes the name of a pod in the first argument, and a container of
// it in the second where there may be one.
func (g *global) podNames(namespace *string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 1 && strings.Contains(cmd.Use, "[CONTAINER]") {
			return g.containers(*namespace, args[0]), noFiles
		}
		if len(args) > 0 {
			return nil, noFiles
		}
		var names []string
		for _, p := range g.pods(*namespace) {
			names = append(names, p.Name)
		}
		return names, noFiles
	}
}

// containers returns the names of a pod's containers, with what they are.
func (g *global) containers(namespace, pod string) []string {
	ctx, cancel := ask()
	defer cancel()
	p, err := g.client().Pod(ctx, namespace, strings.TrimPrefix(pod, "pod/"))
	if err != nil {
		return nil
	}
	var out []string
	for _, c := range p.Spec.Containers {
		out = append(out, c.Name+"\tcontainer")
	}
	for _, c := range p.Spec.InitContainers {
		out = append(out, c.Name+"\tinit container")
	}
	for _, c := range p.Spec.EphemeralContainers {
		out = append(out, c.Name+"\tephemeral container")
	}
	return out
}

func (g *global) containerFlag(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return nil, noFiles
	}
	ns := "default"
	if f := cmd.Flags().Lookup("namespace"); f != nil {
		ns = f.Value.String()
	}
	return g.containers(ns, args[0]), noFiles
}

func (g *global) namespaces(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var out []string
	for _, p := range g.pods("") {
		out = append(out, p.Namespace)
	}
	slices.Sort(out)
	return slices.Compact(out), noFiles
}

// completeGet completes kinds, then names; or KIND/NAME.
func (g *global) completeGet(namespace *string) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 && !strings.Contains(args[0], "/") {
			return g.names(*namespace, args[0], args[1:], ""), noFiles
		}
		if before, _, ok := strings.Cut(word, "/"); ok {
			return g.names(*namespace, before, nil, before+"/"), noFiles
		}
		var out []string
		for _, k := range get.Kinds {
			out = append(out, k.Name+"\t"+k.About)
		}
		return out, noFiles
	}
}

// names returns the names of one kind that are not in but, behind prefix.
func (g *global) names(namespace, word string, but []string, prefix string) []string {
	k, err := get.KindOf(word)
	if err != nil {
		return nil
	}
	ctx, cancel := ask()
	defer cancel()
	all, err := k.NamesOf(ctx, g.client(), namespace)
	if err != nil {
		return nil
	}
	var out []string
	for _, name := range all {
		if !slices.Contains(but, name) {
			out = append(out, prefix+name)
		}
	}
	return out
}

// completeKind completes a KIND of these, then its names.
func (g *global) completeKind(namespace *string, words ...string) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return words, noFiles
		}
		return g.names(*namespace, args[0], args[1:], ""), noFiles
	}
}
