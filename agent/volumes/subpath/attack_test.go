package subpath

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// attack runs an attacker, which tells whether it changed something, until all
// tries are done, and returns how often it did.
func attack(attacker func() bool, tries func()) int64 {
	var changes atomic.Int64
	var done atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for !done.Load() {
			// In bursts, so that some tries see changes at every step and
			// others one or none.
			for range rand.IntN(20) {
				if attacker() {
					changes.Add(1)
				}
			}
			time.Sleep(time.Duration(rand.IntN(200)) * time.Microsecond)
		}
	})
	tries()
	done.Store(true)
	wg.Wait()
	return changes.Load()
}

// exchange swaps two entries of a directory, one of them a symlink that leads
// out. By descriptor: the attacker's own paths must not lead out.
func exchange(t *testing.T, dir, name, to string) func() bool {
	t.Helper()
	must(t, os.Symlink(to, filepath.Join(dir, "link")))
	f, err := os.Open(dir)
	must(t, err)
	t.Cleanup(func() { must(t, f.Close()) })
	return func() bool {
		return unix.Renameat2(int(f.Fd()), name, int(f.Fd()), "link", unix.RENAME_EXCHANGE) == nil
	}
}

// swapAttack has an attacker exchange parts of a volume for symlinks that lead
// out of it while davit opens, makes and mounts places in it, until it has
// succeeded so many times with each kind. Most tries see a link and are refused.
func swapAttack(t *testing.T, successes int) {
	for _, tc := range []struct {
		name, sub, file string // file below what is opened
		attacker        func(t *testing.T, w world) func() bool
	}{
		{"first name, absolute", "a/b/secret", "", func(t *testing.T, w world) func() bool { return exchange(t, w.volume, "a", w.outside) }},
		{"first name, relative", "a/b", "secret", func(t *testing.T, w world) func() bool { return exchange(t, w.volume, "a", "../outside") }},
		{"middle", "a/b/secret", "", func(t *testing.T, w world) func() bool {
			return exchange(t, filepath.Join(w.volume, "a"), "b", "../../outside/b")
		}},
		{"last name", "a/b/secret", "", func(t *testing.T, w world) func() bool {
			return exchange(t, filepath.Join(w.volume, "a/b"), "secret", "../../../outside/b/secret")
		}},
		{"through a symlink", "via/secret", "", func(t *testing.T, w world) func() bool {
			must(t, os.Symlink("a/b", filepath.Join(w.volume, "via")))
			return exchange(t, w.volume, "a", "../outside")
		}},
		{"what is made", "new/x/y", "", func(_ *testing.T, w world) func() bool { return func() bool { return replace(w) } }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			for dir, content := range map[string]string{filepath.Join(w.volume, "a/b"): "inside", filepath.Join(w.outside, "b"): "outside"} {
				must(t, os.MkdirAll(dir, 0o755))
				must(t, os.WriteFile(filepath.Join(dir, "secret"), []byte(content), 0o600))
			}
			opened, tries := 0, 0
			changes := attack(tc.attacker(t, w), func() {
				for ; opened < successes && tries < 1000*successes && !t.Failed(); tries++ {
					f, err := Open(t.Context(), w.volume, tc.sub)
					if err != nil {
						continue
					}
					opened++
					if tc.sub != "new/x/y" {
						inside(t, tries, filepath.Join(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), tc.file))
						target, err := Bind(f, w.pod, w.mount(tc.sub))
						must(t, err)
						inside(t, tries, filepath.Join(target, tc.file))
					} else {
						_ = os.RemoveAll(filepath.Join(w.volume, "new")) // to be made again
					}
					must(t, f.Close())
				}
			})
			untouched(t, w)
			t.Logf("%d tries, %d changes meanwhile, %d opened", tries, changes, opened)
			if opened == 0 || changes == 0 {
				t.Error("that tests nothing")
			}
		})
	}
}

// replace moves away what davit makes and puts a link there for a moment.
func replace(w world) bool {
	made, moved := filepath.Join(w.volume, "new"), filepath.Join(w.volume, "moved")
	_ = os.RemoveAll(moved)
	took := unix.Rename(made, moved) == nil
	_ = os.Symlink("../outside", made) // davit may be faster
	_ = unix.Unlink(made)
	return took
}

func inside(t *testing.T, try int, path string) {
	t.Helper()
	if data, err := os.ReadFile(path); err != nil || string(data) != "inside" {
		t.Errorf("try %d: %q, %v", try, data, err)
	}
}

// untouched checks that nothing was made outside of the volume.
func untouched(t *testing.T, w world) {
	t.Helper()
	var found []string
	must(t, filepath.Walk(w.outside, func(p string, _ os.FileInfo, err error) error {
		found = append(found, p)
		return err
	}))
	if len(found) != 4 { // outside, its secret, b, its secret
		t.Errorf("outside: %q", found)
	}
}

// TestSwapAttack makes far more than 10,000 tries; the long test 5 times more.
func TestSwapAttack(t *testing.T) { swapAttack(t, 2000) }
