package pump

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/davit-agent/davit/runtime/logs/spool"
)

// ErrServed means that a pump of the same version serves the directory already.
var ErrServed = errors.New("a log pump of this version serves the directory already")

// takeOverLimit is how long a predecessor may take to leave.
const takeOverLimit = 60 * time.Second

// Config is what Run needs.
type Config struct {
	Dir     string // the spool directory; made if need be
	Version string // of this program, see Version
	// Replace asks a pump of the same version to hand over, too.
	Replace bool
	Log     *slog.Logger
}

// Run serves the directory until ctx is cancelled or a successor takes over; it
// returns nil in both cases, with everything written that was read. Where a pump
// of another version serves the directory, Run has it hand over; where it is of
// the same version, Run returns ErrServed.
func Run(ctx context.Context, cfg Config) error {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("making spool directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(cfg.Dir, spool.LockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("opening lock file: %w", err)
	}
	defer lock.Close() // and with it the lock
	held, err := cfg.acquire(ctx, lock)
	defer func() { release(held) }()
	if err != nil {
		return err
	}
	l, err := spool.Listen(cfg.Dir)
	if err != nil {
		return err
	}
	s := newServer(cfg.Dir, cfg.Version, cfg.Log)
	s.lock = lock
	cfg.Log.Info("serving", "dir", cfg.Dir, "version", cfg.Version)
	err = s.serve(ctx, l, func() {
		release(held) // the streams have them open by now
		held = nil
	})
	cfg.Log.Info("leaving", "dir", cfg.Dir, "lostBytes", s.lost.Load())
	return err
}

// acquire gets the lock, if need be by having another pump hand over; then it
// returns the FIFOs, held open since before that pump let them go.
func (cfg Config) acquire(ctx context.Context, lock *os.File) (held []*spool.Hold, err error) {
	ctx, cancel := context.WithTimeout(ctx, takeOverLimit)
	defer cancel()
	asked := false
	for {
		err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return held, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return held, fmt.Errorf("locking spool directory: %w", err)
		}
		if !asked {
			var h []*spool.Hold
			h, err = cfg.ask(ctx)
			held = append(held, h...)
			if errors.Is(err, ErrServed) {
				return held, err
			}
			// Any other error: it is starting, leaving, or stuck. Ask again.
			asked = err == nil
		}
		select {
		case <-ctx.Done():
			return held, fmt.Errorf("waiting for the other log pump to leave: %w", errors.Join(ctx.Err(), err))
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// ask has the pump that serves the directory hand over.
func (cfg Config) ask(ctx context.Context) ([]*spool.Hold, error) {
	c, err := spool.Dial(ctx, cfg.Dir)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	r, err := c.Ask(spool.OpStatus, "")
	if err != nil {
		return nil, err
	}
	if r.Version == cfg.Version && !cfg.Replace {
		return nil, fmt.Errorf("pid %d: %w", r.Pid, ErrServed)
	}
	if _, err := c.Ask(spool.OpHandover, ""); err != nil {
		return nil, err
	}
	held, err := cfg.hold()
	if err == nil {
		err = c.Send(spool.Request{V: spool.ProtocolVersion, Op: spool.OpGo})
	}
	return held, err
}

// hold opens the FIFOs of all entries that can be read; the others are not
// served by the predecessor either.
func (cfg Config) hold() ([]*spool.Hold, error) {
	ids, err := spool.List(cfg.Dir)
	if err != nil {
		return nil, err
	}
	var held []*spool.Hold
	for _, id := range ids {
		spec, err := spool.Read(cfg.Dir, id)
		if err != nil {
			continue
		}
		if h, err := spool.NewHold(cfg.Dir, spec); err == nil {
			held = append(held, h)
		} else {
			cfg.Log.Warn("cannot open a FIFO", "id", id, "err", err)
		}
	}
	return held, nil
}

func release(held []*spool.Hold) {
	for _, h := range held {
		h.Close()
	}
}

// Version returns the version of a program: the first 12 hex digits of its
// file's SHA-256.
func Version(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("hashing program: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("hashing program: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil))[:12], nil
}
