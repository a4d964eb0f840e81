package get

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/davit-agent/davit/agent/server/client"
	"github.com/davit-agent/davit/cmd/davit/printer"
	"github.com/davit-agent/davit/cmd/davit/usage"
)

// Get is one `davit get`.
type Get struct {
	Client    *client.Client
	Out, Errw io.Writer
	Namespace string
	All       bool   // those of all namespaces
	Output    string // "" or one of Outputs
	Watch     bool
	Selector  string
	// Images shows the images of the node; they are no objects of Kubernetes.
	Images func(context.Context) error

	labels labels.Selector
}

// Outputs are the values of -o.
var Outputs = []string{"wide", "json", "yaml", "name"}

// Target is what is asked for of one kind; no names: all of it.
type Target struct {
	Kind  *Kind
	Names []string
}

// Run shows what the arguments name.
func (o *Get) Run(ctx context.Context, args []string) error {
	targets, err := ParseTargets(args)
	if err != nil {
		return err
	}
	if err := o.check(targets); err != nil {
		return err
	}
	if show := targets[0].Kind.show; show != nil {
		return show(o, ctx)
	}
	found, failed := o.find(ctx, targets)
	if errors.Is(failed, client.ErrNotRunning) || found == nil && failed != nil {
		return failed
	}
	alone := len(targets) == 1 && len(targets[0].Names) == 1
	view := o.view(targets)
	if err := view.list(found, alone); err != nil {
		return err
	}
	if count(found) == 0 && failed == nil && !o.objects() {
		o.nothing(targets)
	}
	if slices.ContainsFunc(targets, func(t Target) bool { return !t.Kind.Cluster }) {
		o.warnOfProblems(ctx)
	}
	if !o.Watch || failed != nil {
		return failed
	}
	return o.follow(ctx, view, targets[0], found[0].entries)
}

// check refuses what makes no sense together.
func (o *Get) check(targets []Target) (err error) {
	named := slices.ContainsFunc(targets, func(t Target) bool { return len(t.Names) > 0 })
	switch {
	case o.Output != "" && !slices.Contains(Outputs, o.Output):
		return usage.Errorf("-o %s: there are %s%s", o.Output, strings.Join(Outputs, ", "), usage.DidYouMean(o.Output, Outputs))
	case o.All && named:
		return usage.Errorf("what is named cannot be of all namespaces: use -n instead of -A")
	case o.Selector != "" && named:
		return usage.Errorf("names and -l cannot be given together")
	case (o.Watch || o.Selector != "") && targets[0].Kind.show != nil:
		return usage.Errorf("%s have no -w and no -l", targets[0].Kind.Name)
	case o.Watch && len(targets) > 1:
		return usage.Errorf("-w watches one kind at a time")
	}
	if o.labels, err = labels.Parse(o.Selector); err != nil {
		return usage.Errorf("-l %s: %v", o.Selector, err)
	}
	if o.All {
		o.Namespace = ""
	}
	return nil
}

// objects tells whether whole objects are printed, for programs.
func (o *Get) objects() bool { return o.Output == "json" || o.Output == "yaml" }

// ParseTargets reads KIND [NAME...], KIND,KIND and KIND/NAME....
func ParseTargets(args []string) ([]Target, error) {
	if len(args) == 0 {
		return nil, usage.Errorf("get what? One of: %s", strings.Join(kindNames(), ", "))
	}
	if strings.Contains(args[0], "/") {
		return parseSlashed(args)
	}
	var out []Target
	words := strings.Split(args[0], ",")
	if args[0] == "all" {
		words = []string{"pods", "services"}
	}
	for _, word := range words {
		k, err := KindOf(word)
		if err != nil {
			return nil, err
		}
		out = append(out, Target{Kind: k, Names: args[1:]})
	}
	for _, name := range args[1:] {
		if strings.Contains(name, "/") {
			return nil, usage.Errorf("%s: with KIND/NAME there is no KIND before it", name)
		}
	}
	if i := slices.IndexFunc(out, func(t Target) bool { return t.Kind.show != nil }); i >= 0 && len(out)+len(args) > 2 {
		return nil, usage.Errorf("%s are shown all and alone", out[i].Kind.Name)
	}
	return out, nil
}

func parseSlashed(args []string) ([]Target, error) {
	var out []Target
	for _, arg := range args {
		word, name, ok := strings.Cut(arg, "/")
		if !ok || name == "" || strings.Contains(name, "/") {
			return nil, usage.Errorf("%s: after KIND/NAME there is KIND/NAME again", arg)
		}
		k, err := KindOf(word)
		if err != nil {
			return nil, err
		}
		if k.show != nil {
			return nil, usage.Errorf("%s are shown all and alone", k.Name)
		}
		if i := slices.IndexFunc(out, func(t Target) bool { return t.Kind == k }); i >= 0 {
			out[i].Names = append(out[i].Names, name)
			continue
		}
		out = append(out, Target{Kind: k, Names: []string{name}})
	}
	return out, nil
}

// found is what was found of one kind.
type found struct {
	kind    *Kind
	entries []entry
}

func count(all []found) (n int) {
	for _, f := range all {
		n += len(f.entries)
	}
	return n
}

// find asks for all targets. What is there of them is returned with the error
// about what is not.
func (o *Get) find(ctx context.Context, targets []Target) ([]found, error) {
	var out []found
	var errs []error
	for _, t := range targets {
		entries, err := o.list(ctx, t)
		if errors.Is(err, client.ErrNotRunning) {
			return nil, err
		}
		if entries != nil || err == nil {
			out = append(out, found{t.Kind, entries})
		}
		errs = append(errs, err)
	}
	return out, errors.Join(errs...)
}

func (o *Get) list(ctx context.Context, t Target) ([]entry, error) {
	all, err := t.Kind.list(ctx, o.Client, o.Namespace)
	if err != nil {
		return nil, err
	}
	if len(t.Names) == 0 {
		return slices.DeleteFunc(all, func(e entry) bool { return !o.labels.Matches(labels.Set(e.meta.GetLabels())) }), nil
	}
	var out []entry
	var errs []error
	for _, name := range t.Names {
		e, err := o.named(ctx, t.Kind, all, name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, e)
	}
	return out, errors.Join(errs...)
}

// named returns the one of that name. About pods the daemon is asked, which knows
// of their short names and what may be meant by a wrong one.
func (o *Get) named(ctx context.Context, k *Kind, all []entry, name string) (entry, error) {
	if k.one != nil {
		return k.one(ctx, o.Client, o.Namespace, name)
	}
	var names []string
	for _, e := range all {
		if e.meta.GetName() == name {
			return e, nil
		}
		names = append(names, e.meta.GetName())
	}
	where := ""
	if !k.Cluster {
		where = fmt.Sprintf(" in namespace %q", o.Namespace)
	}
	return entry{}, fmt.Errorf("%s %q not found%s%s", k.Name, name, where, usage.DidYouMean(name, names))
}

func (o *Get) nothing(targets []Target) {
	if o.All || targets[0].Kind.Cluster {
		fmt.Fprintln(o.Errw, "No resources found")
		return
	}
	fmt.Fprintf(o.Errw, "No resources found in %s namespace.\n", printer.Safe(o.Namespace))
}

// warnOfProblems tells of manifests that are not used: whoever misses a pod
// finds out here why.
func (o *Get) warnOfProblems(ctx context.Context) {
	if problems, err := o.Client.Problems(ctx); err == nil && len(problems) > 0 {
		fmt.Fprintf(o.Errw, "%d problem(s) in the manifests, see 'davit get problems'\n", len(problems))
	}
}

// view is how to print what is found.
func (o *Get) view(targets []Target) view {
	switch o.Output {
	case "json", "yaml":
		return objectView{out: o.Out, yaml: o.Output == "yaml"}
	case "name":
		return nameView{out: o.Out}
	}
	return &rowView{out: o.Out, wide: o.Output == "wide", namespace: o.All, kinds: len(targets) > 1, now: time.Now}
}
