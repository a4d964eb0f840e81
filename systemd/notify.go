package systemd

import (
	"context"
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Ready tells the service manager that davit serves.
func Ready() error { return notify(daemon.SdNotifyReady) }

// Stopping tells the service manager that davit leaves.
func Stopping() error { return notify(daemon.SdNotifyStopping) }

// Status sets the line that systemctl status shows.
func Status(line string) error { return notify("STATUS=" + line) }

// Watchdog tells the service manager that davit is alive, at half the interval
// that it asks for, as long as healthy returns nil. It returns nil when ctx is
// done, and at once if the service manager asks for none.
func Watchdog(ctx context.Context, healthy func() error) error {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return fmt.Errorf("reading the watchdog's interval: %w", err)
	}
	if interval == 0 {
		return nil
	}
	tick := time.NewTicker(interval / 2)
	defer tick.Stop()
	for {
		if healthy() == nil {
			if err := notify(daemon.SdNotifyWatchdog); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func notify(state string) error {
	if _, err := daemon.SdNotify(false, state); err != nil {
		return fmt.Errorf("telling systemd %s: %w", state, err)
	}
	return nil
}
