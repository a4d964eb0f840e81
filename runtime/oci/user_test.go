package oci_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/davit-agent/davit/runtime/oci"
)

func TestUser(t *testing.T) {
	i64 := ptr.To[int64]
	type user struct {
		uid, gid uint32
		groups   []uint32
	}
	for name, c := range map[string]struct {
		image    string
		pod      *v1.PodSecurityContext
		ctr      *v1.SecurityContext
		want     user
		err      string
		sentinel error
	}{
		"image says nothing":         {"", nil, nil, user{0, 0, []uint32{0, 10}}, "", nil},
		"image by name":              {"app", nil, nil, user{1000, 1001, []uint32{10, 1001, 1002}}, "", nil},
		"image by number":            {"1000", nil, nil, user{1000, 1001, []uint32{10, 1001, 1002}}, "", nil},
		"image with group, ignored":  {"1000:2", nil, nil, user{1000, 1001, []uint32{10, 1001, 1002}}, "", nil},
		"name with group, ignored":   {"app:bin", nil, nil, user{1000, 1001, []uint32{10, 1001, 1002}}, "", nil},
		"number not in passwd":       {"4711", nil, nil, user{4711, 0, []uint32{0}}, "", nil},
		"name not in passwd":         {"nobody", nil, nil, user{}, `the image's user "nobody" is not in its /etc/passwd`, oci.ErrCreate},
		"name of a broken line":      {"huge", nil, nil, user{}, `not in its /etc/passwd`, oci.ErrCreate},
		"number out of range":        {"99999999999", nil, nil, user{}, "out of range", oci.ErrCreate},
		"negative":                   {"-1", nil, nil, user{}, "is not in its /etc/passwd", oci.ErrCreate},
		"pod":                        {"app", &v1.PodSecurityContext{RunAsUser: i64(2)}, nil, user{2, 2, []uint32{2}}, "", nil},
		"container over pod":         {"app", &v1.PodSecurityContext{RunAsUser: i64(2)}, &v1.SecurityContext{RunAsUser: i64(0)}, user{0, 0, []uint32{0, 10}}, "", nil},
		"group":                      {"", nil, &v1.SecurityContext{RunAsUser: i64(1000), RunAsGroup: i64(7)}, user{1000, 7, []uint32{7, 10, 1002}}, "", nil},
		"group with image's name":    {"app", &v1.PodSecurityContext{RunAsGroup: i64(7)}, nil, user{1000, 7, []uint32{7, 10, 1002}}, "", nil},
		"group with image's nothing": {"", &v1.PodSecurityContext{RunAsGroup: i64(7)}, nil, user{0, 7, []uint32{7, 10}}, "", nil},
		"supplemental":               {"4711", &v1.PodSecurityContext{FSGroup: i64(5), SupplementalGroups: []int64{9, 5, 0}}, nil, user{4711, 0, []uint32{0, 5, 9}}, "", nil},
		"strict": {"app", &v1.PodSecurityContext{SupplementalGroups: []int64{9},
			SupplementalGroupsPolicy: ptr.To(v1.SupplementalGroupsPolicyStrict)}, nil, user{1000, 1001, []uint32{9, 1001}}, "", nil},
		"user out of range":  {"", nil, &v1.SecurityContext{RunAsUser: i64(1 << 31)}, user{}, "securityContext.runAsUser: 2147483648 is out of range", oci.ErrConfig},
		"group out of range": {"", nil, &v1.SecurityContext{RunAsGroup: i64(-1)}, user{}, "securityContext.runAsGroup: -1 is out of range", oci.ErrConfig},
		"suppl out of range": {"", &v1.PodSecurityContext{SupplementalGroups: []int64{-4}}, nil, user{}, "group -4 is out of range", oci.ErrConfig},

		"nonroot, runAsUser 0": {"", nil, &v1.SecurityContext{RunAsUser: i64(0), RunAsNonRoot: ptr.To(true)}, user{},
			`container's runAsUser breaks non-root policy (pod: "web_default(u1)", container: c)`, oci.ErrConfig},
		"nonroot, image root": {"", &v1.PodSecurityContext{RunAsNonRoot: ptr.To(true)}, nil, user{},
			`container has runAsNonRoot and image will run as root (pod: "web_default(u1)", container: c)`, oci.ErrConfig},
		"nonroot, image 0": {"0:1", nil, &v1.SecurityContext{RunAsNonRoot: ptr.To(true)}, user{}, `image will run as root`, oci.ErrConfig},
		"nonroot, image by name": {"app:app", nil, &v1.SecurityContext{RunAsNonRoot: ptr.To(true)}, user{},
			`container has runAsNonRoot and image has non-numeric user (app), cannot verify user is non-root (pod: "web_default(u1)", container: c)`, oci.ErrConfig},
		"nonroot, good image": {"1000", nil, &v1.SecurityContext{RunAsNonRoot: ptr.To(true)}, user{1000, 1001, []uint32{10, 1001, 1002}}, "", nil},
		"nonroot, good user":  {"root", nil, &v1.SecurityContext{RunAsUser: i64(2), RunAsNonRoot: ptr.To(true)}, user{2, 2, []uint32{2}}, "", nil},
		"nonroot, container says no": {"", &v1.PodSecurityContext{RunAsNonRoot: ptr.To(true)}, &v1.SecurityContext{RunAsNonRoot: ptr.To(false)},
			user{0, 0, []uint32{0, 10}}, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			spec, err := change(t, func(in *oci.Input, ctr *v1.Container) {
				in.Image.Config.User = c.image
				in.Pod.Spec.SecurityContext, ctr.SecurityContext = c.pod, c.ctr
			})
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) || !errors.Is(err, c.sentinel) {
					t.Fatalf("error %v, want %v: %s", err, c.sentinel, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			u := spec.Process.User
			if d := cmp.Diff(c.want, user{u.UID, u.GID, u.AdditionalGids}, cmp.AllowUnexported(user{})); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestUserOf(t *testing.T) {
	spec, err := change(t, func(in *oci.Input, ctr *v1.Container) {
		in.Pod.Spec.SecurityContext = &v1.PodSecurityContext{FSGroup: ptr.To[int64](5), SupplementalGroups: []int64{9}}
		ctr.SecurityContext = &v1.SecurityContext{RunAsUser: ptr.To[int64](1000)}
	})
	if err != nil {
		t.Fatal(err)
	}
	want := &v1.ContainerUser{Linux: &v1.LinuxContainerUser{UID: 1000, GID: 1001, SupplementalGroups: []int64{5, 9, 10, 1001, 1002}}}
	if d := cmp.Diff(want, oci.UserOf(spec)); d != "" {
		t.Error(d)
	}
	if u := oci.UserOf(nil); u != nil {
		t.Errorf("of nothing: %v", u)
	}
}
