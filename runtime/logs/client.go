package logs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/logs/spool"
)

var _ runtime.Logs = (*Client)(nil)

const (
	// openLimit is how long Open waits for a pump that is stuck: the pump reads
	// the directory by itself, too.
	openLimit = 2 * time.Second
	// closeLimit is how long Close waits for a pump that is away.
	closeLimit = 5 * time.Second
)

// Config is what New needs.
type Config struct {
	Dir string // the spool directory, <runDir>/logs; made if need be
	// Helper is the program that Run starts as pump, from helper.Install.
	Helper string
	// External: the pump is somebody else's to start, restart and replace.
	External bool
	// LinkDir is where Open makes links to log files whose paths have the form
	// <ns>_<name>_<uid>/<container>/<n>.log; "" is nowhere.
	LinkDir string
	Log     *slog.Logger // nil: slog.Default()
}

// Client implements runtime.Logs. Its methods may be called concurrently,
// before, while and after Run runs.
type Client struct {
	cfg Config
	log *slog.Logger

	mu   sync.Mutex
	held map[string]*spool.Hold
}

// New returns a client. It holds the FIFOs of all entries that are there; Release
// lets them go.
func New(cfg Config) (*Client, error) {
	c := &Client{cfg: cfg, log: cfg.Log, held: map[string]*spool.Hold{}}
	if c.log == nil {
		c.log = slog.Default()
	}
	if !filepath.IsAbs(cfg.Dir) {
		return nil, fmt.Errorf("opening log spool: %q is not an absolute path", cfg.Dir)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making log spool: %w", err)
	}
	ids, err := spool.List(cfg.Dir)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		spec, err := spool.Read(cfg.Dir, id)
		if err == nil {
			err = c.hold(spec)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			c.log.Warn("cannot hold a log stream", "id", id, "err", err)
		}
	}
	return c, nil
}

// Release closes what the client holds open; streams go on.
func (c *Client) Release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, h := range c.held {
		h.Close()
		delete(c.held, id)
	}
}

// Open implements runtime.Logs. It succeeds also while no pump is there: the
// next one takes the stream up.
func (c *Client) Open(ctx context.Context, s runtime.LogStream) (stdout, stderr string, err error) {
	spec := spool.Spec{
		ID: s.ID, Path: s.Path, Terminal: s.Terminal,
		MaxSize: s.MaxSize, MaxFiles: s.MaxFiles,
	}.Complete()
	if err := spool.Write(c.cfg.Dir, spec); err != nil {
		return "", "", err
	}
	if err := c.hold(spec); err != nil {
		return "", "", fmt.Errorf("holding log stream %q: %w", s.ID, err)
	}
	if err := c.link(spec.Path, spec.ID); err != nil {
		return "", "", err
	}
	ctx, cancel := context.WithTimeout(ctx, openLimit)
	defer cancel()
	if err := c.sync(ctx, s.ID); err != nil {
		c.log.Debug("log pump does not answer", "id", s.ID, "err", err)
		var refused *spool.RefusedError
		if errors.As(err, &refused) {
			c.log.Warn("log pump does not take up a stream yet", "id", s.ID, "err", err)
		}
	}
	entry := filepath.Join(c.cfg.Dir, s.ID)
	stdout = filepath.Join(entry, spool.StdoutName)
	if !s.Terminal {
		stderr = filepath.Join(entry, spool.StderrName)
	}
	return stdout, stderr, nil
}

// Close implements runtime.Logs. When the pump does not answer for 5 s the error
// wraps runtime.ErrUnavailable; the next pump completes what was asked for, and
// so does calling Close again.
func (c *Client) Close(ctx context.Context, id string) error {
	if err := spool.CheckID(id); err != nil {
		return err
	}
	if _, err := spool.Read(c.cfg.Dir, id); errors.Is(err, fs.ErrNotExist) {
		c.letGo(id)
		return spool.Remove(c.cfg.Dir, id) // nothing there, or half made: no pump has it
	}
	if err := spool.MarkClosing(c.cfg.Dir, id); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, closeLimit)
	defer cancel()
	for {
		err := c.sync(ctx, id)
		if !spool.Exists(c.cfg.Dir, id) {
			c.letGo(id)
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("closing log stream %q: %w", id,
				errors.Join(runtime.ErrUnavailable, ctx.Err(), err))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// List implements runtime.Logs. Entries that Open or Close left half-done are in
// it.
func (c *Client) List(context.Context) ([]string, error) { return spool.List(c.cfg.Dir) }

// sync tells the pump to look at id.
func (c *Client) sync(ctx context.Context, id string) error {
	conn, err := spool.Dial(ctx, c.cfg.Dir)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	_, err = conn.Ask(spool.OpSync, id)
	return err
}

func (c *Client) hold(s spool.Spec) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held[s.ID] != nil {
		return nil
	}
	h, err := spool.NewHold(c.cfg.Dir, s)
	if err != nil {
		return err
	}
	c.held[s.ID] = h
	return nil
}

func (c *Client) letGo(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held[id].Close()
	delete(c.held, id)
}
