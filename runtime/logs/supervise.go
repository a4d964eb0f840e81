package logs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/davit-agent/davit/runtime/logs/pump"
	"github.com/davit-agent/davit/runtime/logs/spool"
)

const (
	// startLimit is how long a pump may take until it answers; a predecessor may
	// have much to write out.
	startLimit = 90 * time.Second
	backOffMin = 50 * time.Millisecond
	backOffMax = 5 * time.Second
	// steady is how long a pump must have run for its death to be no pattern.
	steady = 10 * time.Second
	// pumpLogName is where the pump's own messages go, pumpLogMax how long it
	// may get before a start empties it.
	pumpLogName = "pump.log"
	pumpLogMax  = 256 << 10
)

// Run sees to it that a pump of the helper's version serves the directory, until
// ctx ends. The pump stays. With External it only waits.
func (c *Client) Run(ctx context.Context) error {
	if c.cfg.External {
		<-ctx.Done()
		return nil
	}
	want, err := pump.Version(c.cfg.Helper)
	if err != nil {
		return err
	}
	backOff := time.Duration(0)
	for ctx.Err() == nil {
		began := time.Now()
		if err := c.superviseOnce(ctx, want); err != nil && ctx.Err() == nil {
			c.log.Warn("log pump is not there", "err", err)
		}
		// The first death is answered at once, a row of them ever more slowly.
		if time.Since(began) > steady {
			backOff = 0
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(backOff):
		}
		backOff = min(max(2*backOff, backOffMin), backOffMax)
	}
	return nil
}

// superviseOnce finds or starts a pump and returns when it is gone.
func (c *Client) superviseOnce(ctx context.Context, want string) error {
	conn, have, err := c.connect(ctx)
	if err == nil && have.Version == want {
		return c.attend(ctx, conn, have)
	}
	if err == nil {
		c.log.Info("replacing log pump", "pid", have.Pid, "version", have.Version, "by", want)
		conn.Close()
	}
	died, err := c.start()
	if err != nil {
		return err
	}
	starting, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		conn, have, err := c.connect(starting)
		if err == nil && have.Version == want {
			return c.attend(ctx, conn, have)
		}
		if err == nil {
			conn.Close() // the predecessor still
		}
		select {
		case err := <-died:
			return fmt.Errorf("log pump ended: %w", err)
		case <-starting.Done():
			return fmt.Errorf("waiting for log pump: %w", errors.Join(starting.Err(), err))
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// connect returns a connection to the pump and its status.
func (c *Client) connect(ctx context.Context) (*spool.Conn, spool.Reply, error) {
	conn, err := spool.Dial(ctx, c.cfg.Dir)
	if err != nil {
		return nil, spool.Reply{}, err
	}
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	r, err := conn.Ask(spool.OpStatus, "")
	if err != nil {
		conn.Close()
		return nil, r, err
	}
	_ = conn.SetDeadline(time.Time{})
	return conn, r, nil
}

// attend returns when the connection ends: the pump is gone.
func (c *Client) attend(ctx context.Context, conn *spool.Conn, have spool.Reply) error {
	c.log.Info("log pump serves", "pid", have.Pid, "version", have.Version, "streams", have.Streams)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer conn.Close()
	var none spool.Reply
	err := conn.Receive(&none)
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("log pump %d went away: %w", have.Pid, err)
}

// start starts a pump in a session of its own and reaps it when it dies.
func (c *Client) start() (died <-chan error, err error) {
	name := filepath.Join(c.cfg.Dir, pumpLogName)
	if st, err := os.Stat(name); err == nil && st.Size() > pumpLogMax {
		_ = os.Truncate(name, 0)
	}
	out, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		out = nil // a full disk is no reason to have no pump
	} else {
		defer out.Close()
	}
	cmd := exec.Command(c.cfg.Helper, "logs", "--dir", c.cfg.Dir)
	cmd.Dir = "/"
	cmd.Env = []string{}
	if out != nil {
		cmd.Stdout, cmd.Stderr = out, out
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting log pump: %w", err)
	}
	ch := make(chan error, 1)
	go func() {
		if err := cmd.Wait(); err != nil {
			ch <- err
			return
		}
		ch <- errors.New("it left")
	}()
	return ch, nil
}
