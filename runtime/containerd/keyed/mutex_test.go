package keyed

import (
	"context"
	"errors"
	"sync"
	"testing"
)

func TestOneHolderPerKey(t *testing.T) {
	var m Mutex
	var wg sync.WaitGroup
	counts := map[string]*int{"a": new(int), "b": new(int)}
	for key, n := range counts {
		for range 50 {
			wg.Go(func() {
				if err := m.Lock(t.Context(), key); err != nil {
					t.Error(err)
					return
				}
				*n++ // the race detector and the sum tell if two are in here
				m.Unlock(key)
			})
		}
	}
	wg.Wait()
	for key, n := range counts {
		if *n != 50 {
			t.Errorf("%s was counted to %d", key, *n)
		}
	}
	if len(m.held) != 0 {
		t.Errorf("%d locks stay", len(m.held))
	}
}

func TestLockEndsWithItsContext(t *testing.T) {
	var m Mutex
	if err := m.Lock(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Lock(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := m.Lock(t.Context(), "b"); err != nil {
		t.Errorf("another key: %v", err)
	}
	m.Unlock("a")
	if err := m.Lock(t.Context(), "a"); err != nil {
		t.Error(err)
	}
}

func TestUnlockOfWhatIsFreePanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	new(Mutex).Unlock("a")
}
