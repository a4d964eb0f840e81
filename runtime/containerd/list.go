package containerd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/errdefs"
	"golang.org/x/sync/errgroup"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/cgroup"
	"github.com/davit-agent/davit/runtime/containerd/fault"
	"github.com/davit-agent/davit/runtime/containerd/known"
	"github.com/davit-agent/davit/runtime/containerd/object"
	"github.com/davit-agent/davit/runtime/containerd/peer"
)

// readers bounds the tasks that one List asks for at a time.
const readers = 8

// List returns the containers of one pod, or of all pods for "". While the
// daemon is away it answers from what is known and what the shims say, and tells
// so by an error that wraps runtime.ErrUnavailable.
func (c *Client) List(ctx context.Context, uid string) ([]runtime.Container, error) {
	list, err := c.listDaemon(ctx, uid)
	if errors.Is(err, runtime.ErrUnavailable) {
		return c.listAway(ctx, uid), fmt.Errorf("listing containers: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("listing containers: %w", err)
	}
	return list, nil
}

// listDaemon lists what the daemon has and folds it into table and groups.
func (c *Client) listDaemon(ctx context.Context, uid string) ([]runtime.Container, error) {
	ctx = c.withNS(ctx)
	seq := c.table.Begin()
	defer c.table.End(seq)
	// Marks are read before the tasks: a start mark follows the making of the
	// task, so what has one and no task has lost it.
	before, marks := c.table.States(), c.marks.IDs()
	objects, err := c.objects(ctx, uid)
	if err != nil {
		return nil, fmt.Errorf("reading container objects: %w", fault.Classify(err))
	}
	procs, mute, err := c.processes(ctx, objects)
	if err != nil {
		return nil, err
	}
	list := make([]runtime.Container, 0, len(objects))
	seen := map[string]bool{}
	for i := range objects {
		e, ok := c.entryOf(&objects[i], procs[objects[i].ID], marks)
		if !ok {
			continue
		}
		if e.State == runtime.StateUnknown {
			c.table.Vanished(e.ID, before[e.ID])
		}
		seen[e.ID] = true
		if mute[e.ID] {
			list = append(list, c.silentOne(e, objects[i].Runtime.Name, marks[e.ID]))
			continue
		}
		now, ok := c.table.Merge(seq, e)
		if !ok {
			continue // deleted meanwhile
		}
		c.groups.Seed(e.ID, e.Pod.UID, objects[i].Runtime.Name, e.Group, procs[e.ID] != nil)
		if _, ok := c.table.Get(e.ID); !ok {
			c.groups.Drop(e.ID) // deleted just now
		}
		if now.State != runtime.StateRunning {
			c.hangs.forget(e.ID)
		} else {
			now.Stuck = c.hindrance(e.ID)
		}
		list = append(list, now)
	}
	if uid == "" {
		c.table.Prune(seq, seen)
		for id := range marks {
			if !seen[id] { // Delete was cut between object and mark
				if err := c.marks.Remove(id); err != nil {
					c.log.Warn("cannot remove start mark", "container", id, "error", err)
				}
			}
		}
		c.seeded.Store(true)
	}
	known.Sort(list)
	return list, nil
}

// objects returns the container objects of a pod, or all for "". Filtering has the
// daemon decode every container that it has, so once all were listed a pod's are
// asked for by their IDs: nobody else makes containers of this pod, and what
// somebody does all the same is found by the next list of all.
func (c *Client) objects(ctx context.Context, uid string) ([]containers.Container, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	switch {
	case uid == "":
		return c.store().List(ctx)
	case !c.seeded.Load():
		return c.store().List(ctx, fmt.Sprintf("labels.%q==%q", runtime.LabelPodUID, uid))
	}
	entries := c.table.OfPod(uid)
	found := make([]*containers.Container, len(entries))
	var eg errgroup.Group
	eg.SetLimit(readers)
	for i, e := range entries {
		eg.Go(func() error {
			o, err := c.store().Get(ctx, e.ID)
			switch {
			case err == nil:
				found[i] = &o
			case !errdefs.IsNotFound(err):
				return err
			}
			return nil
		})
	}
	if err := eg.Wait(); err != nil {
		return nil, err
	}
	var objects []containers.Container
	for _, o := range found {
		if o != nil {
			objects = append(objects, *o)
		}
	}
	return objects, nil
}

// silentOne returns a container whose shim does not answer, and has List ask for
// it again.
func (c *Client) silentOne(e known.Entry, rt string, marked bool) runtime.Container {
	have, _ := c.table.Get(e.ID)
	if !have.Made {
		c.table.Adopt(e.ContainerRef, c.marks.Get(e.ID))
		have, _ = c.table.Get(e.ID)
	}
	c.groups.Seed(e.ID, e.Pod.UID, rt, e.Group, true)
	out := lastKnown(e, have, marked)
	out.Stuck = c.hindrance(e.ID)
	return out
}

// processes returns the init processes of containers by ID; those without a
// task are absent. A task that has been seen to exit is not asked for again. mute
// has those whose shims do not answer. The daemon's own list of tasks is not
// used: it asks the shims one after another, and leaves out those that take long.
func (c *Client) processes(ctx context.Context, objects []containers.Container) (procs map[string]*tasktypes.Process, mute map[string]bool, err error) {
	procs, mute = make(map[string]*tasktypes.Process, len(objects)), map[string]bool{}
	var mu sync.Mutex
	eg, ctx := errgroup.WithContext(ctx)
	eg.SetLimit(readers)
	for i := range objects {
		id := objects[i].ID
		have, _ := c.table.Get(id)
		if have.State == runtime.StateExited {
			continue
		}
		if c.hangs.silent(id) {
			mute[id] = true
			continue
		}
		eg.Go(func() error {
			p, answered, err := c.process(ctx, &objects[i])
			mu.Lock()
			defer mu.Unlock()
			if !answered && err == nil {
				mute[id] = true
			} else if p != nil {
				procs[id] = p
			}
			return err
		})
	}
	return procs, mute, eg.Wait()
}

// stateTimeout bounds one question for a task; the daemon gives the shim 2 s to
// answer and then says that the state is unknown.
const stateTimeout = 5 * time.Second

// process reads one task; nil: there is none. answered is false if its shim does
// not answer.
func (c *Client) process(ctx context.Context, o *containers.Container) (p *tasktypes.Process, answered bool, err error) {
	tctx, cancel := context.WithTimeout(ctx, stateTimeout)
	defer cancel()
	resp, err := c.client.TaskService().Get(tctx, &tasks.GetRequest{ContainerID: o.ID})
	err = fault.Classify(err)
	switch {
	case err == nil && resp.Process.Status != tasktypes.Status_UNKNOWN:
		return resp.Process, true, nil
	case errdefs.IsNotFound(err), fault.ShimGone(err):
		return nil, true, nil
	case ctx.Err() != nil, errors.Is(err, runtime.ErrUnavailable) && c.Ready(ctx) != nil:
	case err == nil, errors.Is(err, runtime.ErrUnavailable):
		c.silence(o.ID, o.Labels[runtime.LabelGroup], o.Labels[runtime.LabelPodUID])
		return nil, false, nil
	}
	return nil, true, fmt.Errorf("reading task of container %s: %w", o.ID, err)
}

// entryOf says what a container object and its task amount to; p is nil if
// there is no task. False: the object is not davit's.
func (c *Client) entryOf(o *containers.Container, p *tasktypes.Process, marks map[string]bool) (known.Entry, bool) {
	ref, ok := object.Ref(o)
	if !ok {
		return known.Entry{}, false
	}
	e := known.Entry{Container: runtime.Container{
		ContainerRef: ref, CreatedAt: o.CreatedAt, ImageName: o.Image, ImageID: o.Labels[object.LabelImageID],
	}, Made: true, Group: o.Labels[runtime.LabelGroup]}
	have, _ := c.table.Get(o.ID)
	e.Cgroup = have.Cgroup
	if e.Cgroup == "" {
		if spec, err := object.Spec(o); err == nil {
			e.Cgroup = object.CgroupOf(spec)
		}
	}
	switch {
	case p == nil && !marks[o.ID] && o.Labels[object.LabelDaemon] == c.daemonID() && c.daemonID() != "":
		// Its start was not begun, and the daemon that made it is still the
		// one that answers.
		e.State = runtime.StateCreated
	case p == nil:
		e.State = runtime.StateUnknown
	case p.Status == tasktypes.Status_CREATED:
		e.State = runtime.StateCreated
	case p.Status == tasktypes.Status_STOPPED:
		e.State = runtime.StateExited
		if have.Exit != nil {
			e.Exit = have.Exit
			break
		}
		x := exitOf(p.ExitStatus, p.ExitedAt.AsTime(), e.Cgroup)
		e.Exit = &x
	default:
		e.State, e.Pid = runtime.StateRunning, p.Pid
	}
	e.StartedAt = have.StartedAt
	if e.StartedAt.IsZero() && e.State != runtime.StateCreated {
		if m := c.marks.Get(o.ID); m != nil {
			e.StartedAt = m.At
		} else if e.State == runtime.StateRunning {
			e.StartedAt = peer.StartedAt(e.Pid)
		}
	}
	return e, true
}

// exitOf makes an exit. The cgroup is there until the task is deleted; if it
// is not, nothing can be said of memory.
func exitOf(code uint32, at time.Time, cgroupsPath string) runtime.Exit {
	x := runtime.Exit{Code: int32(code), At: at}
	if cgroupsPath != "" {
		kills, err := cgroup.OOMKills(cgroupsPath)
		x.OOMKilled = err == nil && kills > 0
	}
	return x
}
