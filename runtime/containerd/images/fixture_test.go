package images

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"

	"github.com/davit-agent/davit/test/testbed"
)

const limit = 60 * time.Second

// newStore makes a Bed with a Store and nothing else.
func newStore(t *testing.T, bin string) (*testbed.Bed, *Store) {
	t.Helper()
	bed := testbed.New(t, testbed.Options{Containerd: bin})
	return bed, storeOf(t, bed, Config{})
}

// storeOf makes a further Store on a Bed, as another process would.
func storeOf(t testing.TB, bed *testbed.Bed, cfg Config) *Store {
	t.Helper()
	return storeAt(t, bed.Address, bed.Namespace, cfg)
}

// storeAt makes a Store without a Bed, in a process that a test started.
func storeAt(t testing.TB, address, namespace string, cfg Config) *Store {
	t.Helper()
	cl, err := client.New(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cl.Close() })
	cfg.Client, cfg.Namespace, cfg.Snapshotter = cl, namespace, "overlayfs"
	cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	var s *Store
	cfg.EnsureNamespace = func(ctx context.Context) error {
		err := cl.NamespaceService().Create(s.withNS(ctx), namespace, nil)
		if errdefs.IsAlreadyExists(err) {
			return nil
		}
		return err
	}
	s = New(cfg)
	return s
}

// onBothDaemons runs f on each containerd that davit supports.
func onBothDaemons(t *testing.T, f func(t *testing.T, bed *testbed.Bed, s *Store)) {
	t.Helper()
	for name, bin := range map[string]string{"1.6": "", "2.x": testbed.BuildContainerd2(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of the time is waiting
			bed, s := newStore(t, bin)
			f(t, bed, s)
		})
	}
}

func noLeaks(t *testing.T, bed *testbed.Bed) {
	t.Helper()
	if leaks := bed.LeakCheck(); len(leaks) > 0 {
		t.Errorf("left behind:\n%s", strings.Join(leaks, "\n"))
	}
}
