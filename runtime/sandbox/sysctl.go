package sandbox

import (
	"fmt"
	"regexp"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// SysctlForbidden is the reason of a pod that asks for sysctls it may not set.
const SysctlForbidden = "SysctlForbidden"

// SafeSysctls are those that every pod may set: they are of its namespaces, and
// concern no other pod (kubelet's list, of a kernel from 4.15 on).
var SafeSysctls = []string{
	"kernel.shm_rmid_forced",
	"net.ipv4.ip_local_port_range",
	"net.ipv4.ip_local_reserved_ports",
	"net.ipv4.ip_unprivileged_port_start",
	"net.ipv4.ping_group_range",
	"net.ipv4.tcp_fin_timeout",
	"net.ipv4.tcp_keepalive_intvl",
	"net.ipv4.tcp_keepalive_probes",
	"net.ipv4.tcp_keepalive_time",
	"net.ipv4.tcp_rmem",
	"net.ipv4.tcp_syncookies",
	"net.ipv4.tcp_wmem",
}

// As Kubernetes has it, for patterns of sysctls.
const (
	sysctlMaxLength = 253
	sysctlPattern   = `([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*([a-z0-9][-_a-z0-9]*)?[a-z0-9*]`
)

var sysctlPatterns = regexp.MustCompile("^" + sysctlPattern + "$")

// sysctlKinds are the namespaces that sysctls belong to, in Kubernetes' words.
const (
	kindNet = "Net"
	kindIPC = "IPC"
)

// ipcSysctls are the names and prefixes that can stand in an allowlist, beside
// all that begins with net. or fs.mqueue.
var ipcSysctls = map[string]bool{
	"kernel.sem": true, "kernel.shm": true, "kernel.msg": true,
	"kernel.shmall": true, "kernel.shmmax": true, "kernel.shmmni": true, "kernel.shm_rmid_forced": true,
	"kernel.msgmax": true, "kernel.msgmnb": true, "kernel.msgmni": true,
}

// sysctlKind returns the namespace of a normalised sysctl or prefix; "" is none,
// or not known.
func sysctlKind(name string) string {
	switch {
	case ipcSysctls[name], strings.HasPrefix(name, "fs.mqueue."):
		return kindIPC
	case strings.HasPrefix(name, "net."):
		return kindNet
	}
	return ""
}

// dotted returns a sysctl's name with dots between its parts. As in sysctl(8)
// the first separator decides what separates: in net/ipv4/conf/eth0.7 the dot is
// part of a name, which net.ipv4.conf.eth0/7 writes as a slash.
func dotted(name string) string {
	if i := strings.IndexAny(name, "./"); i < 0 || name[i] == '.' {
		return name
	}
	return strings.Map(func(r rune) rune {
		switch r {
		case '.':
			return '/'
		case '/':
			return '.'
		}
		return r
	}, name)
}

// Sysctls says which sysctls pods may set.
type Sysctls struct {
	names    map[string]bool
	prefixes []string
}

// AllowSysctls returns an allowlist of the safe sysctls and of further ones:
// names, or patterns that end in a * (kernel.msg*, net.core.*). What does not
// belong to a namespace is refused, with kubelet's messages.
func AllowSysctls(unsafe []string) (*Sysctls, error) {
	s := &Sysctls{names: map[string]bool{}}
	for _, name := range SafeSysctls {
		s.names[name] = true
	}
	for _, p := range unsafe {
		if len(p) > sysctlMaxLength || !sysctlPatterns.MatchString(p) {
			return nil, fmt.Errorf("sysctl %q must have at most %d characters and match regex %s", p, sysctlMaxLength, sysctlPattern)
		}
		name, prefix := strings.CutSuffix(dotted(p), "*")
		if sysctlKind(name) == "" {
			return nil, fmt.Errorf("the sysctls %q are not known to be namespaced", name)
		}
		if prefix {
			s.prefixes = append(s.prefixes, name)
		} else {
			s.names[name] = true
		}
	}
	return s, nil
}

// Admit tells why a pod may not set the sysctls that it asks for, with kubelet's
// reason (SysctlForbidden) and message; "" if it may. Those of a namespace that
// the pod shares with the host are never allowed.
func (s *Sysctls) Admit(pod *v1.Pod) (reason, message string) {
	if pod.Spec.SecurityContext == nil {
		return "", ""
	}
	for _, sysctl := range pod.Spec.SecurityContext.Sysctls {
		name := dotted(sysctl.Name)
		kind, ok := s.allowed(name)
		switch {
		case !ok:
			return SysctlForbidden, fmt.Sprintf("forbidden sysctl: %q not allowlisted", name)
		case kind == kindNet && pod.Spec.HostNetwork, kind == kindIPC && pod.Spec.HostIPC:
			return SysctlForbidden, fmt.Sprintf("forbidden sysctl: %q not allowed with host %s enabled", name, kind)
		}
	}
	return "", ""
}

// allowed tells whether a sysctl is on the list, and the namespace of what it is
// on the list by.
func (s *Sysctls) allowed(name string) (kind string, ok bool) {
	if s.names[name] {
		return sysctlKind(name), true
	}
	for _, p := range s.prefixes {
		if strings.HasPrefix(name, p) {
			return sysctlKind(p), true
		}
	}
	return "", false
}
