//go:build bench

package bench

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/davit-agent/davit/test/node"
	"github.com/davit-agent/davit/test/testbed"
)

// floor starts containers with nothing but containerd's client.
type floor struct {
	t      testing.TB
	ctx    context.Context
	client *containerd.Client
	image  containerd.Image
	cgroup string
	spec   oci.SpecOpts // nil: the floor's own
}

func newFloor(t testing.TB, bed *testbed.Bed) *floor {
	f := &floor{t: t, ctx: context.Background(), client: bed.Client("floor"), cgroup: bed.CgroupParent()}
	archive := testbed.Archive(t, bed.Dir, testbed.ImageSpec{Name: node.Image, File: "floor.tar"})
	r := open(t, archive)
	defer r.Close()
	if _, err := f.client.Import(f.ctx, r); err != nil {
		t.Fatal(err)
	}
	var err error
	if f.image, err = f.client.GetImage(f.ctx, node.Image); err != nil {
		t.Fatal(err)
	}
	if err := f.image.Unpack(f.ctx, ""); err != nil {
		t.Fatal(err)
	}
	return f
}

// start starts one container and returns how to remove it.
func (f *floor) start(id, netns string) (func(), error) {
	spec := f.spec
	if spec == nil {
		spec = f.own(id, netns)
	}
	c, err := f.client.NewContainer(f.ctx, id,
		containerd.WithImage(f.image),
		containerd.WithNewSnapshot(id, f.image),
		containerd.WithNewSpec(spec))
	if err != nil {
		return nil, err
	}
	task, err := c.NewTask(f.ctx, cio.NullIO)
	if err != nil {
		return nil, err
	}
	if err := task.Start(f.ctx); err != nil {
		return nil, err
	}
	return func() {
		exit, err := task.Wait(f.ctx)
		if err == nil && task.Kill(f.ctx, unix.SIGKILL) == nil {
			<-exit
		}
		_, _ = task.Delete(f.ctx)
		_ = c.Delete(f.ctx, containerd.WithSnapshotCleanup)
	}, nil
}

// own is the spec that containerd's client makes.
func (f *floor) own(id, netns string) oci.SpecOpts {
	return oci.Compose(
		oci.WithImageConfigArgs(f.image, nil), oci.WithProcessArgs("/bin/podtool", "sleep"),
		oci.WithLinuxNamespace(specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: netns}),
		oci.WithCgroup(f.cgroup+"/"+id), seccomp.WithDefaultProfile())
}

// one starts and removes one container; it returns how long the start took.
func (f *floor) one(i int, netns string) time.Duration {
	began := time.Now()
	remove, err := f.start(fmt.Sprintf("one-%d", i), netns)
	if err != nil {
		f.t.Fatal(err)
	}
	took := time.Since(began)
	remove()
	return took
}

// burst starts n containers at once; it returns how long it took until the last
// one ran, and how to remove them.
func (f *floor) burst(n int, netns string) (time.Duration, func()) {
	var wg sync.WaitGroup
	removes := make([]func(), n)
	began := time.Now()
	for i := range n {
		wg.Go(func() {
			var err error
			if removes[i], err = f.start(fmt.Sprintf("burst-%d", i), netns); err != nil {
				f.t.Error(err)
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	return took, func() {
		for _, remove := range removes {
			if remove != nil {
				wg.Go(remove)
			}
		}
		wg.Wait()
	}
}
