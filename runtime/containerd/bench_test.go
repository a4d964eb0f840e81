package containerd

import (
	"context"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	ctrd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/oci"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/test/testbed"
)

// BenchmarkStart compares with the floor: what a bare containerd client takes
// to start the same container. Times per phase are reported in milliseconds.
func BenchmarkStart(b *testing.B) {
	for name, bin := range map[string]string{"1.6": "", "2.x": testbed.BuildContainerd2(b)} {
		n := newNode(b, bin, nil)
		b.Run(name+"/floor", func(b *testing.B) { n.benchFloor(b) })
		b.Run(name+"/founder", func(b *testing.B) { n.benchDavit(b, false) })
		b.Run(name+"/joiner", func(b *testing.B) { n.benchDavit(b, true) })
		n.stop()
	}
}

func (n *node) benchFloor(b *testing.B) {
	cl := n.Client("floor")
	ctx := namespaces.WithNamespace(b.Context(), "floor")
	f, err := os.Open(testbed.Archive(b, n.Dir, testbed.ImageSpec{Name: n.image.Name}))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if _, err := cl.Import(ctx, f); err != nil {
		b.Fatal(err)
	}
	img, err := cl.GetImage(ctx, n.image.Name)
	if err != nil {
		b.Fatal(err)
	}
	if err := img.Unpack(ctx, "overlayfs"); err != nil {
		b.Fatal(err)
	}
	p := phases{}
	for i := 0; b.Loop(); i++ {
		id := runtime.ContainerID("floor-"+n.ID, strconv.Itoa(b.N), uint32(i))
		begun := time.Now()
		c, err := cl.NewContainer(ctx, id, ctrd.WithNewSnapshot(id, img), ctrd.WithNewSpec(func(_ context.Context, _ oci.Client, _ *containers.Container, s *specs.Spec) error {
			*s = *n.spec(id, "podtool", "sleep")
			s.Root = &specs.Root{Path: "rootfs"}
			return nil
		}))
		if err != nil {
			b.Fatal(err)
		}
		made := time.Now()
		task, err := c.NewTask(ctx, cio.NullIO)
		if err != nil {
			b.Fatal(err)
		}
		tasked := time.Now()
		if err := task.Start(ctx); err != nil {
			b.Fatal(err)
		}
		started := time.Now()
		p.add("create-ms", made.Sub(begun))
		p.add("task-ms", tasked.Sub(made))
		p.add("start-ms", started.Sub(tasked))
		p.add("total-ms", started.Sub(begun))
		if _, err := task.Delete(ctx, ctrd.WithProcessKill); err != nil {
			b.Fatal(err)
		}
		if err := c.Delete(ctx, ctrd.WithSnapshotCleanup); err != nil {
			b.Fatal(err)
		}
		p.add("delete-ms", time.Since(started))
	}
	p.report(b)
}

func (n *node) benchDavit(b *testing.B, join bool) {
	n.t = b
	ctx := b.Context()
	p := phases{}
	if join {
		first := n.config("bench", "first", uint32(b.N), "podtool", "sleep")
		n.create(first)
		n.start(first)
		defer n.delete(first.ID)
	}
	for i := 0; b.Loop(); i++ {
		cfg := n.config("bench", "c"+strconv.Itoa(b.N)+strconv.FormatBool(join), uint32(i), "podtool", "sleep")
		cfg.Log.Path = "" // as the floor
		begun := time.Now()
		if err := n.c.Create(ctx, cfg); err != nil {
			b.Fatal(err)
		}
		made := time.Now()
		e, _ := n.c.table.Get(cfg.ID)
		if err := n.c.createTask(n.c.withNS(ctx), e); err != nil {
			b.Fatal(err)
		}
		tasked := time.Now()
		if err := n.c.startTask(n.c.withNS(ctx), cfg.ID); err != nil {
			b.Fatal(err)
		}
		started := time.Now()
		p.add("create-ms", made.Sub(begun))
		p.add("task-ms", tasked.Sub(made))
		p.add("start-ms", started.Sub(tasked))
		p.add("total-ms", started.Sub(begun))
		if _, err := n.c.List(ctx, cfg.Pod.UID); err != nil {
			b.Fatal(err)
		}
		listed := time.Now()
		p.add("list-ms", listed.Sub(started))
		if err := n.c.Delete(ctx, cfg.ID); err != nil {
			b.Fatal(err)
		}
		p.add("delete-ms", time.Since(listed))
	}
	p.report(b)
}

// phases holds the durations of each phase of a benchmark.
type phases map[string][]time.Duration

func (p phases) add(name string, d time.Duration) { p[name] = append(p[name], d) }

// report reports the medians.
func (p phases) report(b *testing.B) {
	for name, ds := range p {
		b.ReportMetric(float64(median(ds).Microseconds())/1000, name)
	}
}

func median(ds []time.Duration) time.Duration {
	slices.Sort(ds)
	return ds[len(ds)/2]
}
