package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/davit-agent/davit/agent/server/client"
	"github.com/davit-agent/davit/agent/server/wire"
	"github.com/davit-agent/davit/cmd/davit/await"
	"github.com/davit-agent/davit/cmd/davit/get"
	"github.com/davit-agent/davit/cmd/davit/manifests"
	"github.com/davit-agent/davit/cmd/davit/printer"
)

// remove is one `davit delete`.
type remove struct {
	client    *client.Client
	in        io.Reader
	out       io.Writer
	namespace string
	files     []string
	ignore    bool
	dryRun    bool
	wait      bool
	timeout   time.Duration
}

func newDelete(g *global) *cobra.Command {
	o := &remove{}
	cmd := &cobra.Command{
		Use:   "delete KIND NAME... | KIND/NAME... | -f FILE|DIR|-",
		Short: "Take objects out of the manifest directory; their pods end",
		Long: "Remove the files of the manifest directory in which the objects stand, so that pods are stopped with\n" +
			"their own grace. An object that shares its file with others is refused, and the file is named.\n" +
			"KIND is pod, service, configmap or secret. The node's suffix of a pod's name may be left out.",
		Example: "  davit delete pod web\n  davit delete -f web.yaml --wait=false",
		RunE: func(cmd *cobra.Command, args []string) error {
			o.client, o.in, o.out = g.client(), cmd.InOrStdin(), cmd.OutOrStdout()
			return o.run(cmd.Context(), args)
		},
		ValidArgsFunction: g.completeKind(&o.namespace, "pod", "service", "configmap", "secret"),
	}
	namespaceFlag(cmd, &o.namespace)
	cmd.Flags().Lookup("namespace").Usage = "namespace of the objects"
	filenameFlag(cmd, &o.files, "delete the objects of this file or directory; - is stdin")
	cmd.Flags().BoolVar(&o.ignore, "ignore-not-found", false, "what is not there is no error")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "only tell what would be done")
	cmd.Flags().BoolVar(&o.wait, "wait", true, "wait until the pods are gone")
	timeoutFlag(cmd, &o.timeout)
	return cmd
}

func (o *remove) run(ctx context.Context, args []string) error {
	ids, err := o.wanted(args)
	if err != nil {
		return err
	}
	v, dir, err := openManifests(ctx, o.client)
	if err != nil {
		return err
	}
	defer dir.Close()
	var changes []manifests.Change
	var errs []error
	for _, id := range ids {
		c, err := o.plan(ctx, dir, id, v)
		if err == nil {
			changes = append(changes, c)
		} else if !o.ignore || !errors.Is(err, manifests.ErrNotFound) {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	before, err := await.Now(ctx, o.client)
	if err != nil {
		return err
	}
	for _, c := range changes {
		if err := o.do(dir, c); err != nil {
			return err
		}
	}
	dir.Close() // others may go on while we wait
	if !o.wait || o.dryRun {
		return nil
	}
	w := &await.Waiter{Client: o.client, Out: o.out, Node: v.Node, Timeout: o.timeout}
	return w.Gone(ctx, changes, before)
}

func (o *remove) do(dir *manifests.Dir, c manifests.Change) error {
	done := "deleted"
	if o.dryRun {
		done += " (dry run)"
	} else if err := dir.Do(c); err != nil {
		return err
	}
	_, err := fmt.Fprintf(o.out, "%s %q %s from %s namespace\n", strings.ToLower(c.Kind), c.Name, done, printer.Safe(c.Namespace))
	return err
}

// wanted returns what is to be deleted.
func (o *remove) wanted(args []string) ([]manifests.ID, error) {
	var ids []manifests.ID
	if len(o.files) > 0 {
		if len(args) > 0 {
			return nil, usagef("names and -f cannot be given together")
		}
		objs, err := manifests.ReadFiles(o.files, o.in, o.namespace)
		for _, obj := range objs {
			ids = append(ids, obj.ID)
		}
		return ids, err
	}
	if len(args) == 0 {
		return nil, usagef("delete what? Name it (pod web) or its file (-f web.yaml)")
	}
	targets, err := get.ParseTargets(args)
	if err != nil {
		return nil, err
	}
	for _, t := range targets {
		if t.Kind.Cluster {
			return nil, usagef("%s cannot be deleted", t.Kind.Name)
		}
		if len(t.Names) == 0 {
			return nil, usagef("delete which %s? Name it: %s NAME", t.Kind.Singular, t.Kind.Singular)
		}
		for _, name := range t.Names {
			ids = append(ids, manifests.ID{Kind: t.Kind.Object, Namespace: o.namespace, Name: name})
		}
	}
	return ids, nil
}

// plan finds the file of an object, of a pod also by the name that it bears on
// the node.
func (o *remove) plan(ctx context.Context, dir *manifests.Dir, id manifests.ID, v wire.Version) (manifests.Change, error) {
	c, err := dir.Delete(id)
	if id.Kind != "Pod" || !errors.Is(err, manifests.ErrNotFound) {
		return c, err
	}
	short := id
	short.Name = strings.TrimSuffix(id.Name, "-"+strings.ToLower(v.Node))
	if short != id {
		if c, again := dir.Delete(short); !errors.Is(again, manifests.ErrNotFound) {
			return c, again
		}
	}
	// It may run without standing in the directory.
	if e, no := o.client.Explain(ctx, id.Namespace, id.Name); no == nil && e.Pod != nil && e.Pod.Deletion == nil {
		return c, fmt.Errorf("pod %s/%s does not come from the manifest directory %s but from %s: remove it there",
			e.Namespace, e.Name, v.Manifests, e.Origin)
	}
	return c, err
}
