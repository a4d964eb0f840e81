//go:build long

package logs_test

import (
	"os"
	"testing"
	"time"
)

// TestShim with a pump that is away for a minute and one that is killed 20 times.
func TestLongShim(t *testing.T) { shim(t, 10_000_000, time.Minute, 20) }

// A pump whose directory was removed, or made anew for another pump, leaves.
func TestLongDirectoryGone(t *testing.T) {
	b := newBench(t)
	pump := b.pump(b.helper)
	must(t, os.RemoveAll(b.dir))
	done := make(chan error, 1)
	go func() { done <- pump.Wait() }()
	select {
	case err := <-done:
		must(t, err)
	case <-time.After(limit + limit/2): // it looks every 30 s
		t.Fatal("the pump is still there")
	}
}
