package containerd

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/containerd/fault"
)

// rounds returns how often a stress test repeats itself: short by default,
// since the project's every test run has it.
func rounds(t *testing.T, short int) int {
	if s := os.Getenv("DAVIT_TEST_ROUNDS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return short
}

func TestRestartOfAnOnlyContainer(t *testing.T) {
	onEachDaemon(t, func(t *testing.T, n *node) {
		var spent time.Duration
		count := rounds(t, 10)
		for i := range count {
			cfg := n.config("u1", "c", uint32(i), "podtool", "exit", "0")
			begun := time.Now()
			n.create(cfg)
			n.start(cfg)
			spent += time.Since(begun)
			if c := n.await(cfg.ID, runtime.StateExited); c.Exit.Code != 0 {
				t.Fatalf("round %d ended with %+v", i, c.Exit)
			}
			n.delete(cfg.ID)
		}
		t.Logf("%d restarts, %v for Create and Start on average", count, spent/time.Duration(count))
		n.noLeak()
	})
}

// TestPodsInOneShimComeAndGo has the last deletion in a shim race with
// creations that would join it.
func TestPodsInOneShimComeAndGo(t *testing.T) {
	n := newNode(t, "", func(c *Config) { c.PodsPerShim = 4 })
	var wg sync.WaitGroup
	for p := range 4 {
		wg.Go(func() {
			for i := range rounds(t, 5) {
				cfg := n.config("pod"+strconv.Itoa(p), "c", uint32(i), "podtool", "sleep")
				if err := errors.Join(n.c.Create(t.Context(), cfg), n.c.Start(t.Context(), cfg.ID)); err != nil {
					t.Errorf("pod %d round %d: %v", p, i, err)
				}
				time.Sleep(rand.N(20 * time.Millisecond))
				if err := n.c.Delete(t.Context(), cfg.ID); err != nil {
					t.Errorf("pod %d round %d: %v", p, i, err)
				}
			}
		})
	}
	wg.Wait()
	n.noLeak()
}

// TestDaemonIsKilledInTheMiddle kills containerd at random moments of the
// lives of three pods. Each step is tried until it succeeds; nothing may run
// twice, be lost, or be left behind.
func TestDaemonIsKilledInTheMiddle(t *testing.T) {
	onEachDaemon(t, func(t *testing.T, n *node) {
		seed := uint64(time.Now().UnixNano())
		rnd := rand.New(rand.NewPCG(seed, 0))
		t.Logf("seed %d", seed)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for p := range 3 {
			wg.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					if err := n.oneLife("pod"+strconv.Itoa(p), uint32(i)); err != nil {
						t.Errorf("pod %d, life %d: %v", p, i, err)
					}
				}
			})
		}
		for range rounds(t, 6) {
			time.Sleep(time.Duration(50+rnd.IntN(600)) * time.Millisecond)
			n.Containerd.Kill()
			time.Sleep(time.Duration(rnd.IntN(200)) * time.Millisecond)
			n.Containerd.Start()
		}
		close(stop)
		wg.Wait()
		n.noLeak()
	})
}

// oneLife takes a container through its life against all resistance.
func (n *node) oneLife(pod string, attempt uint32) error {
	cfg := n.config(pod, "c", attempt, "sh", "-c", "echo once; exec podtool exit 5 50ms")
	insist := func(what string, f func() error) error {
		deadline := time.Now().Add(limit)
		for {
			err := f()
			if err == nil || errors.Is(err, runtime.ErrExited) {
				return nil
			}
			// The last is containerd's own: its snapshotter, killed between the
			// renaming of a directory and the commit, trips over it until the
			// next removal of a snapshot has it collect its garbage.
			again := errors.Is(err, runtime.ErrUnavailable) || fault.ShimGone(err) || strings.Contains(err.Error(), "failed to rename")
			if !again || time.Now().After(deadline) {
				return fmt.Errorf("%s: %w", what, err)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	ctx := n.t.Context()
	err := insist("create", func() error { return n.c.Create(ctx, cfg) })
	if err == nil {
		err = insist("start", func() error { return n.c.Start(ctx, cfg.ID) })
	}
	if err == nil {
		err = insist("exit", func() error { return n.ended(cfg) })
	}
	if out := n.pump.output(cfg.ID); strings.Count(out, "once") > 1 {
		err = errors.Join(err, fmt.Errorf("it ran more than once: %q", out))
	}
	return errors.Join(err, insist("delete", func() error { return n.c.Delete(ctx, cfg.ID) }))
}

// ended waits until a container is known to have ended.
func (n *node) ended(cfg *runtime.ContainerConfig) error {
	list, err := n.c.List(n.t.Context(), cfg.Pod.UID)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(list, func(c runtime.Container) bool { return c.ID == cfg.ID })
	switch {
	case i < 0:
		return errors.New("container is lost")
	case list[i].State == runtime.StateUnknown:
		return nil // the daemon lost it: that is allowed, if it says so
	case list[i].State == runtime.StateExited:
		out := n.pump.output(cfg.ID)
		// 1 without output is runc's own: containerd takes a "runc start" along
		// that it waits for, and the init that was to exec finds its FIFO without
		// a reader.
		if c := list[i].Exit.Code; c != 5 && c != 137 && (c != 1 || out != "") {
			return fmt.Errorf("exit code %d, output %q", c, out)
		}
		return nil
	}
	return fmt.Errorf("container is %s: %w", list[i].State, runtime.ErrUnavailable)
}
