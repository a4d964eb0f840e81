package oci_test

import (
	"errors"
	"slices"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/runtime/oci"
)

// allows reports whether a filter lets a system call through without looking at
// its arguments.
func allows(s *specs.LinuxSeccomp, name string) bool {
	return slices.ContainsFunc(s.Syscalls, func(r specs.LinuxSyscall) bool {
		return r.Action == specs.ActAllow && len(r.Args) == 0 && slices.Contains(r.Names, name)
	})
}

func TestSeccomp(t *testing.T) {
	profile := func(typ v1.SeccompProfileType) *v1.SeccompProfile { return &v1.SeccompProfile{Type: typ} }
	for name, c := range map[string]struct {
		def      v1.SeccompProfileType
		pod, ctr *v1.SeccompProfile
		kernel   bool
		want     bool
		err      error
	}{
		"node's default":       {v1.SeccompProfileTypeRuntimeDefault, nil, nil, true, true, nil},
		"node without default": {v1.SeccompProfileTypeUnconfined, nil, nil, true, false, nil},
		"kernel cannot":        {v1.SeccompProfileTypeRuntimeDefault, nil, nil, false, false, nil},
		"kernel cannot, asked": {v1.SeccompProfileTypeUnconfined, profile("RuntimeDefault"), nil, false, false, oci.ErrCreate},
		"pod":                  {v1.SeccompProfileTypeUnconfined, profile("RuntimeDefault"), nil, true, true, nil},
		"container over pod":   {v1.SeccompProfileTypeRuntimeDefault, profile("RuntimeDefault"), profile("Unconfined"), true, false, nil},
		"localhost of no name": {v1.SeccompProfileTypeRuntimeDefault, nil, profile("Localhost"), true, false, oci.ErrConfig},
		"nonsense":             {v1.SeccompProfileTypeRuntimeDefault, nil, profile("Nonsense"), true, false, oci.ErrConfig},
	} {
		spec, err := change(t, func(in *oci.Input, ctr *v1.Container) {
			in.Node.SeccompDefault, in.Node.Seccomp = c.def, c.kernel
			in.Pod.Spec.SecurityContext = &v1.PodSecurityContext{SeccompProfile: c.pod}
			ctr.SecurityContext = &v1.SecurityContext{SeccompProfile: c.ctr}
		})
		if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
			t.Errorf("%s: error %v, want %v", name, err, c.err)
			continue
		}
		if err == nil && (spec.Linux.Seccomp != nil) != c.want {
			t.Errorf("%s: filter %v, want one: %t", name, spec.Linux.Seccomp, c.want)
		}
	}
}

func TestSeccompRules(t *testing.T) {
	with := func(arch string, caps ...v1.Capability) *specs.LinuxSeccomp {
		spec, err := change(t, func(in *oci.Input, ctr *v1.Container) {
			in.Node.Arch = arch
			ctr.SecurityContext = &v1.SecurityContext{Capabilities: &v1.Capabilities{Add: caps}}
		})
		if err != nil {
			t.Fatal(err)
		}
		return spec.Linux.Seccomp
	}
	plain, admin, arm := with("amd64"), with("amd64", "SYS_ADMIN"), with("arm64")
	if plain.DefaultAction != specs.ActErrno || plain.DefaultErrnoRet != nil {
		t.Errorf("default %v %v", plain.DefaultAction, plain.DefaultErrnoRet)
	}
	for call, want := range map[string][3]bool{ // plain, with SYS_ADMIN, arm64
		"read": {true, true, true}, "ptrace": {true, true, true}, "mount": {false, true, false},
		"reboot": {false, false, false}, "arch_prctl": {true, true, false}, "chroot": {true, true, true},
		"clone3": {false, true, false}, "unshare": {false, true, false}, "open_by_handle_at": {false, false, false},
	} {
		if got := [3]bool{allows(plain, call), allows(admin, call), allows(arm, call)}; got != want {
			t.Errorf("%s: %v, want %v", call, got, want)
		}
	}
	if !slices.ContainsFunc(plain.Syscalls, func(r specs.LinuxSyscall) bool {
		return slices.Contains(r.Names, "clone3") && r.Action == specs.ActErrno && r.ErrnoRet != nil && *r.ErrnoRet == 38
	}) {
		t.Error("clone3 does not fail with ENOSYS, so libc would not fall back to clone")
	}
	if want := []specs.Arch{specs.ArchAARCH64, specs.ArchARM}; !slices.Equal(arm.Architectures, want) {
		t.Errorf("arm64: %v, want %v", arm.Architectures, want)
	}
}
