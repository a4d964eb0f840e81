package oci

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// AppArmorDefault is the profile that RuntimeDefault means: containerd's CRI
// plugin loads it into the kernel with its first pod. Whoever wants it without
// that plugin loads a profile of this name.
const AppArmorDefault = "cri-containerd.apparmor.d"

// AppArmorNotAdmitted is the reason of a pod that AppArmor keeps from running.
const AppArmorNotAdmitted = "AppArmor"

// appArmorOf returns the profile that a container asks for: its own, that of the
// old annotation (which the API server turns into a field, but nobody does in a
// pod from a file), or its pod's. nil is none.
func appArmorOf(pod *v1.Pod, c *v1.Container) *v1.AppArmorProfile {
	if c.SecurityContext != nil && c.SecurityContext.AppArmorProfile != nil {
		return c.SecurityContext.AppArmorProfile
	}
	value := pod.Annotations[v1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix+c.Name]
	name, localhost := strings.CutPrefix(value, v1.DeprecatedAppArmorBetaProfileNamePrefix)
	switch {
	case value == v1.DeprecatedAppArmorBetaProfileRuntimeDefault:
		return &v1.AppArmorProfile{Type: v1.AppArmorProfileTypeRuntimeDefault}
	case value == v1.DeprecatedAppArmorBetaProfileNameUnconfined:
		return &v1.AppArmorProfile{Type: v1.AppArmorProfileTypeUnconfined}
	case localhost:
		return &v1.AppArmorProfile{Type: v1.AppArmorProfileTypeLocalhost, LocalhostProfile: &name}
	}
	if pod.Spec.SecurityContext != nil {
		return pod.Spec.SecurityContext.AppArmorProfile
	}
	return nil
}

// AdmitAppArmor tells why a pod cannot run for what it asks of AppArmor, with
// kubelet's reason and message; "" if it can. To be asked before the pod's first
// container is made, and not again.
func AdmitAppArmor(pod *v1.Pod, kernel AppArmor) (reason, message string) {
	for _, c := range allContainers(pod) {
		p := appArmorOf(pod, c)
		if p == nil || p.Type == v1.AppArmorProfileTypeUnconfined {
			continue
		}
		var err error
		switch {
		case !kernel.Enabled:
			err = errors.New("AppArmor is not enabled on the host")
		case p.Type == v1.AppArmorProfileTypeLocalhost && (p.LocalhostProfile == nil || strings.TrimSpace(*p.LocalhostProfile) == ""):
			err = fmt.Errorf("invalid empty AppArmor profile name: %q", p)
		}
		if err != nil {
			return AppArmorNotAdmitted, fmt.Sprintf("Cannot enforce AppArmor: %v", err)
		}
	}
	return "", ""
}

// allContainers are the pod's, of every kind.
func allContainers(pod *v1.Pod) []*v1.Container {
	var all []*v1.Container
	for i := range pod.Spec.InitContainers {
		all = append(all, &pod.Spec.InitContainers[i])
	}
	for i := range pod.Spec.Containers {
		all = append(all, &pod.Spec.Containers[i])
	}
	for i := range pod.Spec.EphemeralContainers {
		c := v1.Container(pod.Spec.EphemeralContainers[i].EphemeralContainerCommon)
		all = append(all, &c)
	}
	return all
}

// apparmor returns the profile's name; "" is none. As in containerd, being
// privileged undoes the default profile, not one that was chosen by name.
func (b *builder) apparmor() (string, error) {
	n, p := b.in.Node.AppArmor, b.sec.apparmor
	hasDefault := slices.Contains(n.Loaded, AppArmorDefault)
	switch {
	case p == nil && (!n.Enabled || b.sec.privileged || !hasDefault):
		return "", nil
	case p == nil:
		return AppArmorDefault, nil
	case p.Type == v1.AppArmorProfileTypeUnconfined:
		return "", nil
	}
	field := b.field("securityContext.appArmorProfile")
	if !n.Enabled {
		return "", create(field, "leave it out", "apparmor is not supported: it is not enabled on this node")
	}
	switch p.Type {
	case v1.AppArmorProfileTypeRuntimeDefault:
		if b.sec.privileged {
			return "", nil
		}
		if !hasDefault {
			return "", create(field, "load a profile of this name with apparmor_parser, or name another one with type Localhost",
				"apparmor profile not found %s", AppArmorDefault)
		}
		return AppArmorDefault, nil
	case v1.AppArmorProfileTypeLocalhost:
		name := ""
		if p.LocalhostProfile != nil {
			name = strings.TrimPrefix(*p.LocalhostProfile, v1.DeprecatedAppArmorBetaProfileNamePrefix)
		}
		if strings.TrimSpace(name) == "" {
			return "", config(field, "set localhostProfile", "missing localhost apparmor profile name")
		}
		if !slices.Contains(n.Loaded, name) {
			return "", create(field, "load it with apparmor_parser", "apparmor profile not found %s", name)
		}
		return name, nil
	}
	return "", config(field, "use RuntimeDefault, Unconfined, or Localhost with localhostProfile", "unknown profile %q", string(p.Type))
}
