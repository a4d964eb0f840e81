package containerd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/errdefs"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/containerd/fault"
	"github.com/davit-agent/davit/runtime/containerd/leftover"
	"github.com/davit-agent/davit/runtime/containerd/shim"
)

// Signal sends sig to the container's init process.
func (c *Client) Signal(ctx context.Context, id string, sig syscall.Signal) error {
	if c.hangs.silent(id) {
		return fmt.Errorf("signalling container %s: %w", id, c.stuck(id))
	}
	outer := ctx
	ctx, cancel := context.WithTimeout(c.withNS(ctx), callTimeout)
	defer cancel()
	_, err := c.client.TaskService().Kill(ctx, &tasks.KillRequest{ContainerID: id, Signal: uint32(sig)})
	if ctx.Err() != nil && outer.Err() == nil && c.Ready(outer) == nil {
		return fmt.Errorf("signalling container %s: %w", id, c.stuck(id))
	}
	err = fault.Classify(err)
	if fault.ProcessEnded(err) {
		return nil
	}
	if err == nil {
		if sig == syscall.SIGKILL && c.hangs.kill(id, time.Now()) && c.hindrance(id) != "" {
			return fmt.Errorf("signalling container %s: %w", id, c.stuck(id))
		}
		return nil
	}
	if errdefs.IsNotFound(err) {
		// No task: it has exited, or was never started, or is not there.
		if _, gerr := c.store().Get(ctx, id); errdefs.IsNotFound(gerr) {
			return fmt.Errorf("signalling container %s: %w", id, runtime.ErrNotFound)
		} else if gerr != nil {
			return fmt.Errorf("signalling container %s: %w", id, fault.Classify(gerr))
		}
		return nil
	}
	return fmt.Errorf("signalling container %s: %w", id, err)
}

// Delete removes the container. The object goes last: as long as it is there,
// List shows that there is something to delete.
func (c *Client) Delete(ctx context.Context, id string) error {
	err := c.detached(ctx, id, "deleting", func(ctx context.Context) error { return c.delete(ctx, id) })
	if err != nil {
		return fmt.Errorf("deleting container %s: %w", id, err)
	}
	return nil
}

func (c *Client) delete(ctx context.Context, id string) error {
	if err := c.ensureSeeded(ctx); err != nil {
		return err
	}
	if c.hangs.silent(id) {
		return c.stuck(id)
	}
	if err := c.deleteTask(ctx, id); err != nil {
		return fmt.Errorf("deleting task: %w", err)
	}
	// No writer is left: the pump may finish while the snapshot goes.
	closed := make(chan error, 1)
	go func() { closed <- c.cfg.Logs.Close(ctx, id) }()
	err := c.client.SnapshotService(c.cfg.Snapshotter).Remove(ctx, id)
	if err != nil && !errdefs.IsNotFound(err) {
		err = fmt.Errorf("removing snapshot: %w", fault.Classify(err))
	} else {
		err = nil
	}
	if cerr := <-closed; cerr != nil {
		err = errors.Join(err, fmt.Errorf("closing log streams: %w", cerr))
	}
	if err != nil {
		return err
	}
	if err := c.store().Delete(ctx, id); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("deleting container object: %w", fault.Classify(err))
	}
	c.table.Remove(id)
	c.groups.Drop(id)
	c.hangs.forget(id)
	return errors.Join(c.marks.Remove(id), removeFiles(c.stdinPath(id)))
}

// deleteTask ends and removes a container's task, wherever it got stuck.
func (c *Client) deleteTask(ctx context.Context, id string) error {
	if err := c.groups.Retire(ctx, id); err != nil {
		return err
	}
	ts := c.client.TaskService()
	for try := 0; ; try++ {
		_, err := ts.Delete(ctx, &tasks.DeleteTaskRequest{ContainerID: id})
		err = fault.Classify(err)
		if err == nil {
			c.groups.Leave(id, false)
			return nil
		}
		if errdefs.IsNotFound(err) || fault.ShimGone(err) {
			// The daemon has no such task, or has just learnt that its shim
			// is dead and cleans up after it. Anything may be left.
			return c.reap(ctx, id)
		}
		if errors.Is(err, runtime.ErrUnavailable) || try == 2 {
			return err
		}
		if err := c.kill(ctx, id); err != nil {
			return err
		}
	}
}

// killWait bounds the wait for a process that was killed: it ends at once, or
// only once the kernel lets go of it.
const killWait = 10 * time.Second

// kill kills a task and waits until it has exited.
func (c *Client) kill(ctx context.Context, id string) error {
	ts := c.client.TaskService()
	_, err := ts.Kill(ctx, &tasks.KillRequest{ContainerID: id, Signal: uint32(syscall.SIGKILL), All: true})
	if err = fault.Classify(err); err != nil && !errdefs.IsNotFound(err) && !fault.ProcessEnded(err) && !fault.ShimGone(err) {
		return fmt.Errorf("killing task: %w", err)
	}
	c.hangs.kill(id, time.Now())
	wctx, cancel := context.WithTimeout(ctx, killWait)
	defer cancel()
	_, err = ts.Wait(wctx, &tasks.WaitRequest{ContainerID: id})
	if wctx.Err() != nil && ctx.Err() == nil {
		return c.stuck(id)
	}
	if err = fault.Classify(err); err != nil && !errdefs.IsNotFound(err) && !fault.ShimGone(err) {
		return fmt.Errorf("waiting for task: %w", err)
	}
	return nil
}

// reap removes what a daemon that was killed in the middle may have lost of a
// container. In the usual case, one that was never started, it costs some
// failing rmdirs and one failing connect.
func (c *Client) reap(ctx context.Context, id string) error {
	if e, ok := c.table.Get(id); ok {
		if err := leftover.RemoveCgroup(e.Cgroup); err != nil {
			// It goes with the pod's.
			c.log.Warn("cannot remove what is left of a cgroup", "container", id, "error", err)
		}
	}
	c.groups.Leave(id, false)
	return c.reapShim(ctx, id, c.groups.NameOf(id), c.groups.Idle(id))
}

// reapShim removes a container that only its shim knows, and that shim too if it
// is idle. Group "" is none.
func (c *Client) reapShim(ctx context.Context, id, group string, idle bool) error {
	if group == "" {
		return nil
	}
	conn, err := shim.Dial(ctx, shim.Address(c.cfg.Address, c.cfg.Namespace, group), c.cfg.Namespace)
	if errors.Is(err, shim.ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := reapContainer(ctx, conn, id); err != nil {
		return fmt.Errorf("reaping a container that only its shim knows: %w", err)
	}
	if !idle {
		return nil
	}
	// It leaves only if it has no container, whatever we believe.
	if err := conn.Shutdown(ctx, id); err != nil {
		return fmt.Errorf("reaping a shim without containers: %w", err)
	}
	return nil
}

func reapContainer(ctx context.Context, conn *shim.Client, id string) error {
	err := endInShim(ctx, conn, id)
	if err != nil {
		bundled := conn.WithBundle(ctx, id, func() error { return endInShim(ctx, conn, id) })
		if !errors.Is(bundled, fs.ErrExist) { // else it was not that
			err = bundled
		}
	}
	if errors.Is(err, shim.ErrNotFound) || errors.Is(err, shim.ErrGone) {
		return nil
	}
	return err
}

// endInShim kills a container if it runs and deletes it; nil if the shim does not
// have it.
func endInShim(ctx context.Context, conn *shim.Client, id string) error {
	st, err := conn.State(ctx, id)
	if err == nil && (st.Running || st.Created) {
		if err = conn.Kill(ctx, id); err == nil || errors.Is(err, shim.ErrNotFound) {
			_, err = conn.Wait(ctx, id)
		}
	}
	if err == nil {
		err = conn.Delete(ctx, id)
	}
	if errors.Is(err, shim.ErrNotFound) || errors.Is(err, shim.ErrGone) {
		return nil
	}
	return err
}
