package images

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/test/testbed"
)

// importOnly puts an image into the store without unpacking it.
func importOnly(t *testing.T, bed *testbed.Bed, s testbed.ImageSpec) {
	t.Helper()
	f, err := os.Open(testbed.Archive(t, t.TempDir(), s))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := bed.Client(bed.Namespace).Import(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

func TestImageIsUnpackedAndRead(t *testing.T) {
	onBothDaemons(t, func(t *testing.T, bed *testbed.Bed, c *Store) {
		importOnly(t, bed, testbed.ImageSpec{
			Name: "docker.io/library/web:latest", Entrypoint: []string{"/bin/podtool"}, User: "app", StopSignal: "SIGUSR1",
			Files: map[string]testbed.File{"/etc/group": {Data: []byte("staff:x:50:\n")}},
		})
		img, err := c.Image(t.Context(), "web")
		if err != nil {
			t.Fatal(err)
		}
		if img.Name != "docker.io/library/web:latest" || img.Config.User != "app" || img.Config.StopSignal != "SIGUSR1" {
			t.Errorf("image is %+v", img)
		}
		if !strings.HasPrefix(string(img.Passwd), "root:x:0:0:") || string(img.Group) != "staff:x:50:\n" {
			t.Errorf("passwd %.20q, group %q", img.Passwd, img.Group)
		}
		if img.Size < 1<<20 || !strings.HasPrefix(img.ID, "sha256:") || img.RepoDigests != nil {
			t.Errorf("size %d, ID %q, digests %q", img.Size, img.ID, img.RepoDigests)
		}
		sn := bed.Client(bed.Namespace).SnapshotService("overlayfs")
		if _, err := sn.Stat(t.Context(), img.Snapshot); err != nil {
			t.Errorf("its snapshot: %v", err)
		}
		again, err := c.Image(t.Context(), "docker.io/library/web")
		if err != nil || again != img {
			t.Errorf("a second call returned %p, %v, not what is cached", again, err)
		}
		rec, err := c.records().Get(c.withNS(t.Context()), img.Name)
		if err != nil {
			t.Fatal(err)
		}
		byDigest := "docker.io/library/web@" + rec.Target.Digest.String()
		pinned, err := c.Image(t.Context(), byDigest)
		if err != nil || pinned.ID != img.ID || !slices.Equal(pinned.RepoDigests, []string{byDigest}) {
			t.Errorf("by digest: %+v, %v", pinned, err)
		}
		if err := sn.Remove(t.Context(), img.Snapshot); err != nil {
			t.Fatal(err)
		}
		if again, err = c.Image(t.Context(), "web"); err != nil {
			t.Fatal(err)
		}
		if _, err := sn.Stat(t.Context(), again.Snapshot); err != nil {
			t.Errorf("a lost snapshot was not made again: %v", err)
		}
		noLeaks(t, bed)
	})
}

func TestImageNoticesThatATagMoves(t *testing.T) {
	bed, c := newStore(t, "")
	importOnly(t, bed, testbed.ImageSpec{Name: "example.com/x:1", User: "one"})
	first, err := c.Image(t.Context(), "example.com/x:1")
	if err != nil {
		t.Fatal(err)
	}
	importOnly(t, bed, testbed.ImageSpec{Name: "example.com/x:1", User: "two"})
	second, err := c.Image(t.Context(), "example.com/x:1")
	if err != nil || second.Config.User != "two" || second.ID == first.ID {
		t.Errorf("got %+v, %v", second, err)
	}
	if err := bed.Client(bed.Namespace).ImageService().Delete(t.Context(), "example.com/x:1", images.SynchronousDelete()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Image(t.Context(), "example.com/x:1"); !errors.Is(err, runtime.ErrImageNotFound) {
		t.Errorf("a removed image: %v", err)
	}
}

func TestImageErrors(t *testing.T) {
	bed, c := newStore(t, "")
	importOnly(t, bed, testbed.ImageSpec{Name: "example.com/empty:1", Empty: true})
	if img, err := c.Image(t.Context(), "example.com/empty:1"); err != nil || img.Passwd != nil || img.Snapshot != "" {
		t.Errorf("an image without layers: %+v, %v", img, err)
	}
	for ref, want := range map[string]error{
		"example.com/none:1":   runtime.ErrImageNotFound,
		"example.com/UPPER":    runtime.ErrInvalidImageName,
		"":                     runtime.ErrInvalidImageName,
		"example.com/x:a:b":    runtime.ErrInvalidImageName,
		"example.com/x@sha256": runtime.ErrInvalidImageName,
	} {
		if _, err := c.Image(t.Context(), ref); !errors.Is(err, want) {
			t.Errorf("Image(%q): %v, want %v", ref, err, want)
		}
	}
	bed.Containerd.Kill()
	if _, err := c.Image(t.Context(), "example.com/empty:1"); !errors.Is(err, runtime.ErrUnavailable) {
		t.Errorf("with the daemon away: %v", err)
	}
}

func TestImageReapsLeasesOfAnEarlierProcess(t *testing.T) {
	bed, c := newStore(t, "")
	importOnly(t, bed, testbed.ImageSpec{Name: "example.com/x:1"})
	cl := bed.Client(bed.Namespace)
	lease, err := cl.LeasesService().Create(t.Context(), leases.WithID(imageLease+"0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cl.SnapshotService("overlayfs").View(leases.WithLease(t.Context(), lease.ID), "left", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Image(t.Context(), "example.com/x:1"); err != nil {
		t.Fatal(err)
	}
	noLeaks(t, bed)
}

func BenchmarkImageCached(b *testing.B) {
	bed := testbed.New(b, testbed.Options{})
	c := storeOf(b, bed, Config{})
	dir := b.TempDir()
	testbed.Archive(b, dir, testbed.ImageSpec{Name: "example.com/x:1"})
	if r, err := c.Preload(context.Background(), dir); err != nil || r[0].Err != nil {
		b.Fatal(err, r)
	}
	for b.Loop() {
		if _, err := c.Image(context.Background(), "example.com/x:1"); err != nil {
			b.Fatal(err)
		}
	}
}
