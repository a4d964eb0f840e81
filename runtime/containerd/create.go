package containerd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/containerd/fault"
	"github.com/davit-agent/davit/runtime/containerd/known"
	"github.com/davit-agent/davit/runtime/containerd/object"
)

// opTimeout bounds a whole Create, Start or Delete, whether somebody still waits
// for it or not; kubelet gives its runtime the same two minutes.
const opTimeout = 2 * time.Minute

// Create makes the container's object, then its snapshot, and beside them its
// log streams. The object names the snapshot from its birth, so the daemon's
// garbage collector never sees the snapshot unreferenced and no lease is
// needed.
func (c *Client) Create(ctx context.Context, cfg *runtime.ContainerConfig) error {
	rt, err := c.runtimeOf(cfg)
	if err != nil {
		return fmt.Errorf("creating container %s: %w", cfg.ID, err)
	}
	err = c.detached(ctx, cfg.ID, "creating", func(ctx context.Context) error { return c.create(ctx, cfg, rt) })
	if err != nil {
		return fmt.Errorf("creating container %s: %w", cfg.ID, err)
	}
	return nil
}

// runtimeOf checks what can be checked of a configuration without the daemon
// and returns the containerd runtime of its handler.
func (c *Client) runtimeOf(cfg *runtime.ContainerConfig) (string, error) {
	rt, ok := c.cfg.Runtimes[cfg.Handler]
	if !ok && cfg.Handler == "" {
		rt, ok = defaultRuntime, true
	}
	switch {
	case !ok:
		have := slices.Sorted(maps.Keys(c.cfg.Runtimes))
		return "", fmt.Errorf("runtime handler %q is not configured: containerd.runtimes has %q", cfg.Handler, have)
	case cfg.Spec == nil:
		return "", errors.New("no spec")
	case cfg.Image == nil && !filepath.IsAbs(cfg.RootFS):
		return "", fmt.Errorf("neither an image nor an absolute root %q", cfg.RootFS)
	case cfg.Terminal && cfg.Log.Path == "":
		return "", errors.New("a terminal needs a log path")
	}
	return rt, nil
}

func (c *Client) create(ctx context.Context, cfg *runtime.ContainerConfig, rt string) error {
	if err := c.ensureNamespace(ctx); err != nil {
		return err
	}
	if err := c.ensureSeeded(ctx); err != nil {
		return err
	}
	c.table.Adopt(cfg.ContainerRef, nil) // List asks for it from here on
	l := &known.Launch{Terminal: cfg.Terminal}
	logs := make(chan error, 1)
	go func() {
		logs <- c.openStreams(ctx, cfg.ID, object.Streams{Log: cfg.Log, Stdin: cfg.Stdin, Terminal: cfg.Terminal}, l)
	}()
	made, err := c.createObject(ctx, cfg, rt)
	if err == nil && cfg.Image != nil {
		l.RootFS, err = c.prepare(ctx, cfg)
	}
	if err = errors.Join(err, <-logs); err != nil {
		c.table.Adopt(cfg.ContainerRef, nil) // it may be half made, and a list of all that began before that has not seen it
		return err
	}
	c.table.Put(known.Entry{
		Container: runtime.Container{
			ContainerRef: cfg.ContainerRef, State: runtime.StateCreated, CreatedAt: made.CreatedAt,
			ImageName: made.Image, ImageID: made.Labels[object.LabelImageID],
		},
		Made: true, Group: made.Labels[runtime.LabelGroup], Cgroup: object.CgroupOf(cfg.Spec), Launch: l,
	})
	return nil
}

// createObject makes the container object, or returns the one that is there.
func (c *Client) createObject(ctx context.Context, cfg *runtime.ContainerConfig, rt string) (containers.Container, error) {
	group := c.groups.Choose(cfg.ID, cfg.Pod.UID, rt)
	labels, err := object.Labels(cfg, group, c.daemonID())
	if err != nil {
		return containers.Container{}, err
	}
	spec, err := typeurl.MarshalAny(objectSpec(cfg, group))
	if err != nil {
		return containers.Container{}, fmt.Errorf("encoding spec: %w", err)
	}
	o := containers.Container{ID: cfg.ID, Labels: labels, Spec: spec, Runtime: containers.RuntimeInfo{Name: rt}}
	if opts := c.runtimeOptions(rt); opts != nil {
		if o.Runtime.Options, err = typeurl.MarshalAny(opts); err != nil {
			return o, fmt.Errorf("encoding runtime options: %w", err)
		}
	}
	if cfg.Image != nil {
		o.Image, o.Snapshotter, o.SnapshotKey = cfg.Image.Name, c.cfg.Snapshotter, cfg.ID
	}
	made, err := c.store().Create(ctx, o)
	if errdefs.IsAlreadyExists(err) {
		made, err = c.store().Get(ctx, cfg.ID)
	}
	if err != nil {
		return o, fmt.Errorf("creating container object: %w", fault.Classify(err))
	}
	return made, nil
}

// objectSpec returns a copy of cfg's spec with what Create is to fill in.
func objectSpec(cfg *runtime.ContainerConfig, group string) *specs.Spec {
	spec := *cfg.Spec
	root := specs.Root{Path: "rootfs"} // in the bundle, where the shim mounts the snapshot
	if spec.Root != nil {
		root.Readonly = spec.Root.Readonly
	}
	if cfg.Image == nil {
		// Without mounts for the task the shim leaves the root alone and the
		// OCI runtime takes the directory itself.
		root = specs.Root{Path: cfg.RootFS, Readonly: true}
	}
	spec.Root = &root
	return object.WithGroup(&spec, group)
}

func (c *Client) runtimeOptions(rt string) *options.Options {
	if rt != defaultRuntime || c.cfg.OCIRuntime == "" && !c.cfg.SystemdCgroup {
		return nil
	}
	return &options.Options{BinaryName: c.cfg.OCIRuntime, SystemdCgroup: c.cfg.SystemdCgroup}
}

// prepare makes the container's snapshot and returns its mounts.
func (c *Client) prepare(ctx context.Context, cfg *runtime.ContainerConfig) ([]*types.Mount, error) {
	sn := c.client.SnapshotService(c.cfg.Snapshotter)
	mounts, err := sn.Prepare(ctx, cfg.ID, cfg.Image.Snapshot)
	switch {
	case errdefs.IsAlreadyExists(err):
		mounts, err = sn.Mounts(ctx, cfg.ID)
	case errdefs.IsNotFound(err):
		return nil, fmt.Errorf("preparing snapshot of image %q: %w: %w", cfg.Image.Name, runtime.ErrImageNotFound, err)
	}
	if err != nil {
		return nil, fmt.Errorf("preparing snapshot of image %q: %w", cfg.Image.Name, fault.Classify(err))
	}
	return taskMounts(mounts), nil
}

func taskMounts(mounts []mount.Mount) []*types.Mount {
	out := make([]*types.Mount, len(mounts))
	for i, m := range mounts {
		out[i] = &types.Mount{Type: m.Type, Source: m.Source, Target: m.Target, Options: m.Options}
	}
	return out
}

// openStreams makes a container's FIFOs and notes their paths in l.
func (c *Client) openStreams(ctx context.Context, id string, s object.Streams, l *known.Launch) error {
	if s.Log.Path != "" {
		s.Log.ID, s.Log.Terminal = id, s.Terminal
		stdout, stderr, err := c.cfg.Logs.Open(ctx, s.Log)
		if err != nil {
			return fmt.Errorf("opening log streams: %w", err)
		}
		l.Stdout, l.Stderr = stdout, stderr
	}
	if s.Stdin {
		// The shim holds the writing end too, so that the container sees an
		// input that is open and silent until somebody attaches.
		if err := makeDirs(c.stdinDir()); err != nil {
			return err
		}
		if err := unix.Mkfifo(c.stdinPath(id), 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("making stdin: %w", err)
		}
		l.Stdin = c.stdinPath(id)
	}
	return nil
}

// ensureNamespace makes davit's namespace, once per daemon.
func (c *Client) ensureNamespace(ctx context.Context) error {
	c.nsMu.Lock()
	defer c.nsMu.Unlock()
	if c.nsMade && c.nsDaemon == c.daemonID() {
		return nil
	}
	err := c.client.NamespaceService().Create(ctx, c.cfg.Namespace, map[string]string{runtime.LabelFormat: runtime.FormatVersion})
	if err != nil && !errdefs.IsAlreadyExists(err) {
		return fmt.Errorf("creating containerd namespace %q: %w", c.cfg.Namespace, fault.Classify(err))
	}
	c.nsMade, c.nsDaemon = true, c.daemonID()
	return nil
}

// ensureSeeded lists everything once, so that groups knows what there is.
func (c *Client) ensureSeeded(ctx context.Context) error {
	if c.seeded.Load() {
		return nil
	}
	if _, err := c.listDaemon(ctx, ""); err != nil {
		return err
	}
	return nil
}
