package containerd

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/davit-agent/davit/runtime"
)

// A deletion that was cut can leave a container that only its shim knows, and
// whose bundle the daemon has removed: deleting goes through all the same, and
// leaves the pod's other container alone.
func TestDeleteWithoutABundle(t *testing.T) {
	onEachDaemon(t, func(t *testing.T, n *node) {
		lost := n.run("u1", "lost", 0, "podtool", "exit", "0")
		n.await(lost.ID, runtime.StateExited)
		alone := n.run("u2", "alone", 0, "podtool", "sleep")
		stays := n.run("u1", "stays", 0, "podtool", "sleep")
		n.Containerd.Kill()
		for _, id := range []string{lost.ID, alone.ID} {
			bundles, err := filepath.Glob(filepath.Join(n.Dir, "ctrd", "state", "io.containerd.runtime.v2.task", "*", id))
			if err != nil || len(bundles) != 1 {
				t.Fatalf("bundles of %s: %v %v", id, bundles, err)
			}
			_ = unix.Unmount(filepath.Join(bundles[0], "rootfs"), unix.MNT_DETACH)
			if err := os.RemoveAll(bundles[0]); err != nil {
				t.Fatal(err)
			}
		}
		n.startDaemon()
		n.await(stays.ID, runtime.StateRunning)
		n.delete(lost.ID, alone.ID)
		if c := n.get(stays.ID); c == nil || c.State != runtime.StateRunning {
			t.Errorf("the other container of the shim is %+v", c)
		}
		n.delete(stays.ID)
		n.noLeak()
	})
}
