package containerd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/containerd/fault"
	"github.com/davit-agent/davit/runtime/containerd/known"
	"github.com/davit-agent/davit/runtime/containerd/object"
)

// Start makes the container's task and runs it.
func (c *Client) Start(ctx context.Context, id string) error {
	err := c.detached(ctx, id, "starting", func(ctx context.Context) error { return c.start(ctx, id) })
	if err != nil {
		return fmt.Errorf("starting container %s: %w", id, err)
	}
	return nil
}

func (c *Client) start(ctx context.Context, id string) error {
	e, ok := c.table.Get(id)
	switch {
	case ok && e.State == runtime.StateExited:
		return runtime.ErrExited
	case c.hangs.silent(id):
		return c.stuck(id)
	}
	if !ok || e.Launch == nil {
		if err := c.load(ctx, id); err != nil {
			return err
		}
		e, _ = c.table.Get(id)
	}
	for try := 0; ; try++ {
		err := c.createTask(ctx, e)
		if err == nil {
			return c.startTask(ctx, id)
		}
		if !errdefs.IsAlreadyExists(err) {
			return err
		}
		if err = c.resume(ctx, id); !errors.Is(err, errStillborn) || try == startTries {
			return err
		}
		c.log.Info("replacing a task that a killed daemon left half made", "container", id)
		if err := c.deleteTask(ctx, id); err != nil {
			return fmt.Errorf("deleting half-made task: %w", err)
		}
	}
}

const (
	// startTries is how often Start tries again after what a killed daemon or
	// a dying shim can have left in its way.
	startTries = 2
	// stillbirth is how long a task that the daemon has and the shim does not
	// may take to appear there; the shim gives up when its daemon dies.
	stillbirth = 2 * time.Second
	// halfMade is how long a making of the same task may take that was asked for
	// by somebody who was killed meanwhile: the daemon goes on with it.
	halfMade = 10 * time.Second
	// rollback is how long the daemon may take to remove a task whose making was
	// cut because who asked for it was killed; it has 5 s for one call to a shim.
	rollback = 8 * time.Second
)

// errStillborn is the fate of a task whose making was cut by the daemon's death.
var errStillborn = errors.New("task is known to the daemon and not to the shim")

// load reads from the daemon what Start needs of a container that another
// process created.
func (c *Client) load(ctx context.Context, id string) error {
	if err := c.ensureSeeded(ctx); err != nil {
		return err
	}
	o, err := c.store().Get(ctx, id)
	if errdefs.IsNotFound(err) {
		return fmt.Errorf("%w: %w", runtime.ErrNotFound, err)
	}
	if err != nil {
		return fmt.Errorf("reading container object: %w", fault.Classify(err))
	}
	ref, ok := object.Ref(&o)
	if !ok {
		return fmt.Errorf("container is not davit's: %w", runtime.ErrNotFound)
	}
	s, err := object.StreamsOf(&o)
	if err != nil {
		return err
	}
	spec, err := object.Spec(&o)
	if err != nil {
		return err
	}
	l := &known.Launch{Terminal: s.Terminal}
	if o.SnapshotKey != "" {
		mounts, err := c.client.SnapshotService(o.Snapshotter).Mounts(ctx, o.SnapshotKey)
		if err != nil {
			return fmt.Errorf("reading snapshot: %w", fault.Classify(err))
		}
		l.RootFS = taskMounts(mounts)
	}
	if err := c.openStreams(ctx, id, s, l); err != nil {
		return err
	}
	e := known.Entry{Container: runtime.Container{
		ContainerRef: ref, State: runtime.StateCreated, CreatedAt: o.CreatedAt,
		ImageName: o.Image, ImageID: o.Labels[object.LabelImageID],
	}, Made: true, Group: o.Labels[runtime.LabelGroup], Cgroup: object.CgroupOf(spec), Launch: l}
	c.groups.Seed(id, ref.Pod.UID, o.Runtime.Name, e.Group, false)
	c.table.Put(e)
	return nil
}

// createTask makes the task in a group whose shim is alive, or a new one. If
// the shim goes away under it, it tries once more under a fresh group.
func (c *Client) createTask(ctx context.Context, e known.Entry) error {
	if m := c.marks.Get(e.ID); m != nil {
		// It was started before. Only a task can say how it fares; if there
		// is none, it ran, and an ID does not run twice.
		_, err := c.client.TaskService().Get(ctx, &tasks.GetRequest{ContainerID: e.ID})
		switch err = fault.Classify(err); {
		case err == nil:
			return errdefs.ErrAlreadyExists
		case errdefs.IsNotFound(err):
			return fmt.Errorf("%w: its task is gone", runtime.ErrExited)
		}
		return fmt.Errorf("reading task: %w", err)
	}
	patience := time.Now().Add(halfMade)
	for try, again := 0, false; ; try++ {
		group, abandoned, err := c.groups.Enter(ctx, e.ID, again)
		if err != nil {
			return err
		}
		err = c.reapShim(ctx, e.ID, abandoned, true)
		if err == nil {
			err = c.regroup(ctx, e, group)
		}
		if err == nil {
			_, err = c.client.TaskService().Create(ctx, &tasks.CreateTaskRequest{
				ContainerID: e.ID, Rootfs: e.Launch.RootFS, Terminal: e.Launch.Terminal,
				Stdin: e.Launch.Stdin, Stdout: e.Launch.Stdout, Stderr: e.Launch.Stderr,
			})
		}
		err = fault.Classify(err)
		// A daemon that went away may have made the task.
		c.groups.Leave(e.ID, err == nil || errdefs.IsAlreadyExists(err) || errors.Is(err, runtime.ErrUnavailable))
		again = fault.ShimGone(err)
		switch {
		case err == nil, errdefs.IsAlreadyExists(err), errors.Is(err, runtime.ErrUnavailable):
			return err
		case fault.UnderWay(err) && time.Now().After(patience):
			return fmt.Errorf("making task: %w", err) // worth another try by the caller
		case fault.UnderWay(err):
			try--
			if err := pause(ctx, stillbirth/20); err != nil {
				return err
			}
			continue
		case (again || fault.Remains(err)) && try < startTries:
			c.log.Info("making a task failed for what was there before, trying again",
				"container", e.ID, "group", group, "error", err)
			continue
		case again:
			return fmt.Errorf("making task: %w", err) // worth another try by the caller
		case errdefs.IsNotFound(err) && !c.objectExists(ctx, e.ID):
			return fmt.Errorf("%w: %w", runtime.ErrNotFound, err)
		}
		return fault.Start(err)
	}
}

// pause waits for d, or for the end of ctx.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Client) objectExists(ctx context.Context, id string) bool {
	_, err := c.store().Get(ctx, id)
	return !errdefs.IsNotFound(err)
}

// regroup writes a container's new group into its object.
func (c *Client) regroup(ctx context.Context, e known.Entry, group string) error {
	if group == e.Group || group == "" {
		return nil
	}
	o, err := c.store().Get(ctx, e.ID)
	if err != nil {
		return err
	}
	if o.Labels[runtime.LabelGroup] == group {
		return nil
	}
	spec, err := object.Spec(&o)
	if err != nil {
		return err
	}
	if o.Spec, err = typeurl.MarshalAny(object.WithGroup(spec, group)); err != nil {
		return err
	}
	o.Labels[runtime.LabelGroup] = group
	_, err = c.store().Update(ctx, o, "labels", "spec")
	return err
}

// resume starts the task that is already there, or says how it fares. One that was
// never meant to be started yet may be one that the daemon is about to remove: it
// is started when that would have happened.
func (c *Client) resume(ctx context.Context, id string) error {
	began, meant := time.Now(), c.marks.Get(id) != nil
	for deadline := began.Add(stillbirth); ; {
		resp, err := c.client.TaskService().Get(ctx, &tasks.GetRequest{ContainerID: id})
		err = fault.Classify(err)
		switch {
		case err == nil && resp.Process.Status == tasktypes.Status_CREATED && (meant || time.Since(began) > rollback):
			return c.startTask(ctx, id)
		case err == nil && resp.Process.Status == tasktypes.Status_CREATED:
			deadline = time.Now().Add(stillbirth)
		case err == nil && resp.Process.Status == tasktypes.Status_STOPPED && meant:
			return runtime.ErrExited
		case err == nil && resp.Process.Status == tasktypes.Status_STOPPED:
			return errStillborn
		case err == nil && resp.Process.Status != tasktypes.Status_UNKNOWN:
			return nil
		case err != nil && !errdefs.IsNotFound(err) && !fault.ShimGone(err):
			return fmt.Errorf("reading task: %w", err)
		case time.Now().After(deadline):
			return errStillborn
		}
		if err := pause(ctx, stillbirth/20); err != nil {
			return err
		}
	}
}

// startTask runs a created task. The start mark is set before, and removed
// only after a task that did not start is gone.
func (c *Client) startTask(ctx context.Context, id string) error {
	e, _ := c.table.Get(id)
	group := c.groups.NameOf(id)
	if err := c.marks.Set(id, known.Mark{Group: group, Cgroup: e.Cgroup}); err != nil {
		return err
	}
	at := time.Now().Round(0) // wall clock only: it is compared with what was read elsewhere
	resp, err := c.client.TaskService().Start(ctx, &tasks.StartRequest{ContainerID: id})
	if err = fault.Classify(err); err == nil {
		c.table.Running(id, resp.Pid, group, at)
		return nil
	}
	if errors.Is(err, runtime.ErrUnavailable) || fault.ShimGone(err) {
		return fmt.Errorf("starting task: %w", err)
	}
	if r, gerr := c.client.TaskService().Get(ctx, &tasks.GetRequest{ContainerID: id}); gerr == nil && r.Process.Status == tasktypes.Status_RUNNING {
		c.table.Running(id, r.Process.Pid, group, at) // it was running already
		return nil
	}
	if derr := c.deleteTask(ctx, id); derr != nil {
		return fmt.Errorf("%w (and removing its task: %w)", fault.Start(err), derr)
	}
	if derr := c.marks.Remove(id); derr != nil {
		c.log.Warn("cannot remove start mark", "container", id, "error", derr)
	}
	return fault.Start(err)
}
