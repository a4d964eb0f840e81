package oci

import (
	"encoding/json"
	"path/filepath"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	v1 "k8s.io/api/core/v1"
)

// seccompOf returns the profile that a container asks for, itself or through its
// pod; nil is none.
func seccompOf(pod *v1.Pod, c *v1.Container) *v1.SeccompProfile {
	if c.SecurityContext != nil && c.SecurityContext.SeccompProfile != nil {
		return c.SecurityContext.SeccompProfile
	}
	if pod.Spec.SecurityContext != nil {
		return pod.Spec.SecurityContext.SeccompProfile
	}
	return nil
}

// LocalhostProfile returns the seccomp profile of type Localhost that a container
// is to have, relative to the node's SeccompLocalhost.Root; "" is none. A
// privileged container has no filter, whatever it asks for.
func LocalhostProfile(pod *v1.Pod, c *v1.Container) string {
	p := seccompOf(pod, c)
	if Privileged(c) || p == nil || p.Type != v1.SeccompProfileTypeLocalhost || p.LocalhostProfile == nil {
		return ""
	}
	return *p.LocalhostProfile
}

// Privileged tells whether a container is.
func Privileged(c *v1.Container) bool {
	return c.SecurityContext != nil && isTrue(c.SecurityContext.Privileged)
}

// What seccomp(2) knows and runc can be told, but for the notification of another
// process: an agent of the container's own choice on the node's side.
var (
	seccompActions = []specs.LinuxSeccompAction{
		specs.ActKill, specs.ActKillProcess, specs.ActKillThread, specs.ActTrap, specs.ActErrno, specs.ActTrace, specs.ActAllow, specs.ActLog,
	}
	seccompOperators = []specs.LinuxSeccompOperator{
		specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual, specs.OpEqualTo, specs.OpGreaterEqual, specs.OpGreaterThan, specs.OpMaskedEqual,
	}
)

// localhost parses a profile, which is the seccomp part of a runtime spec. What
// it has beyond that is passed over, as by containerd: profiles are shared by
// tools that know more (comments, the names of libseccomp).
func localhost(l SeccompLocalhost, name string) (*specs.LinuxSeccomp, error) {
	path := filepath.Join(l.Root, name)
	broken := func(format string, args ...any) error {
		return create("", "write it as the seccomp part of an OCI runtime spec", "decoding seccomp profile failed %q: "+format, append([]any{path}, args...)...)
	}
	if l.Profile == nil {
		return nil, create("", "", "cannot load seccomp profile %q: it was not read", path)
	}
	p := &specs.LinuxSeccomp{}
	if err := json.Unmarshal(l.Profile, p); err != nil {
		return nil, broken("%v", err)
	}
	if p.ListenerPath != "" || p.ListenerMetadata != "" {
		return nil, broken("listenerPath and listenerMetadata are not allowed")
	}
	if err := knownAction(p.DefaultAction); err != "" {
		return nil, broken("defaultAction: %s", err)
	}
	for i, s := range p.Syscalls {
		if err := knownAction(s.Action); err != "" {
			return nil, broken("syscalls[%d].action: %s", i, err)
		}
		if len(s.Names) == 0 {
			return nil, broken("syscalls[%d].names is empty", i)
		}
		for j, a := range s.Args {
			if !slices.Contains(seccompOperators, a.Op) || a.Index > 5 {
				return nil, broken("syscalls[%d].args[%d]: index %d, op %q is no comparison of one of 6 arguments", i, j, a.Index, a.Op)
			}
		}
	}
	return p, nil
}

// knownAction tells what is wrong with an action.
func knownAction(a specs.LinuxSeccompAction) string {
	switch {
	case slices.Contains(seccompActions, a):
		return ""
	case a == specs.ActNotify:
		return "SCMP_ACT_NOTIFY is not allowed: no process listens"
	case a == "":
		return "it is missing"
	}
	return "unknown action " + string(a)
}
