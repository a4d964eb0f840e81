//go:build bench

package bench

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/davit-agent/davit/test/node"
	"github.com/davit-agent/davit/test/testbed"
)

// TestBenchSpec takes the difference between floor and davit apart: the floor
// starts containers with davit's own spec, whole and without some of its parts.
func TestBenchSpec(t *testing.T) {
	bed := testbed.New(t, testbed.Options{})
	n := node.Start(t, bed, node.Options{})
	f := newFloor(t, bed)
	w := watch(t, n)
	n.Apply("model.yaml", manifest("model"))
	wait(t, w.running, 1)
	list, err := bed.Client("davit").Containers(context.Background())
	if err != nil || len(list) != 1 {
		t.Fatal(len(list), err)
	}
	model, err := list[0].Spec(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	mounts := func(s *specs.Spec, keep func(m specs.Mount) bool) {
		s.Mounts = slices.DeleteFunc(slices.Clone(s.Mounts), func(m specs.Mount) bool { return !keep(m) })
	}
	archs := func(s *specs.Spec, archs ...specs.Arch) {
		filter := *s.Linux.Seccomp
		filter.Architectures = archs
		s.Linux.Seccomp = &filter
	}
	variants := []struct {
		name   string
		change func(*specs.Spec)
	}{
		{"the floor", nil},
		{"davit's spec", func(*specs.Spec) {}},
		{"without bind mounts", func(s *specs.Spec) { mounts(s, func(m specs.Mount) bool { return m.Type != "bind" }) }},
		{"without cgroup mount", func(s *specs.Spec) { mounts(s, func(m specs.Mount) bool { return m.Type != "cgroup" }) }},
		{"without masked paths", func(s *specs.Spec) { s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = nil, nil }},
		{"without resources", func(s *specs.Spec) { s.Linux.Resources = &specs.LinuxResources{} }},
		{"containerd's filter", func(s *specs.Spec) { s.Linux.Seccomp = seccomp.DefaultProfile(s) }},
		{"filter of the profile", func(s *specs.Spec) { archs(s, specs.ArchX86_64, specs.ArchX86, specs.ArchX32) }},
		{"filter for x86_64 only", func(s *specs.Spec) { archs(s, specs.ArchX86_64) }},
		{"without seccomp", func(s *specs.Spec) { s.Linux.Seccomp = nil }},
	}
	took := make([][]time.Duration, len(variants))
	used := make([]time.Duration, len(variants))
	for i := range singles {
		for j, v := range variants {
			f.spec = nil
			if v.change != nil {
				f.spec = func(_ context.Context, _ oci.Client, c *containers.Container, s *oci.Spec) error {
					*s = *model
					linux := *model.Linux
					s.Linux = &linux
					s.Linux.CgroupsPath = f.cgroup + "/" + c.ID
					delete(s.Annotations, "io.containerd.runc.v2.group")
					v.change(s)
					return nil
				}
			}
			b0 := busy(t)
			took[j] = append(took[j], f.one(i*len(variants)+j, bed.NSPath))
			used[j] += busy(t) - b0
		}
	}
	for j, v := range variants {
		fmt.Printf("%-24s p10 %8v   p50 %8v   CPU with removal %v\n", v.name, percentile(took[j], .1), percentile(took[j], .5), (used[j] / singles).Round(1e5))
	}
}
