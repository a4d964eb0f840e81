package oci_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	v1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

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

// The root needs the widest propagation that any of its volumes has.
func TestPropagation(t *testing.T) {
	const none, in, both = v1.MountPropagationNone, v1.MountPropagationHostToContainer, v1.MountPropagationBidirectional
	for _, c := range []struct {
		modes   []v1.MountPropagationMode
		options []string
		root    string
	}{
		{[]v1.MountPropagationMode{"", none}, []string{"rprivate", "rprivate"}, ""},
		{[]v1.MountPropagationMode{none, in}, []string{"rprivate", "rslave"}, "rslave"},
		{[]v1.MountPropagationMode{in, both}, []string{"rslave", "rshared"}, "rshared"},
		{[]v1.MountPropagationMode{both, in}, []string{"rshared", "rslave"}, "rshared"},
	} {
		spec, err := change(t, func(in *oci.Input, _ *v1.Container) {
			for i, mode := range c.modes {
				in.Mounts = append(in.Mounts, oci.Mount{HostPath: "/v", ContainerPath: []string{"/a", "/b"}[i], Propagation: mode})
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if spec.Linux.RootfsPropagation != c.root {
			t.Errorf("%v: the root is %q", c.modes, spec.Linux.RootfsPropagation)
		}
		for i, place := range []string{"/a", "/b"} {
			at := slices.IndexFunc(spec.Mounts, func(m specs.Mount) bool { return m.Destination == place })
			if got := spec.Mounts[at].Options; !slices.Equal(got, []string{"rbind", c.options[i], "rw"}) {
				t.Errorf("%v: %s has %v", c.modes, place, got)
			}
		}
	}
}

func TestNewMount(t *testing.T) {
	pod := simplePod()
	pod.Spec.Volumes = []v1.Volume{
		{Name: "disk", VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}},
		{Name: "conf", VolumeSource: v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{}}},
		{Name: "cred", VolumeSource: v1.VolumeSource{Secret: &v1.SecretVolumeSource{}}},
		{Name: "down", VolumeSource: v1.VolumeSource{DownwardAPI: &v1.DownwardAPIVolumeSource{}}},
		{Name: "proj", VolumeSource: v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{}}},
	}
	const enabled, possible, disabled = v1.RecursiveReadOnlyEnabled, v1.RecursiveReadOnlyIfPossible, v1.RecursiveReadOnlyDisabled
	for _, c := range []struct {
		mount v1.VolumeMount
		can   bool
		want  oci.Mount
	}{
		{v1.VolumeMount{Name: "disk"}, true, oci.Mount{}},
		{v1.VolumeMount{Name: "disk", ReadOnly: true}, true, oci.Mount{ReadOnly: true}},
		{v1.VolumeMount{Name: "conf"}, true, oci.Mount{ReadOnly: true}},
		{v1.VolumeMount{Name: "cred"}, true, oci.Mount{ReadOnly: true}},
		{v1.VolumeMount{Name: "down"}, true, oci.Mount{ReadOnly: true}},
		{v1.VolumeMount{Name: "proj"}, true, oci.Mount{ReadOnly: true}},
		{v1.VolumeMount{Name: "disk", MountPropagation: ptr.To(v1.MountPropagationBidirectional)}, true, oci.Mount{Propagation: v1.MountPropagationBidirectional}},
		{v1.VolumeMount{Name: "disk", ReadOnly: true, RecursiveReadOnly: ptr.To(enabled)}, false, oci.Mount{ReadOnly: true, RecursiveReadOnly: true}}, // Spec refuses it
		{v1.VolumeMount{Name: "disk", ReadOnly: true, RecursiveReadOnly: ptr.To(possible)}, true, oci.Mount{ReadOnly: true, RecursiveReadOnly: true}},
		{v1.VolumeMount{Name: "disk", ReadOnly: true, RecursiveReadOnly: ptr.To(possible)}, false, oci.Mount{ReadOnly: true}},
		{v1.VolumeMount{Name: "disk", ReadOnly: true, RecursiveReadOnly: ptr.To(disabled)}, true, oci.Mount{ReadOnly: true}},
	} {
		c.mount.MountPath, c.want.ContainerPath, c.want.HostPath = "/a", "/a", "/v"
		if got := oci.NewMount(pod, c.mount, "/v", oci.Node{RecursiveReadOnly: c.can}); got != c.want {
			t.Errorf("%+v: %+v", c.mount, got)
		}
	}
}
