package hooks

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
)

// maxOutput is how much is kept of what a command writes, in bytes. It ends in
// the pod's status if the hook fails.
const maxOutput = 10 << 10

// killed is how a command ends that is killed at its deadline.
const killed = 128 + 9

// handle runs a handler and returns why it failed in kubelet's words, or "".
func (r *Runner) handle(ctx context.Context, req Request, h *v1.LifecycleHandler) string {
	c, p := req.Container.Name, fmt.Sprintf("%s_%s(%s)", req.Pod.Name, req.Pod.Namespace, req.Pod.UID)
	switch {
	case h.Exec != nil:
		if output, err := r.exec(ctx, req.ID, h.Exec.Command); err != nil {
			return fmt.Sprintf("Exec lifecycle hook (%v) for Container %q in Pod %q failed - error: %v, message: %q", h.Exec.Command, c, p, err, output)
		}
	case h.HTTPGet != nil:
		if err := r.httpGet(ctx, req, h.HTTPGet); err != nil {
			return fmt.Sprintf("HTTP lifecycle hook (%s) for Container %q in Pod %q failed - error: %v", h.HTTPGet.Path, c, p, err)
		}
	case h.Sleep != nil:
		sleep(ctx, time.Duration(h.Sleep.Seconds)*time.Second)
	default:
		return fmt.Sprintf("Cannot run handler: invalid handler: %v", h)
	}
	return ""
}

// exec returns what the command wrote beside the error, if there is one.
func (r *Runner) exec(ctx context.Context, id string, command []string) (string, error) {
	code, out, err := r.cfg.Exec.Exec(ctx, id, command, maxOutput)
	output := strings.ToValidUTF8(string(out[:min(len(out), maxOutput)]), "\uFFFD")
	switch {
	case err == nil && code == 0:
		return "", nil
	case err != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded):
		return output, err
	case err != nil:
		code = killed
	}
	return output, fmt.Errorf("command '%s' exited with %d: %s", strings.Join(command, " "), code, output)
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
