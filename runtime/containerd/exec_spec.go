package containerd

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/api/services/tasks/v1"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/containerd/fault"
	"github.com/davit-agent/davit/runtime/containerd/object"
)

// ExecSpec returns the spec of a running container and the pid of its first process,
// for who starts further processes in it without the daemon. It fails for
// containers that another runtime than runc's shim runs: what they are is not known.
func (c *Client) ExecSpec(ctx context.Context, id string) (*specs.Spec, uint32, error) {
	ctx, cancel := context.WithTimeout(c.withNS(ctx), callTimeout)
	defer cancel()
	o, err := c.store().Get(ctx, id)
	if err != nil {
		return nil, 0, fmt.Errorf("reading container object: %w", notFound(err))
	}
	if o.Runtime.Name != defaultRuntime {
		return nil, 0, fmt.Errorf("container %s is run by %s, not by %s", id, o.Runtime.Name, defaultRuntime)
	}
	spec, err := object.Spec(&o)
	if err != nil {
		return nil, 0, err
	}
	resp, err := c.client.TaskService().Get(ctx, &tasks.GetRequest{ContainerID: id})
	if err != nil {
		return nil, 0, fmt.Errorf("asking for the task of container %s: %w", id, notFound(err))
	}
	if p := resp.GetProcess(); p.GetStatus() != tasktypes.Status_RUNNING || p.GetPid() == 0 {
		return nil, 0, fmt.Errorf("container %s does not run: its task is %s", id, p.GetStatus())
	}
	return spec, resp.Process.Pid, nil
}

func notFound(err error) error {
	if errdefs.IsNotFound(err) {
		return fmt.Errorf("%w: %w", runtime.ErrNotFound, err)
	}
	return fault.Classify(err)
}
