package podspec

import (
	"reflect"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// countSet counts the fields of a struct of pointers that are set, such as the
// sources of a volume.
func countSet(s any) int {
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
	if strings.ContainsRune(c.TerminationMessagePath, 0) { // a relative one is taken from /
		errs = append(errs, field.Invalid(at.Child("terminationMessagePath"), c.TerminationMessagePath, "must not contain a zero byte"))
	}
	errs = append(errs, validateEnv(c.Env, at.Child("env"))...)
	errs = append(errs, validateEnvFrom(c.EnvFrom, at.Child("envFrom"))...)
	errs = append(errs, validatePorts(c.Ports, at.Child("ports"))...)
	errs = append(errs, validateMounts(c, volumes, at.Child("volumeMounts"))...)
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

func validateMounts(c *v1.Container, volumes map[string]bool, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	paths := map[string]bool{}
	for i, m := range c.VolumeMounts {
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
		errs = append(errs, validateSubPaths(m, at)...)
		errs = append(errs, validatePropagation(m, c.SecurityContext, at)...)
	}
	return errs
}

func validateSubPaths(m v1.VolumeMount, at *field.Path) field.ErrorList {
	errs := validateSubPath(m.SubPath, at.Child("subPath"))
	if m.SubPath != "" && m.SubPathExpr != "" {
		errs = append(errs, field.Invalid(at.Child("subPathExpr"), m.SubPathExpr, "subPathExpr and subPath are mutually exclusive"))
	}
	return append(errs, validateSubPath(m.SubPathExpr, at.Child("subPathExpr"))...)
}

func validatePropagation(m v1.VolumeMount, sc *v1.SecurityContext, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	shared := false
	if p := m.MountPropagation; p != nil {
		at := at.Child("mountPropagation")
		shared = *p != v1.MountPropagationNone
		errs = append(errs, oneOf(at, *p, v1.MountPropagationBidirectional, v1.MountPropagationHostToContainer, v1.MountPropagationNone)...)
		if *p == v1.MountPropagationBidirectional && (sc == nil || sc.Privileged == nil || !*sc.Privileged) {
			errs = append(errs, field.Forbidden(at, "Bidirectional mount propagation is available only to privileged containers"))
		}
	}
	r := m.RecursiveReadOnly
	if r == nil || *r == v1.RecursiveReadOnlyDisabled {
		return errs
	}
	at = at.Child("recursiveReadOnly")
	if unknown := oneOf(at, *r, v1.RecursiveReadOnlyDisabled, v1.RecursiveReadOnlyEnabled, v1.RecursiveReadOnlyIfPossible); unknown != nil {
		return append(errs, unknown...)
	}
	if !m.ReadOnly {
		errs = append(errs, field.Forbidden(at, "may only be specified when readOnly is true"))
	}
	if shared {
		errs = append(errs, field.Forbidden(at, "may only be specified when mountPropagation is None or not specified"))
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
		at := at.Child("requests").Key(string(name))
		switch {
		case hugepages(name) && !ok:
			errs = append(errs, field.Required(at, "Limit must be set for non overcommitable resources"))
		case hugepages(name) && request.Cmp(limit) != 0:
			errs = append(errs, field.Invalid(at, request.String(), "must be equal to "+string(name)+" limit of "+limit.String()))
		case ok && request.Cmp(limit) > 0:
			errs = append(errs, field.Invalid(at, request.String(), "must be less than or equal to the limit of "+limit.String()))
		}
	}
	return append(errs, validateHugepages(r, at)...)
}

func hugepages(name v1.ResourceName) bool {
	return strings.HasPrefix(string(name), v1.ResourceHugePagesPrefix)
}

// validateHugepages checks that pages are asked for by whole ones, and not alone.
func validateHugepages(r v1.ResourceRequirements, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	others := false
	for _, list := range []v1.ResourceList{r.Limits, r.Requests} {
		_, cpu := list[v1.ResourceCPU]
		_, memory := list[v1.ResourceMemory]
		others = others || cpu || memory
	}
	any := false
	for _, name := range sortedNames(r.Limits) {
		if !hugepages(name) {
			continue
		}
		any = true
		q := r.Limits[name]
		size, err := resource.ParseQuantity(strings.TrimPrefix(string(name), v1.ResourceHugePagesPrefix))
		if err != nil || size.Sign() <= 0 || q.Value()%size.Value() != 0 {
			errs = append(errs, field.Invalid(at.Child("limits").Key(string(name)), q.String(),
				q.String()+" is not positive integer multiple of "+string(name)))
		}
	}
	if any && !others {
		errs = append(errs, field.Forbidden(at, "HugePages require cpu or memory"))
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
