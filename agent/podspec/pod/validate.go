package pod

import (
	"math"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/davit-agent/davit/agent/podspec/check"
)

// Validate returns what Kubernetes would refuse about a pod whose defaults are
// filled in. Fields that davit does not support are not looked at.
func Validate(pod *v1.Pod) field.ErrorList {
	errs := validateMeta(pod)
	path := field.NewPath("spec")
	spec := &pod.Spec
	errs = append(errs, validatePodFields(spec, path)...)
	volumes, found := validateVolumes(spec.Volumes, path.Child("volumes"))
	errs = append(errs, found...)
	errs = append(errs, validateContainers(spec, volumes, path)...)
	return append(errs, validatePodResources(spec, path)...)
}

func validateMeta(pod *v1.Pod) field.ErrorList {
	errs := check.ObjectMeta("pod", &pod.ObjectMeta, validation.IsDNS1123Subdomain)
	// The UID names directories and namespaces on the node.
	if uid := string(pod.UID); uid != "" {
		errs = append(errs, check.Invalid(field.NewPath("metadata", "uid"), uid, validation.IsDNS1123Label(uid))...)
	}
	return errs
}

func validatePodFields(spec *v1.PodSpec, path *field.Path) field.ErrorList {
	errs := check.OneOf(path.Child("restartPolicy"), spec.RestartPolicy,
		v1.RestartPolicyAlways, v1.RestartPolicyOnFailure, v1.RestartPolicyNever)
	errs = append(errs, check.OneOf(path.Child("dnsPolicy"), spec.DNSPolicy,
		v1.DNSClusterFirst, v1.DNSClusterFirstWithHostNet, v1.DNSDefault, v1.DNSNone)...)
	if g := spec.TerminationGracePeriodSeconds; g != nil && *g < 0 {
		errs = append(errs, field.Invalid(path.Child("terminationGracePeriodSeconds"), *g, "must be 0 or more seconds"))
	}
	if d := spec.ActiveDeadlineSeconds; d != nil && (*d < 1 || *d > math.MaxInt32) {
		errs = append(errs, field.Invalid(path.Child("activeDeadlineSeconds"), *d, validation.InclusiveRangeError(1, math.MaxInt32)))
	}
	for i, gate := range spec.ReadinessGates {
		at := path.Child("readinessGates").Index(i).Child("conditionType")
		errs = append(errs, check.Invalid(at, gate.ConditionType, validation.IsQualifiedName(string(gate.ConditionType)))...)
	}
	if spec.OS != nil && spec.OS.Name == "" {
		errs = append(errs, field.Required(path.Child("os", "name"), "write linux, or leave os out"))
	}
	if spec.HostPID && spec.ShareProcessNamespace != nil && *spec.ShareProcessNamespace {
		errs = append(errs, field.Invalid(path.Child("shareProcessNamespace"), true, "shareProcessNamespace and hostPID cannot both be enabled"))
	}
	errs = append(errs, validateNames(spec, path)...)
	if spec.SecurityContext != nil {
		errs = append(errs, validatePodSecurity(spec, path.Child("securityContext"))...)
	}
	return errs
}
