package pod

import (
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/davit-agent/davit/agent/downward"
	"github.com/davit-agent/davit/agent/podspec/check"
)

// What the downward API gives to a file of a volume and to a variable, in order;
// and subscripts of labels and annotations to both.
var (
	volumeFields = []string{"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"}
	envFields    = []string{"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
		"status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"}
	resourceFields = []string{"limits.cpu", "limits.ephemeral-storage", "limits.memory",
		"requests.cpu", "requests.ephemeral-storage", "requests.memory"}
)

// The divisors of resources.
var (
	cpuDivisors  = []string{"1m", "1"}
	byteDivisors = []string{"1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"}
)

func validateEnv(env []v1.EnvVar, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, e := range env {
		at := at.Index(i)
		if e.Name == "" {
			errs = append(errs, field.Required(at.Child("name"), "name the variable"))
		} else {
			errs = append(errs, check.Invalid(at.Child("name"), e.Name, validation.IsRelaxedEnvVarName(e.Name))...)
		}
		if strings.ContainsRune(e.Value, 0) {
			errs = append(errs, field.Invalid(at.Child("value"), e.Value, "must not contain a zero byte"))
		}
		if e.ValueFrom != nil {
			errs = append(errs, validateValueFrom(e, at.Child("valueFrom"))...)
		}
	}
	return errs
}

func validateValueFrom(e v1.EnvVar, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	from := e.ValueFrom
	if ref := from.FieldRef; ref != nil {
		errs = append(errs, validateFieldRef(ref, envFields, at.Child("fieldRef"))...)
	}
	if ref := from.ResourceFieldRef; ref != nil {
		errs = append(errs, validateResourceRef(ref, at.Child("resourceFieldRef"))...)
	}
	if ref := from.ConfigMapKeyRef; ref != nil {
		at := at.Child("configMapKeyRef")
		errs = append(errs, validateObjectName(ref.Name, "ConfigMap", at.Child("name"))...)
		errs = append(errs, validateKey(ref.Key, at.Child("key"))...)
	}
	if ref := from.SecretKeyRef; ref != nil {
		at := at.Child("secretKeyRef")
		errs = append(errs, validateObjectName(ref.Name, "Secret", at.Child("name"))...)
		errs = append(errs, validateKey(ref.Key, at.Child("key"))...)
	}
	switch n := countSet(*from); {
	case n == 0:
		errs = append(errs, field.Invalid(at, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"))
	case e.Value != "":
		errs = append(errs, field.Invalid(at, "", "may not be specified when `value` is not empty"))
	case n > 1:
		errs = append(errs, field.Invalid(at, "", "may not have more than one field specified at a time"))
	}
	return errs
}

func validateKey(key string, at *field.Path) field.ErrorList {
	if key == "" {
		return field.ErrorList{field.Required(at, "name the key")}
	}
	return check.Invalid(at, key, validation.IsConfigMapKey(key))
}

func validateEnvFrom(list []v1.EnvFromSource, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, from := range list {
		at := at.Index(i)
		if from.Prefix != "" {
			errs = append(errs, check.Invalid(at.Child("prefix"), from.Prefix, validation.IsRelaxedEnvVarName(from.Prefix))...)
		}
		if ref := from.ConfigMapRef; ref != nil {
			errs = append(errs, validateObjectName(ref.Name, "ConfigMap", at.Child("configMapRef", "name"))...)
		}
		if ref := from.SecretRef; ref != nil {
			errs = append(errs, validateObjectName(ref.Name, "Secret", at.Child("secretRef", "name"))...)
		}
		switch {
		case from.ConfigMapRef == nil && from.SecretRef == nil:
			errs = append(errs, field.Invalid(at, "", "must specify one of: `configMapRef` or `secretRef`"))
		case from.ConfigMapRef != nil && from.SecretRef != nil:
			errs = append(errs, field.Invalid(at, "", "may not have more than one field specified at a time"))
		}
	}
	return errs
}

// validateFieldRef checks that there is such a field and that it may stand here.
func validateFieldRef(ref *v1.ObjectFieldSelector, allowed []string, at *field.Path) field.ErrorList {
	at = at.Child("fieldPath")
	if ref.FieldPath == "" {
		return field.ErrorList{field.Required(at, "name the field, such as metadata.name")}
	}
	if _, _, ok := downward.Subscript(ref.FieldPath); !ok && slices.Contains(allowed, ref.FieldPath) && ref.APIVersion == "v1" {
		return nil
	}
	// A pod without labels has every field that there is.
	_, err := downward.Field(&v1.Pod{}, ref)
	_, _, subscript := downward.Subscript(ref.FieldPath)
	switch {
	case err != nil && subscript && strings.HasPrefix(err.Error(), "invalid key"):
		return field.ErrorList{field.Invalid(at, ref.FieldPath, err.Error())}
	case err != nil:
		return field.ErrorList{field.Invalid(at, ref.FieldPath, "error converting fieldPath: "+err.Error())}
	case !subscript:
		return field.ErrorList{field.NotSupported(at, ref.FieldPath, allowed)}
	}
	return nil
}

func validateResourceRef(ref *v1.ResourceFieldSelector, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	_, name, _ := strings.Cut(ref.Resource, ".")
	huge := strings.HasPrefix(ref.Resource, "limits."+v1.ResourceHugePagesPrefix) || strings.HasPrefix(ref.Resource, "requests."+v1.ResourceHugePagesPrefix)
	switch {
	case ref.Resource == "":
		errs = append(errs, field.Required(at.Child("resource"), "name the resource, such as limits.memory"))
	case !huge && !slices.Contains(resourceFields, ref.Resource):
		return append(errs, field.NotSupported(at.Child("resource"), ref.Resource, resourceFields))
	}
	divisors, what := byteDivisors, name
	switch {
	case ref.Divisor.IsZero():
		return errs
	case huge:
		what = "hugepages"
	case name == string(v1.ResourceCPU):
		divisors = cpuDivisors
	case name == string(v1.ResourceEphemeralStorage):
		what = "local ephemeral storage"
	}
	if !slices.Contains(divisors, ref.Divisor.String()) {
		list := strings.Join(divisors, ", ")
		if len(divisors) == 2 {
			list = strings.Join(divisors, " and ")
		}
		errs = append(errs, field.Invalid(at.Child("divisor"), ref.Resource, "only divisor's values "+list+" are supported with the "+what+" resource"))
	}
	return errs
}
