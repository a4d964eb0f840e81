package oci

import (
	"slices"

	profile "github.com/moby/profiles/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	v1 "k8s.io/api/core/v1"
)

// architectures are those that davit is built for: how the profile calls them
// in its rules, and in its list of what else the kernel runs.
var architectures = map[string]struct {
	rule string
	arch specs.Arch
}{
	"amd64":   {"amd64", specs.ArchX86_64},
	"arm64":   {"arm64", specs.ArchAARCH64},
	"arm":     {"arm", specs.ArchARM},
	"386":     {"x86", specs.ArchX86},
	"ppc64le": {"ppc64le", specs.ArchPPC64LE},
	"riscv64": {"riscv64", specs.ArchRISCV64},
	"s390x":   {"s390x", specs.ArchS390X},
	"loong64": {"loong64", specs.ArchLOONGARCH64},
}

// seccomp returns the container's filter; nil is none.
func (b *builder) seccomp(caps []string) (*specs.LinuxSeccomp, error) {
	if b.sec.privileged {
		return nil, nil
	}
	p := b.sec.seccomp
	if p == nil {
		if b.in.Node.SeccompDefault != v1.SeccompProfileTypeRuntimeDefault || !b.in.Node.Seccomp {
			return nil, nil
		}
		return runtimeDefault(b.in.Node, caps), nil
	}
	field := b.field("securityContext.seccompProfile")
	switch p.Type {
	case v1.SeccompProfileTypeUnconfined:
		return nil, nil
	case v1.SeccompProfileTypeRuntimeDefault:
		if !b.in.Node.Seccomp {
			return nil, create(field, "set type: Unconfined", "seccomp is not supported by this node's kernel")
		}
		return runtimeDefault(b.in.Node, caps), nil
	case v1.SeccompProfileTypeLocalhost:
		if p.LocalhostProfile == nil || *p.LocalhostProfile == "" {
			return nil, config("", "", "localhostProfile must be set if seccompProfile type is Localhost.")
		}
		if !b.in.Node.Seccomp {
			return nil, create(field, "set type: Unconfined", "seccomp is not supported by this node's kernel")
		}
		return localhost(b.in.Node.SeccompLocalhost, *p.LocalhostProfile)
	}
	return nil, config(field+".type", "use RuntimeDefault, Localhost or Unconfined", "unknown type %q", string(p.Type))
}

// runtimeDefault renders the default profile for a node and a process
// with the given capabilities. A rule's demand for a kernel version is taken as
// met: the only one is for 4.8.
func runtimeDefault(node Node, caps []string) *specs.LinuxSeccomp {
	p := profile.DefaultProfile()
	out := &specs.LinuxSeccomp{DefaultAction: p.DefaultAction, ListenerPath: p.ListenerPath, Flags: p.Flags}
	a := architectures[node.Arch]
	for _, m := range p.ArchMap {
		if m.Arch == a.arch {
			out.Architectures = append(append(out.Architectures, m.Arch), m.SubArches...)
			out.Architectures = slices.DeleteFunc(out.Architectures, func(x specs.Arch) bool { return slices.Contains(node.AbsentABIs, x) })
			break
		}
	}
	in := func(list []string, of []string) bool {
		return slices.ContainsFunc(list, func(s string) bool { return slices.Contains(of, s) })
	}
	for _, s := range p.Syscalls {
		if ex := s.Excludes; ex != nil {
			if slices.Contains(ex.Arches, a.rule) || in(ex.Caps, caps) || ex.MinKernel != nil {
				continue
			}
		}
		if inc := s.Includes; inc != nil {
			if len(inc.Arches) > 0 && !slices.Contains(inc.Arches, a.rule) {
				continue
			}
			// Every capability is needed, unlike an architecture.
			if slices.ContainsFunc(inc.Caps, func(c string) bool { return !slices.Contains(caps, c) }) {
				continue
			}
		}
		out.Syscalls = append(out.Syscalls, s.LinuxSyscall)
	}
	out.Syscalls = append(out.Syscalls, specs.LinuxSyscall{Names: slices.Clone(lsmCalls), Action: specs.ActAllow})
	return out
}

// lsmCalls are allowed by containerd's profile and not by moby's: they tell a
// process of its own attributes (Linux 6.8).
var lsmCalls = []string{"lsm_get_self_attr", "lsm_list_modules", "lsm_set_self_attr"}
