//go:build bench

package bench

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/containerd/images"
	"github.com/davit-agent/davit/test/testbed"
)

const (
	pullImages  = 10
	pullLayers  = 5
	pullLayer   = 1 << 20 // bytes, of which nothing can be compressed
	pullLatency = 20 * time.Millisecond
	pullRounds  = 3
)

// TestPullBench pulls images one after the other and at once, from a registry
// with some latency, each round into an empty store.
func TestPullBench(t *testing.T) {
	bins := map[string]string{"1.6": "", "2.x": testbed.BuildContainerd2(t)}
	for _, version := range []string{"1.6", "2.x"} {
		bed := testbed.New(t, testbed.Options{Containerd: bins[version]})
		r := testbed.NewRegistry(t, testbed.RegistryOptions{Latency: pullLatency})
		refs := make([]string, pullImages)
		for i := range refs {
			refs[i], _ = r.Push(t, fmt.Sprintf("image%d:1", i), fiveLayers(t))
		}
		cl, err := client.New(bed.Address)
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		s := images.New(images.Config{Client: cl, Namespace: "bench", Snapshotter: "overlayfs",
			EnsureNamespace: func(context.Context) error { return nil }})
		var serial, atOnce, again []time.Duration
		for range pullRounds {
			serial = append(serial, timed(func() {
				for _, ref := range refs {
					pullOne(t, s, ref)
				}
			}))
			again = append(again, timed(func() {
				for _, ref := range refs {
					pullOne(t, s, ref)
				}
			}))
			removeAll(t, s, refs)
			atOnce = append(atOnce, timed(func() {
				var wg sync.WaitGroup
				for _, ref := range refs {
					wg.Go(func() { pullOne(t, s, ref) })
				}
				wg.Wait()
			}))
			removeAll(t, s, refs)
		}
		a, b, c := percentile(serial, .5), percentile(atOnce, .5), percentile(again, .5)
		fmt.Printf("\ncontainerd %s: %d images of %d layers of %d KiB, %v of latency, median of %d\n",
			bed.Containerd.Version(), pullImages, pullLayers, pullLayer>>10, pullLatency, pullRounds)
		fmt.Printf("pull       one by one %8v   at once %8v   %.1f times as fast   one by one, not moved %8v\n", a, b, a.Seconds()/b.Seconds(), c)
	}
}

func fiveLayers(t *testing.T) v1.Image {
	img := testbed.Image(t, testbed.ImageSpec{Empty: true, Files: map[string]testbed.File{"/etc/passwd": {Data: []byte("root:x:0:0::/:\n")}}})
	for i := range pullLayers - 1 {
		data := make([]byte, pullLayer)
		_, _ = rand.Read(data)
		layers, err := testbed.Image(t, testbed.ImageSpec{Empty: true,
			Files: map[string]testbed.File{fmt.Sprintf("/data%d", i): {Data: data}}}).Layers()
		if err != nil {
			t.Fatal(err)
		}
		if img, err = mutate.AppendLayers(img, layers...); err != nil {
			t.Fatal(err)
		}
	}
	return img
}

func timed(f func()) time.Duration {
	began := time.Now()
	f()
	return time.Since(began)
}

func pullOne(t *testing.T, s *images.Store, ref string) {
	if _, err := s.Pull(t.Context(), runtime.PullRequest{Ref: ref}); err != nil {
		t.Error(err)
	}
}

func removeAll(t *testing.T, s *images.Store, refs []string) {
	for _, ref := range refs {
		if err := s.RemoveImage(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
	}
}
