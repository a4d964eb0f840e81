package containerd

import (
	"testing"
	"time"

	"github.com/davit-agent/davit/runtime"
)

// TestStartIsTakenOver has a davit that goes away at any moment of a start, with
// which the daemon goes on, and a next one that starts the same container: it
// must come to run, once.
func TestStartIsTakenOver(t *testing.T) {
	onEachDaemon(t, func(t *testing.T, n *node) {
		for i := range rounds(t, 6) {
			cfg := n.config("pod1", "c", uint32(i), "podtool", "sleep")
			n.create(cfg)
			first, ended := n.c, make(chan struct{})
			go func() { defer close(ended); _ = first.Start(t.Context(), cfg.ID) }()
			time.Sleep(time.Duration(1+i*13%80) * time.Millisecond)
			_ = first.client.Close() // what it asks for from now on reaches nobody
			stop := n.stop
			n.begin(cfg.ContainerRef)
			if err := n.c.Start(t.Context(), cfg.ID); err != nil {
				t.Fatalf("round %d: %v", i, err)
			}
			<-ended
			stop()
			n.await(cfg.ID, runtime.StateRunning)
			n.delete(cfg.ID)
		}
		n.noLeak()
	})
}
