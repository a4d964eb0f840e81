package containerd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"time"

	eventsapi "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/typeurl/v2"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/containerd/fault"
)

const (
	topicExit = "/tasks/exit"
	// topicHello is where davit publishes an event to itself: when it comes
	// back, the daemon is known to have subscribed.
	topicHello = "/davit/hello"
	relist     = 5 * time.Minute
	probeEvery = 100 * time.Millisecond
)

// Events returns the channel of wakes.
func (c *Client) Events() <-chan string { return c.wakes.C() }

// Run keeps the event subscription until ctx ends. While the daemon is away it
// waits for exits at the shims.
func (c *Client) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		err := c.follow(ctx)
		if ctx.Err() != nil {
			break
		}
		c.log.Warn("containerd is away", "error", err)
		c.wakes.Add("")
		c.waitAway(ctx)
	}
	return nil
}

// follow subscribes, lists, and handles events until the daemon goes away.
func (c *Client) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(c.withNS(ctx))
	defer cancel()
	ns := c.cfg.Namespace
	msgs, errs := c.client.EventService().Subscribe(ctx,
		fmt.Sprintf("namespace==%q,topic==%q", ns, topicExit), fmt.Sprintf("namespace==%q,topic==%q", ns, topicHello))
	if err := c.hello(ctx, msgs, errs); err != nil {
		return err
	}
	if err := c.ensureNamespace(ctx); err != nil {
		return err
	}
	reaped := make(chan struct{})
	go func() { // beside all else: one of them may be in a shim that hangs
		defer close(reaped)
		c.procs.Reap(ctx)
	}()
	defer func() { cancel(); <-reaped }()
	c.images.Reap(ctx)
	if _, err := c.listDaemon(ctx, ""); err != nil {
		if errors.Is(err, runtime.ErrUnavailable) {
			return err
		}
		c.log.Error("cannot list containers", "error", err)
	}
	c.log.Info("connected to containerd", "daemon", c.daemonID())
	c.wakes.Add("")
	tick := time.NewTicker(relist)
	defer tick.Stop()
	for {
		select {
		case msg := <-msgs:
			c.handle(msg)
		case err := <-errs:
			return fmt.Errorf("receiving events: %w", fault.Classify(err))
		case <-tick.C:
			c.wakes.Add("")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// hello publishes events until one comes back on the subscription. Events of
// containers that come before it are handled too.
func (c *Client) hello(ctx context.Context, msgs <-chan *events.Envelope, errs <-chan error) error {
	nonce := rand.Text()
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		select {
		case msg := <-msgs:
			if msg.Topic != topicHello {
				c.handle(msg)
				continue
			}
			var e eventsapi.TaskOOM
			if typeurl.UnmarshalTo(msg.Event, &e) == nil && e.ContainerID == nonce {
				return nil
			}
		case err := <-errs:
			return fmt.Errorf("subscribing to events: %w", fault.Classify(err))
		case <-again.C:
			pctx, cancel := context.WithTimeout(ctx, callTimeout)
			err := c.client.EventService().Publish(pctx, topicHello, &eventsapi.TaskOOM{ContainerID: nonce})
			cancel()
			if err != nil {
				return fmt.Errorf("subscribing to events: %w", fault.Classify(err))
			}
			again.Reset(probeEvery)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *Client) handle(msg *events.Envelope) {
	if msg.Topic != topicExit {
		return
	}
	var e eventsapi.TaskExit
	if err := typeurl.UnmarshalTo(msg.Event, &e); err != nil {
		c.log.Warn("cannot read exit event", "error", err)
		return
	}
	switch {
	case e.ID != e.ContainerID: // a further process ended
	case e.Pid == 0:
		// The daemon lost the shim and made the event up.
		c.wakes.Add("")
	default:
		c.sawExit(e.ContainerID, e.ExitStatus, e.ExitedAt.AsTime())
	}
}

// sawExit notes an exit and wakes whoever looks after the pod. A task that was
// removed before it was ever meant to run, and made again, has an exit of its own,
// which is of no interest.
func (c *Client) sawExit(id string, code uint32, at time.Time) {
	e, ok := c.table.Get(id)
	if m := c.marks.Get(id); ok && e.State != runtime.StateExited && (e.State == runtime.StateCreated && m == nil || m != nil && at.Before(m.At)) {
		c.wakes.Add(e.Pod.UID)
		return
	}
	_, uid, ok := c.table.Exited(id, exitOf(code, at, e.Cgroup))
	if !ok {
		uid = "" // one that this process has not listed yet
	}
	c.wakes.Add(uid)
}

// waitAway waits until the daemon accepts connections again and meanwhile for
// exits at the shims.
func (c *Client) waitAway(ctx context.Context) {
	actx, cancel := context.WithCancel(ctx)
	w := newWatcher(c)
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		w.watch(actx, time.Now())
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		if ctx.Err() != nil || c.answers(ctx) {
			break
		}
	}
	// Exits until here were seen by the shims; the List that follows asks the
	// daemon for those that come now.
	cancel()
	w.wg.Wait()
	c.shims.Close()
}

func (c *Client) answers(ctx context.Context) bool {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", c.cfg.Address)
	if err != nil {
		return false
	}
	_ = conn.Close()
	if grpc, ok := c.client.Conn().(interface{ ResetConnectBackoff() }); ok {
		grpc.ResetConnectBackoff()
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return c.Ready(ctx) == nil
}
