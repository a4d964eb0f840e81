package podspec

import (
	"path"
	"reflect"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// sources counts the sources that a volume names.
func sources(s v1.VolumeSource) int {
	n := 0
	v := reflect.ValueOf(s)
	for i := range v.NumField() {
		if !v.Field(i).IsNil() {
			n++
		}
	}
	return n
}

// validateContainers checks init containers and containers; names are unique
// over both lists, host ports over all that run at the same time.
func validateContainers(spec *v1.PodSpec, volumes map[string]bool, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(spec.Containers) == 0 {
		errs = append(errs, field.Required(at.Child("containers"), "a pod has at least one container"))
	}
	names := map[string]bool{}
	hostPorts := map[hostPort]bool{}
	check := func(list []v1.Container, at *field.Path, init bool) {
		for i := range list {
			c, at := &list[i], at.Index(i)
			switch {
			case c.Name == "":
				errs = append(errs, field.Required(at.Child("name"), "name the container"))
			case names[c.Name]:
				errs = append(errs, field.Duplicate(at.Child("name"), c.Name))
			default:
				errs = append(errs, invalid(at.Child("name"), c.Name, validation.IsDNS1123Label(c.Name))...)
			}
			names[c.Name] = true
			if init && c.RestartPolicy != nil {
				errs = append(errs, oneOf(at.Child("restartPolicy"), *c.RestartPolicy, v1.ContainerRestartPolicyAlways)...)
			}
			errs = append(errs, validateContainer(c, volumes, at)...)
			if spec.HostNetwork {
				errs = append(errs, validateHostNetworkPorts(c.Ports, at.Child("ports"))...)
			}
			if !init {
				errs = append(errs, validateHostPorts(c.Ports, hostPorts, at.Child("ports"))...)
			}
		}
	}
	check(spec.InitContainers, at.Child("initContainers"), true)
	check(spec.Containers, at.Child("containers"), false)
	return errs
}

func validateContainer(c *v1.Container, volumes map[string]bool, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if c.Image == "" {
		errs = append(errs, field.Required(at.Child("image"), "name the image"))
	} else if strings.TrimSpace(c.Image) != c.Image {
		errs = append(errs, field.Invalid(at.Child("image"), c.Image, "must not have leading or trailing whitespace"))
	}
	errs = append(errs, oneOf(at.Child("imagePullPolicy"), c.ImagePullPolicy, v1.PullAlways, v1.PullIfNotPresent, v1.PullNever)...)
	errs = append(errs, oneOf(at.Child("terminationMessagePolicy"), c.TerminationMessagePolicy,
		v1.TerminationMessageReadFile, v1.TerminationMessageFallbackToLogsOnError)...)
	if !path.IsAbs(c.TerminationMessagePath) {
		errs = append(errs, field.Invalid(at.Child("terminationMessagePath"), c.TerminationMessagePath, "must be an absolute path"))
	}
	for i, e := range c.Env {
		if e.Name == "" {
			errs = append(errs, field.Required(at.Child("env").Index(i).Child("name"), "name the variable"))
			continue
		}
		errs = append(errs, invalid(at.Child("env").Index(i).Child("name"), e.Name, validation.IsRelaxedEnvVarName(e.Name))...)
		if strings.ContainsRune(e.Value, 0) {
			errs = append(errs, field.Invalid(at.Child("env").Index(i).Child("value"), e.Value, "must not contain a zero byte"))
		}
	}
	errs = append(errs, validatePorts(c.Ports, at.Child("ports"))...)
	errs = append(errs, validateMounts(c.VolumeMounts, volumes, at.Child("volumeMounts"))...)
	errs = append(errs, validateResources(c.Resources, at.Child("resources"))...)
	if c.SecurityContext != nil {
		errs = append(errs, validateSecurity(c.SecurityContext, at.Child("securityContext"))...)
	}
	return errs
}

func validatePorts(ports []v1.ContainerPort, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	names := map[string]bool{}
	for i, p := range ports {
		at := at.Index(i)
		if p.ContainerPort == 0 {
			errs = append(errs, field.Required(at.Child("containerPort"), "a number from 1 to 65535"))
		} else {
			errs = append(errs, invalid(at.Child("containerPort"), p.ContainerPort, validation.IsValidPortNum(int(p.ContainerPort)))...)
		}
		if p.HostPort != 0 {
			errs = append(errs, invalid(at.Child("hostPort"), p.HostPort, validation.IsValidPortNum(int(p.HostPort)))...)
		}
		errs = append(errs, oneOf(at.Child("protocol"), p.Protocol, v1.ProtocolTCP, v1.ProtocolUDP, v1.ProtocolSCTP)...)
		if p.Name == "" {
			continue
		}
		errs = append(errs, invalid(at.Child("name"), p.Name, validation.IsValidPortName(p.Name))...)
		if names[p.Name] {
			errs = append(errs, field.Duplicate(at.Child("name"), p.Name))
		}
		names[p.Name] = true
	}
	return errs
}

func validateHostNetworkPorts(ports []v1.ContainerPort, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, p := range ports {
		if p.HostPort != p.ContainerPort {
			errs = append(errs, field.Invalid(at.Index(i).Child("hostPort"), p.HostPort, "must equal containerPort when hostNetwork is true"))
		}
	}
	return errs
}

type hostPort struct {
	port     int32
	protocol v1.Protocol
	ip       string
}

func validateHostPorts(ports []v1.ContainerPort, taken map[hostPort]bool, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, p := range ports {
		if p.HostPort == 0 {
			continue
		}
		key := hostPort{p.HostPort, p.Protocol, p.HostIP}
		if taken[key] {
			errs = append(errs, field.Duplicate(at.Index(i).Child("hostPort"), p.HostPort))
		}
		taken[key] = true
	}
	return errs
}

func validateMounts(mounts []v1.VolumeMount, volumes map[string]bool, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	paths := map[string]bool{}
	for i, m := range mounts {
		at := at.Index(i)
		if m.Name == "" {
			errs = append(errs, field.Required(at.Child("name"), "name the volume to mount"))
		} else if !volumes[m.Name] {
			errs = append(errs, field.NotFound(at.Child("name"), m.Name))
		}
		switch {
		case m.MountPath == "":
			errs = append(errs, field.Required(at.Child("mountPath"), "name the path in the container"))
		case strings.Contains(m.MountPath, ":"):
			errs = append(errs, field.Invalid(at.Child("mountPath"), m.MountPath, "must not contain ':'"))
		case paths[m.MountPath]:
			errs = append(errs, field.Invalid(at.Child("mountPath"), m.MountPath, "must be unique"))
		}
		paths[m.MountPath] = true
	}
	return errs
}

func validateResources(r v1.ResourceRequirements, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	lists := []struct {
		key  string
		list v1.ResourceList
	}{{"limits", r.Limits}, {"requests", r.Requests}}
	for _, l := range lists {
		for _, name := range sortedNames(l.list) {
			if q := l.list[name]; q.Sign() < 0 {
				errs = append(errs, field.Invalid(at.Child(l.key).Key(string(name)), q.String(), "must be 0 or more"))
			}
		}
	}
	for _, name := range sortedNames(r.Requests) {
		request := r.Requests[name]
		limit, ok := r.Limits[name]
		if ok && request.Cmp(limit) > 0 {
			errs = append(errs, field.Invalid(at.Child("requests").Key(string(name)), request.String(),
				"must be less than or equal to the limit of "+limit.String()))
		}
	}
	return errs
}

func sortedNames(list v1.ResourceList) []v1.ResourceName {
	var out []v1.ResourceName
	for name := range list {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

func validateSecurity(sc *v1.SecurityContext, at *field.Path) field.ErrorList {
	errs := validateIDs(at, sc.RunAsUser, sc.RunAsGroup)
	errs = append(errs, validateSeccomp(sc.SeccompProfile, at.Child("seccompProfile"))...)
	if sc.AllowPrivilegeEscalation == nil || *sc.AllowPrivilegeEscalation {
		return errs
	}
	if sc.Privileged != nil && *sc.Privileged {
		errs = append(errs, field.Invalid(at.Child("allowPrivilegeEscalation"), false, "cannot be false when privileged is true"))
	}
	if sc.Capabilities != nil {
		for _, c := range sc.Capabilities.Add {
			if c == "SYS_ADMIN" || c == "CAP_SYS_ADMIN" {
				errs = append(errs, field.Invalid(at.Child("allowPrivilegeEscalation"), false, "cannot be false when the capability SYS_ADMIN is added"))
			}
		}
	}
	return errs
}
