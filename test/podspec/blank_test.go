package podspec

import (
	"reflect"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/davit-agent/davit/agent/podspec/support"
)

// occurrences returns the values in a pod that a path without indices names and
// that are set, each to be changed.
func occurrences(pod *v1.Pod, path string) []reflect.Value {
	list := []reflect.Value{reflect.ValueOf(pod).Elem()}
	for name := range strings.SplitSeq(path, ".") {
		name, each := strings.CutSuffix(name, "[]")
		var next []reflect.Value
		for _, v := range list {
			if v.Kind() == reflect.Pointer {
				v = v.Elem()
			}
			switch f := field(v, name); {
			case !f.IsValid() || f.IsZero():
			case each:
				for i := range f.Len() {
					next = append(next, f.Index(i))
				}
			default:
				next = append(next, f)
			}
		}
		list = next
	}
	return list
}

// field returns the field of a struct by its name in manifests; the zero Value if
// there is none (under a nil pointer).
func field(v reflect.Value, name string) reflect.Value {
	if v.Kind() != reflect.Struct {
		return reflect.Value{}
	}
	for i := range v.NumField() {
		known, inline := support.JSONName(v.Type().Field(i))
		if inline {
			if f := field(v.Field(i), name); f.IsValid() {
				return f
			}
		} else if known == name {
			return v.Field(i)
		}
	}
	return reflect.Value{}
}

// others are further values for fields of which few are valid.
var others = map[string]string{
	"spec.containers[].restartPolicyRules[].action":                                    string(v1.ContainerRestartRuleActionRestartAllContainers),
	"spec.containers[].restartPolicyRules[].exitCodes.operator":                        string(v1.ContainerRestartRuleOnExitCodesOpNotIn),
	"spec.containers[].securityContext.seccompProfile.type":                            string(v1.SeccompProfileTypeRuntimeDefault),
	"spec.securityContext.seccompProfile.type":                                         string(v1.SeccompProfileTypeRuntimeDefault),
	"spec.containers[].securityContext.appArmorProfile.type":                           string(v1.AppArmorProfileTypeRuntimeDefault),
	"spec.securityContext.appArmorProfile.type":                                        string(v1.AppArmorProfileTypeRuntimeDefault),
	"spec.volumes[].hostPath.path":                                                     "/proc",
	"spec.readinessGates[].conditionType":                                              "example.com/other",
	"spec.hostAliases[].ip":                                                            "192.0.2.99",
	"spec.containers[].env[].valueFrom.fieldRef.fieldPath":                             "metadata.uid",
	"spec.containers[].env[].valueFrom.resourceFieldRef.resource":                      "requests.cpu",
	"spec.volumes[].downwardAPI.items[].fieldRef.fieldPath":                            "metadata.uid",
	"spec.volumes[].downwardAPI.items[].resourceFieldRef.resource":                     "requests.cpu",
	"spec.volumes[].projected.sources[].downwardAPI.items[].fieldRef.fieldPath":        "metadata.uid",
	"spec.volumes[].projected.sources[].downwardAPI.items[].resourceFieldRef.resource": "requests.cpu",
}

// another gives a field that is set another value of its kind; false if it
// cannot be told which.
func another(v reflect.Value, path string) bool {
	for v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	switch x := v.Addr().Interface().(type) {
	case *intstr.IntOrString:
		*x = intstr.FromInt32(4242)
		return true
	case *resource.Quantity:
		x.Add(resource.MustParse("1"))
		return true
	}
	switch v.Kind() {
	case reflect.String:
		if other, ok := others[path]; ok {
			v.SetString(other)
		} else {
			v.SetString(v.String() + "x")
		}
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Int32, reflect.Int64:
		v.SetInt(v.Int() + 1)
	case reflect.Slice:
		if v.Len() == 0 || v.Type().Elem().Kind() != reflect.String {
			return false
		}
		v.Index(0).SetString(v.Index(0).String() + "x")
	default:
		return false
	}
	return true
}
