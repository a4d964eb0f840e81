package containerd

import (
	"errors"
	"testing"

	"github.com/containerd/containerd/v2/core/leases"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/test/testbed"
)

// TestImagesOfAClient is about what the Client adds to package images: its
// namespace, its configuration, and when what was left over goes.
func TestImagesOfAClient(t *testing.T) {
	onEachDaemon(t, func(t *testing.T, n *node) {
		r := testbed.NewRegistry(t, testbed.RegistryOptions{})
		ref, _ := r.Push(t, "tool:1", testbed.Image(t, testbed.ImageSpec{}))
		n.stop()
		// What a davit that was killed in the middle of a pull has left.
		ctx, cl := t.Context(), n.Client("davit")
		lease, err := cl.LeasesService().Create(ctx, leases.WithID("davit-pull-LEFT"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cl.SnapshotService("overlayfs").Prepare(leases.WithLease(ctx, lease.ID), "half-unpacked", ""); err != nil {
			t.Fatal(err)
		}
		n.begin()
		testbed.Poll(t, limit, func() string {
			all, err := cl.LeasesService().List(ctx)
			if err != nil || len(all) > 0 {
				return "the lease is still there"
			}
			return ""
		})
		img, err := n.c.Pull(ctx, runtime.PullRequest{Ref: ref})
		if err != nil {
			t.Fatal(err)
		}
		n.image = img
		cfg := n.run("images", "c", 0, "podtool", "sleep")
		if err := n.c.RemoveImage(ctx, ref); err != nil {
			t.Error(err)
		}
		if _, err := n.c.Image(ctx, ref); !errors.Is(err, runtime.ErrImageNotFound) {
			t.Errorf("Image of a removed image: %v", err)
		}
		if c := n.get(cfg.ID); c == nil || c.State != runtime.StateRunning {
			t.Errorf("the container of a removed image is %+v", c)
		}
		n.delete(cfg.ID)
		if all, err := n.c.Images(ctx); err != nil || len(all) != 1 || all[0].Names[0] != "example.com/tool:1" {
			t.Errorf("images are %+v, %v", all, err)
		}
		n.noLeak()
	})
}
