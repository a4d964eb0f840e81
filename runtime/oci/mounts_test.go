package oci_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/runtime/oci"
)

func TestRecursiveReadOnly(t *testing.T) {
	spec, err := change(t, func(in *oci.Input, _ *v1.Container) {
		in.Mounts = []oci.Mount{{HostPath: "/v", ContainerPath: "/a", ReadOnly: true, RecursiveReadOnly: true}}
	})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(spec.Mounts, func(m specs.Mount) bool { return m.Destination == "/a" })
	if want := []string{"rbind", "rprivate", "rro"}; i < 0 || !slices.Equal(spec.Mounts[i].Options, want) {
		t.Errorf("%+v", spec.Mounts)
	}
}

// A volume hides the runtime's mounts below it; the pod's own files are mounted
// into it.
func TestVolumeOverDev(t *testing.T) {
	spec, err := change(t, func(in *oci.Input, _ *v1.Container) {
		in.Mounts = []oci.Mount{{HostPath: "/dev", ContainerPath: "/dev"}, {HostPath: "/etc", ContainerPath: "/etc"}}
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range spec.Mounts {
		got = append(got, m.Destination+" "+m.Source)
	}
	want := []string{"/proc proc", "/sys sysfs", "/dev /dev", "/etc /etc", "/dev/shm /run/davit/shm/x", "/etc/hosts /pod/hosts",
		"/etc/hostname /pod/hostname", "/etc/resolv.conf /pod/resolv.conf", "/dev/termination-log /pod/c/log", "/sys/fs/cgroup cgroup"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
