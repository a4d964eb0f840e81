package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/davit-agent/davit/agent/server/client"
	"github.com/davit-agent/davit/agent/server/wire"
	"github.com/davit-agent/davit/cmd/davit/await"
	"github.com/davit-agent/davit/cmd/davit/manifests"
	"github.com/davit-agent/davit/cmd/davit/printer"
)

// apply is one `davit apply`.
type apply struct {
	client    *client.Client
	in        io.Reader
	out       io.Writer
	namespace string
	files     []string
	force     bool
	dryRun    bool
	wait      bool
	timeout   time.Duration
}

func newApply(g *global) *cobra.Command {
	o := &apply{}
	cmd := &cobra.Command{
		Use:   "apply -f FILE|DIR|-",
		Short: "Write objects into the manifest directory, from which they run",
		Long: "Write objects into the manifest directory of the davit that runs, each into a file of its own. They are\n" +
			"read as strictly as davit does, and nothing is written when one of them is bad. An object that stands\n" +
			"in a file of the directory that apply did not write is refused, and the file is named.",
		Example: "  davit apply -f web.yaml --wait\n  davit apply -f manifests/ --dry-run\n  generate | davit apply -n shop -f -",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.client, o.in, o.out = g.client(), cmd.InOrStdin(), cmd.OutOrStdout()
			return o.run(cmd.Context())
		},
	}
	namespaceFlag(cmd, &o.namespace)
	cmd.Flags().Lookup("namespace").Usage = "namespace of objects that name none"
	filenameFlag(cmd, &o.files, "file or directory with manifests; - is stdin")
	cmd.Flags().BoolVar(&o.force, "force", false, "replace files that apply did not write, if they hold nothing else")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "only tell what would be done")
	cmd.Flags().BoolVar(&o.wait, "wait", false, "wait until the pods are Ready")
	timeoutFlag(cmd, &o.timeout)
	return cmd
}

func filenameFlag(cmd *cobra.Command, into *[]string, usage string) {
	cmd.Flags().StringSliceVarP(into, "filename", "f", nil, usage)
}

func timeoutFlag(cmd *cobra.Command, into *time.Duration) {
	cmd.Flags().DurationVar(into, "timeout", 0, "how long to wait, such as 90s; 0 is for ever")
}

func (o *apply) run(ctx context.Context) error {
	if len(o.files) == 0 {
		return usagef("apply what? Name a file, a directory or - with -f")
	}
	objs, err := manifests.ReadFiles(o.files, o.in, o.namespace)
	if err != nil {
		return err
	}
	v, dir, err := openManifests(ctx, o.client)
	if err != nil {
		return err
	}
	defer dir.Close()
	changes, err := dir.Apply(objs, o.force)
	if err != nil {
		return fmt.Errorf("nothing is written: %w", err)
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
	return w.Ready(ctx, changes, before)
}

func (o *apply) do(dir *manifests.Dir, c manifests.Change) error {
	done := string(c.Action)
	if o.dryRun {
		done += " (dry run)"
	} else if err := dir.Do(c); err != nil {
		return err
	}
	_, err := fmt.Fprintln(o.out, printer.Safe(c.ID.String()), done)
	return err
}

// openManifests opens the manifest directory of the davit that runs.
func openManifests(ctx context.Context, c *client.Client) (wire.Version, *manifests.Dir, error) {
	v, err := c.Version(ctx)
	if err != nil {
		return v, nil, err
	}
	if v.Manifests == "" {
		return v, nil, errors.New("this davit reads no manifest directory: name one as source.manifests in its configuration")
	}
	dir, err := manifests.Open(v.Manifests)
	return v, dir, err
}
