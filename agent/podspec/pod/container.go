package pod

import (
	"reflect"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/davit-agent/davit/agent/podspec/check"
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

// containers checks those of a pod one by one.
type containers struct {
	spec      *v1.PodSpec
	volumes   map[string]bool // the names of the pod's
	names     map[string]bool // taken already
	hostPorts map[hostPort]bool
}

// validateContainers checks all containers; names are unique over all lists,
// host ports over those that run at the same time.
func validateContainers(spec *v1.PodSpec, volumes map[string]bool, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(spec.Containers) == 0 {
		errs = append(errs, field.Required(path.Child("containers"), "a pod has at least one container"))
	}
	v := containers{spec: spec, volumes: volumes, names: map[string]bool{}, hostPorts: map[hostPort]bool{}}
	for i := range spec.Containers {
		c, at := &spec.Containers[i], path.Child("containers").Index(i)
		errs = append(errs, v.container(c, at)...)
		errs = append(errs, validateHostPorts(c.Ports, v.hostPorts, at.Child("ports"))...)
		errs = append(errs, validateServing(c, spec, at)...)
		errs = append(errs, validateRestart(c, at)...)
	}
	for i := range spec.InitContainers {
		c, at := &spec.InitContainers[i], path.Child("initContainers").Index(i)
		errs = append(errs, v.container(c, at)...)
		errs = append(errs, validateHostPorts(c.Ports, map[hostPort]bool{}, at.Child("ports"))...)
		if sidecar(c) {
			errs = append(errs, validateServing(c, spec, at)...)
		} else {
			errs = append(errs, forbidServing(c, at)...)
		}
		errs = append(errs, validateRestart(c, at)...)
	}
	return append(errs, v.ephemeral(path.Child("ephemeralContainers"))...)
}

// container checks what containers of every kind may have.
func (v *containers) container(c *v1.Container, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch {
	case c.Name == "":
		errs = append(errs, field.Required(at.Child("name"), "name the container"))
	case v.names[c.Name]:
		errs = append(errs, field.Duplicate(at.Child("name"), c.Name))
	default:
		errs = append(errs, check.Invalid(at.Child("name"), c.Name, validation.IsDNS1123Label(c.Name))...)
	}
	v.names[c.Name] = true
	errs = append(errs, validateContainer(c, v.volumes, at)...)
	if v.spec.HostNetwork {
		errs = append(errs, validateHostNetworkPorts(c.Ports, at.Child("ports"))...)
	}
	if c.SecurityContext != nil {
		errs = append(errs, validateSecurity(c.SecurityContext, v.spec, at.Child("securityContext"))...)
	}
	return errs
}

func validateContainer(c *v1.Container, volumes map[string]bool, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if c.Image == "" {
		errs = append(errs, field.Required(at.Child("image"), "name the image"))
	} else if strings.TrimSpace(c.Image) != c.Image {
		errs = append(errs, field.Invalid(at.Child("image"), c.Image, "must not have leading or trailing whitespace"))
	}
	errs = append(errs, check.OneOf(at.Child("imagePullPolicy"), c.ImagePullPolicy, v1.PullAlways, v1.PullIfNotPresent, v1.PullNever)...)
	errs = append(errs, check.OneOf(at.Child("terminationMessagePolicy"), c.TerminationMessagePolicy,
		v1.TerminationMessageReadFile, v1.TerminationMessageFallbackToLogsOnError)...)
	if strings.ContainsRune(c.TerminationMessagePath, 0) { // a relative one is taken from /
		errs = append(errs, field.Invalid(at.Child("terminationMessagePath"), c.TerminationMessagePath, "must not contain a zero byte"))
	}
	errs = append(errs, validateEnv(c.Env, at.Child("env"))...)
	errs = append(errs, validateEnvFrom(c.EnvFrom, at.Child("envFrom"))...)
	errs = append(errs, validatePorts(c.Ports, at.Child("ports"))...)
	errs = append(errs, validateMounts(c, volumes, at.Child("volumeMounts"))...)
	errs = append(errs, validateResources(c.Resources, at.Child("resources"))...)
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
			errs = append(errs, check.Invalid(at.Child("containerPort"), p.ContainerPort, validation.IsValidPortNum(int(p.ContainerPort)))...)
		}
		if p.HostPort != 0 {
			errs = append(errs, check.Invalid(at.Child("hostPort"), p.HostPort, validation.IsValidPortNum(int(p.HostPort)))...)
		}
		errs = append(errs, check.OneOf(at.Child("protocol"), p.Protocol, v1.ProtocolTCP, v1.ProtocolUDP, v1.ProtocolSCTP)...)
		if p.Name == "" {
			continue
		}
		errs = append(errs, check.Invalid(at.Child("name"), p.Name, validation.IsValidPortName(p.Name))...)
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
		errs = append(errs, check.OneOf(at, *p, v1.MountPropagationBidirectional, v1.MountPropagationHostToContainer, v1.MountPropagationNone)...)
		if *p == v1.MountPropagationBidirectional && (sc == nil || sc.Privileged == nil || !*sc.Privileged) {
			errs = append(errs, field.Forbidden(at, "Bidirectional mount propagation is available only to privileged containers"))
		}
	}
	r := m.RecursiveReadOnly
	if r == nil || *r == v1.RecursiveReadOnlyDisabled {
		return errs
	}
	at = at.Child("recursiveReadOnly")
	if unknown := check.OneOf(at, *r, v1.RecursiveReadOnlyDisabled, v1.RecursiveReadOnlyEnabled, v1.RecursiveReadOnlyIfPossible); unknown != nil {
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
