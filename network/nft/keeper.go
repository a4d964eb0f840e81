package nft

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

const (
	// recheckEvery is the safety net under the events.
	recheckEvery = time.Minute
	// repairEvery bounds how often a table is rewritten that somebody else
	// changes again and again.
	repairEvery = 100 * time.Millisecond
	// retryAfter is the pause after an error of the event socket or a repair.
	retryAfter = time.Second
)

// Keeper keeps tables equal to their wanted values. All methods are safe for
// concurrent use.
type Keeper struct {
	sock *socket
	log  *slog.Logger

	mu     sync.Mutex // held over compare and replace, so that repairs and Set do not cross
	tables map[key]*kept
}

// kept is a table that the keeper was given.
type kept struct {
	want  Table
	text  string // want.render
	shown string // how the kernel showed it after it was written; "" if not written by us
}

// New returns a Keeper for the network namespace at netns; "" is the process's
// own. Close it after use; closing leaves the tables.
func New(netns string, log *slog.Logger) (*Keeper, error) {
	sock, err := openSocket(netns)
	if err != nil {
		return nil, err
	}
	return &Keeper{sock: sock, log: log, tables: map[key]*kept{}}, nil
}

// Close closes the sockets. It must not be called before Run has returned.
func (k *Keeper) Close() { k.sock.close() }

// Set makes the kernel's table equal to t, in one transaction and only if it
// differs, and keeps it so while Run runs. It reports whether it was written.
// On an error call it again; Run tries at its next recheck too.
func (k *Keeper) Set(t Table) (changed bool, err error) {
	if err := t.validate(); err != nil {
		return false, err
	}
	text, err := t.render()
	if err != nil {
		return false, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	tab := k.tables[t.key()]
	if tab == nil || tab.text != text {
		tab = &kept{want: t, text: text}
		k.tables[t.key()] = tab
	}
	return k.assertLocked(tab)
}

// Intact says whether the kernel's table is as it was Set.
func (k *Keeper) Intact(t Table) (bool, error) {
	text, err := t.render()
	if err != nil {
		return false, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	tab := k.tables[t.key()]
	if tab == nil || tab.text != text {
		tab = &kept{want: t, text: text}
	}
	return k.intactLocked(tab)
}

// Drop removes a table from the kernel, whoever made it, and forgets it.
func (k *Keeper) Drop(t Table) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.tables, t.key())
	return k.sock.drop(t.key())
}

func (k *Keeper) intactLocked(tab *kept) (bool, error) {
	have, found, err := k.sock.list(tab.want.key())
	if err != nil || !found {
		return false, err
	}
	return have == tab.text || tab.shown != "" && have == tab.shown, nil
}

// assertLocked makes the kernel's table equal to tab.
func (k *Keeper) assertLocked(tab *kept) (changed bool, err error) {
	ok, err := k.intactLocked(tab)
	if err != nil || ok {
		return false, err
	}
	before, err := k.sock.generation()
	if err != nil {
		return false, err
	}
	if err := k.sock.replace(tab.want); err != nil {
		return false, err
	}
	have, _, err := k.sock.list(tab.want.key())
	if err != nil || have == tab.text {
		return true, err
	}
	after, err := k.sock.generation()
	if err != nil {
		return true, err
	}
	if after == before+1 { // ours was the only commit: this is how the kernel shows it
		k.log.Debug("nftables table is shown in another form than it was written", "table", tab.want.Name)
		tab.shown = have
	}
	return true, nil
}

// Run repairs the tables until ctx ends, and leaves them. It returns nil.
func (k *Keeper) Run(ctx context.Context) error {
	changes := make(chan change)
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			if err := k.sock.watch(ctx, changes); err != nil {
				k.log.Error("watching nftables failed", "err", err)
				pause(ctx, retryAfter)
			}
		}
	})
	defer wg.Wait()

	timer := time.NewTimer(recheckEvery)
	defer timer.Stop()
	for {
		dirty := map[key]bool{}
		select {
		case <-ctx.Done():
			return nil
		case c := <-changes:
			dirty[c] = true
		case <-timer.C:
			dirty[change{}] = true
		}
		drain(changes, dirty)
		next := recheckEvery
		repaired, err := k.repair(dirty)
		if err != nil {
			k.log.Error("repairing nftables failed", "err", err)
			next = retryAfter
		}
		timer.Reset(next)
		if repaired {
			pause(ctx, repairEvery)
		}
	}
}

// drain takes the changes that come in quick succession, such as those of one
// transaction, so that they cause one look.
func drain(changes <-chan change, dirty map[key]bool) {
	quiet := time.NewTimer(2 * time.Millisecond)
	defer quiet.Stop()
	for {
		select {
		case c := <-changes:
			dirty[c] = true
		case <-quiet.C:
			return
		}
	}
}

// repair asserts the tables in dirty, or all if dirty names any table.
func (k *Keeper) repair(dirty map[key]bool) (repaired bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var errs []error
	for name, tab := range k.tables {
		if !dirty[name] && !dirty[change{}] {
			continue
		}
		changed, err := k.assertLocked(tab)
		if err != nil {
			errs = append(errs, fmt.Errorf("table %q: %w", name.name, err))
		}
		if changed {
			repaired = true
			k.log.Info("nftables table was changed by somebody else and has been restored", "table", name.name)
		}
	}
	return repaired, errors.Join(errs...)
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
