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
	errs = append(errs, validateNames(spec, path)...)
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
	if sc.FSGroup != nil {
		errs = append(errs, invalid(path.Child("fsGroup"), *sc.FSGroup, validation.IsValidGroupID(*sc.FSGroup))...)
	}
	if p := sc.FSGroupChangePolicy; p != nil {
		errs = append(errs, oneOf(path.Child("fsGroupChangePolicy"), *p, v1.FSGroupChangeAlways, v1.FSGroupChangeOnRootMismatch)...)
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
