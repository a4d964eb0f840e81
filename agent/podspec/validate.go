package podspec

import (
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Validate returns what Kubernetes would refuse about a pod whose defaults are
// filled in. Fields that davit does not support yet are not looked at; that is
// Unsupported's part.
func Validate(pod *v1.Pod) []Problem {
	errs := validateMeta(pod)
	path := field.NewPath("spec")
	spec := &pod.Spec
	errs = append(errs, validatePodFields(spec, path)...)
	volumes, found := validateVolumes(spec.Volumes, path.Child("volumes"))
	errs = append(errs, found...)
	errs = append(errs, validateContainers(spec, volumes, path)...)

	var out []Problem
	for _, e := range errs {
		out = append(out, Problem{
			Object: describe("Pod", pod.Namespace, pod.Name), Field: e.Field, Message: e.ErrorBody(),
		})
	}
	return out
}

// invalid turns the texts of a check into errors.
func invalid(path *field.Path, value any, texts []string) field.ErrorList {
	var errs field.ErrorList
	for _, t := range texts {
		errs = append(errs, field.Invalid(path, value, t))
	}
	return errs
}

// oneOf refuses values that are not among allowed.
func oneOf[T ~string](path *field.Path, value T, allowed ...T) field.ErrorList {
	if slices.Contains(allowed, value) {
		return nil
	}
	return field.ErrorList{field.NotSupported(path, value, allowed)}
}

func validateMeta(pod *v1.Pod) field.ErrorList {
	path := field.NewPath("metadata")
	var errs field.ErrorList
	if pod.Name == "" {
		errs = append(errs, field.Required(path.Child("name"), "give the pod a name"))
	} else {
		errs = append(errs, invalid(path.Child("name"), pod.Name, validation.IsDNS1123Subdomain(pod.Name))...)
	}
	if pod.Namespace != "" {
		errs = append(errs, invalid(path.Child("namespace"), pod.Namespace, validation.IsDNS1123Label(pod.Namespace))...)
	}
	// The UID names directories and namespaces on the node.
	if uid := string(pod.UID); uid != "" {
		errs = append(errs, invalid(path.Child("uid"), uid, validation.IsDNS1123Label(uid))...)
	}
	errs = append(errs, metavalidation.ValidateLabels(pod.Labels, path.Child("labels"))...)
	return append(errs, apivalidation.ValidateAnnotations(pod.Annotations, path.Child("annotations"))...)
}

func validatePodFields(spec *v1.PodSpec, path *field.Path) field.ErrorList {
	errs := oneOf(path.Child("restartPolicy"), spec.RestartPolicy,
		v1.RestartPolicyAlways, v1.RestartPolicyOnFailure, v1.RestartPolicyNever)
	errs = append(errs, oneOf(path.Child("dnsPolicy"), spec.DNSPolicy,
		v1.DNSClusterFirst, v1.DNSClusterFirstWithHostNet, v1.DNSDefault, v1.DNSNone)...)
	if g := spec.TerminationGracePeriodSeconds; g != nil && *g < 0 {
		errs = append(errs, field.Invalid(path.Child("terminationGracePeriodSeconds"), *g, "must be 0 or more seconds"))
	}
	if spec.Hostname != "" {
		errs = append(errs, invalid(path.Child("hostname"), spec.Hostname, validation.IsDNS1123Label(spec.Hostname))...)
	}
	if sc := spec.SecurityContext; sc != nil {
		errs = append(errs, validatePodSecurity(sc, spec.HostNetwork, path.Child("securityContext"))...)
	}
	return errs
}

func validatePodSecurity(sc *v1.PodSecurityContext, hostNetwork bool, path *field.Path) field.ErrorList {
	errs := validateIDs(path, sc.RunAsUser, sc.RunAsGroup)
	for i, gid := range sc.SupplementalGroups {
		errs = append(errs, invalid(path.Child("supplementalGroups").Index(i), gid, validation.IsValidGroupID(gid))...)
	}
	errs = append(errs, validateSeccomp(sc.SeccompProfile, path.Child("seccompProfile"))...)
	names := map[string]bool{}
	for i, s := range sc.Sysctls {
		at := path.Child("sysctls").Index(i)
		name := strings.ReplaceAll(s.Name, "/", ".")
		switch {
		case s.Name == "":
			errs = append(errs, field.Required(at.Child("name"), "name the sysctl"))
		case !sysctlName(name):
			errs = append(errs, field.Invalid(at.Child("name"), s.Name, "must be lower case words joined by dots, such as net.ipv4.tcp_syncookies"))
		case names[name]:
			errs = append(errs, field.Duplicate(at.Child("name"), s.Name))
		case hostNetwork && strings.HasPrefix(name, "net."):
			errs = append(errs, field.Invalid(at.Child("name"), s.Name, "may not be set when hostNetwork is true"))
		}
		names[name] = true
	}
	return errs
}

func sysctlName(name string) bool {
	if len(name) > 253 || !strings.Contains(name, ".") {
		return false
	}
	for part := range strings.SplitSeq(name, ".") {
		if part == "" || strings.Trim(part, "abcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
			return false
		}
	}
	return true
}

func validateIDs(path *field.Path, user, group *int64) field.ErrorList {
	var errs field.ErrorList
	if user != nil {
		errs = append(errs, invalid(path.Child("runAsUser"), *user, validation.IsValidUserID(*user))...)
	}
	if group != nil {
		errs = append(errs, invalid(path.Child("runAsGroup"), *group, validation.IsValidGroupID(*group))...)
	}
	return errs
}

func validateSeccomp(p *v1.SeccompProfile, path *field.Path) field.ErrorList {
	if p == nil {
		return nil
	}
	if p.Type == "" {
		return field.ErrorList{field.Required(path.Child("type"), "write RuntimeDefault or Unconfined")}
	}
	errs := oneOf(path.Child("type"), p.Type,
		v1.SeccompProfileTypeRuntimeDefault, v1.SeccompProfileTypeUnconfined, v1.SeccompProfileTypeLocalhost)
	if p.LocalhostProfile != nil && p.Type != v1.SeccompProfileTypeLocalhost {
		errs = append(errs, field.Invalid(path.Child("localhostProfile"), *p.LocalhostProfile, "may only be set with type Localhost"))
	}
	return errs
}

// validateVolumes returns the names of the volumes.
func validateVolumes(list []v1.Volume, path *field.Path) (map[string]bool, field.ErrorList) {
	var errs field.ErrorList
	names := map[string]bool{}
	for i := range list {
		v, at := &list[i], path.Index(i)
		switch {
		case v.Name == "":
			errs = append(errs, field.Required(at.Child("name"), "name the volume"))
		case names[v.Name]:
			errs = append(errs, field.Duplicate(at.Child("name"), v.Name))
		default:
			errs = append(errs, invalid(at.Child("name"), v.Name, validation.IsDNS1123Label(v.Name))...)
		}
		names[v.Name] = true
		if n := sources(v.VolumeSource); n > 1 {
			errs = append(errs, field.Forbidden(at, "a volume has one source, this one has more: remove all but one"))
		}
		if e := v.EmptyDir; e != nil {
			errs = append(errs, oneOf(at.Child("emptyDir", "medium"), e.Medium, v1.StorageMediumDefault, v1.StorageMediumMemory)...)
			if e.SizeLimit != nil && e.SizeLimit.Sign() < 0 {
				errs = append(errs, field.Invalid(at.Child("emptyDir", "sizeLimit"), e.SizeLimit.String(), "must not be negative"))
			}
		}
		if h := v.HostPath; h != nil {
			errs = append(errs, validateHostPath(h, at.Child("hostPath"))...)
		}
	}
	return names, errs
}

func validateHostPath(h *v1.HostPathVolumeSource, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch {
	case h.Path == "":
		errs = append(errs, field.Required(path.Child("path"), "name the path on the host"))
	case slices.Contains(strings.Split(h.Path, "/"), ".."):
		errs = append(errs, field.Invalid(path.Child("path"), h.Path, "must not contain '..'"))
	case !strings.HasPrefix(h.Path, "/"):
		errs = append(errs, field.Invalid(path.Child("path"), h.Path, "must be an absolute path"))
	}
	if h.Type != nil {
		errs = append(errs, oneOf(path.Child("type"), *h.Type, v1.HostPathUnset, v1.HostPathDirectoryOrCreate, v1.HostPathDirectory,
			v1.HostPathFileOrCreate, v1.HostPathFile, v1.HostPathSocket, v1.HostPathCharDev, v1.HostPathBlockDev)...)
	}
	return errs
}
