package oci

import (
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// defaultCapabilities are containerd's, in its order.
var defaultCapabilities = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD",
	"CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP",
	"CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
}

// Capabilities are all that Linux has, by number (linux/capability.h, 5.9).
var Capabilities = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID",
	"CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE",
	"CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK",
	"CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE",
	"CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
	"CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE",
	"CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG",
	"CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF",
	"CAP_CHECKPOINT_RESTORE",
}

// kubelet's default proc mount: what a container may not see, and not write.
var (
	defaultMasked = []string{
		"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys",
		"/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
		"/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
	}
	defaultReadonly = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// security is the container's security context over the pod's.
type security struct {
	runAsUser, runAsGroup *int64
	runAsNonRoot          bool
	privileged            bool
	readOnlyRoot          bool
	noNewPrivileges       bool
	unmasked              bool // procMount
	add, drop             []v1.Capability
	seccomp               *v1.SeccompProfile
	apparmor              *v1.AppArmorProfile
	selinux               *v1.SELinuxOptions
}

func (b *builder) effective() (security, error) {
	var s security
	if p := b.pod.Spec.SecurityContext; p != nil {
		s.runAsUser, s.runAsGroup = p.RunAsUser, p.RunAsGroup
		s.runAsNonRoot = isTrue(p.RunAsNonRoot)
		s.selinux = p.SELinuxOptions
	}
	s.seccomp, s.apparmor = seccompOf(b.pod, b.c), appArmorOf(b.pod, b.c)
	c := b.c.SecurityContext
	if c == nil {
		return s, nil
	}
	if c.RunAsUser != nil {
		s.runAsUser = c.RunAsUser
	}
	if c.RunAsGroup != nil {
		s.runAsGroup = c.RunAsGroup
	}
	if c.RunAsNonRoot != nil {
		s.runAsNonRoot = *c.RunAsNonRoot
	}
	if c.SELinuxOptions != nil {
		s.selinux = c.SELinuxOptions
	}
	if c.Capabilities != nil {
		s.add, s.drop = c.Capabilities.Add, c.Capabilities.Drop
	}
	s.privileged = isTrue(c.Privileged)
	s.readOnlyRoot = isTrue(c.ReadOnlyRootFilesystem)
	s.noNewPrivileges = c.AllowPrivilegeEscalation != nil && !*c.AllowPrivilegeEscalation
	s.unmasked = c.ProcMount != nil && *c.ProcMount == v1.UnmaskedProcMount
	if s.privileged && s.noNewPrivileges {
		return s, config(b.field("securityContext.allowPrivilegeEscalation"),
			"leave out one of them", "cannot be false while privileged is true")
	}
	return s, nil
}

func isTrue(p *bool) bool { return p != nil && *p }

// capabilities returns what the process may use, in a fixed order.
func (b *builder) capabilities() ([]string, error) {
	if b.sec.privileged {
		return slices.Clone(b.in.Node.Capabilities), nil
	}
	set := slices.Clone(defaultCapabilities)
	if slices.ContainsFunc(b.sec.add, isAll) {
		set = slices.Clone(b.in.Node.Capabilities)
	}
	if slices.ContainsFunc(b.sec.drop, isAll) {
		set = nil
	}
	for i, c := range b.sec.add {
		if isAll(c) {
			continue
		}
		name, err := b.capability("add", i, c)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(b.in.Node.Capabilities, name) {
			return nil, create(b.field("securityContext.capabilities.add[%d]", i), "run the pod on another node, or leave it out",
				"capability %s is not to be had on this node", name)
		}
		if !slices.Contains(set, name) {
			set = append(set, name)
		}
	}
	for i, c := range b.sec.drop {
		if isAll(c) {
			continue
		}
		name, err := b.capability("drop", i, c)
		if err != nil {
			return nil, err
		}
		set = slices.DeleteFunc(set, func(s string) bool { return s == name })
	}
	return set, nil
}

func isAll(c v1.Capability) bool { return strings.EqualFold(string(c), "ALL") }

func (b *builder) capability(list string, i int, c v1.Capability) (string, error) {
	name := "CAP_" + strings.TrimPrefix(strings.ToUpper(string(c)), "CAP_")
	if !slices.Contains(Capabilities, name) {
		return "", config(b.field("securityContext.capabilities.%s[%d]", list, i),
			"see capabilities(7), names are without CAP_", "unknown capability %q", string(c))
	}
	return name, nil
}

func (b *builder) maskedPaths() []string {
	if b.sec.privileged || b.sec.unmasked {
		return nil
	}
	return append(slices.Clone(defaultMasked), b.in.Node.MaskedPaths...)
}

func (b *builder) readonlyPaths() []string {
	var paths []string
	if b.sharesSysfs() {
		paths = append(paths, "/sys")
	}
	if b.sec.privileged || b.sec.unmasked {
		return paths
	}
	return append(paths, defaultReadonly...)
}
