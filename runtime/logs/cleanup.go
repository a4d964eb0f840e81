package logs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/davit-agent/davit/runtime/logs/spool"
)

// Cleanup ends the pump and removes what is left of all streams. It is for when
// no container writes any more; what was printed is in the log files by then.
func (c *Client) Cleanup(ctx context.Context) error {
	conn, have, err := c.connect(ctx)
	if err == nil {
		err = end(ctx, have.Pid)
		conn.Close()
		if err != nil {
			return err
		}
	}
	ids, err := spool.List(c.cfg.Dir)
	errs := []error{err, spool.Sweep(c.cfg.Dir)}
	for _, id := range ids {
		c.letGo(id)
		errs = append(errs, spool.Remove(c.cfg.Dir, id))
	}
	return errors.Join(errs...)
}

// end asks the process to leave and waits until it has. A pidfd keeps the number
// from being another's by then.
func end(ctx context.Context, pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("opening log pump %d: %w", pid, err)
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	defer f.Close()
	if err := unix.PidfdSendSignal(fd, unix.SIGTERM, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("ending log pump %d: %w", pid, err)
	}
	for {
		// A pidfd is readable once the process has ended (pidfd_open(2)).
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		if n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for log pump %d to end: %w", pid, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}
