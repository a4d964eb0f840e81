package podspec

import (
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/davit-agent/davit/agent/podspec/check"
)

// ValidateConfigMap returns what Kubernetes would refuse about a ConfigMap.
func ValidateConfigMap(c *v1.ConfigMap) []Problem {
	errs := check.ObjectMeta(KindConfigMap, &c.ObjectMeta, validation.IsDNS1123Subdomain)
	data, binary := field.NewPath("data"), field.NewPath("binaryData")
	errs = append(errs, validateKeys(slices.Collect(maps.Keys(c.Data)), data)...)
	errs = append(errs, validateKeys(slices.Collect(maps.Keys(c.BinaryData)), binary)...)
	size := 0
	for _, value := range c.Data {
		size += len(value)
	}
	for _, key := range slices.Sorted(maps.Keys(c.BinaryData)) {
		size += len(c.BinaryData[key])
		if _, both := c.Data[key]; both {
			shown := shownKey(key, maxKeyShown)
			errs = append(errs, field.Invalid(binary.Key(shown), shown, "duplicate of key present in data: remove one"))
		}
	}
	path := data
	if len(c.Data) == 0 {
		path = binary
	}
	return located(KindConfigMap, &c.ObjectMeta, append(errs, tooLarge(path, size)...))
}

// ConfigMapChange returns what Kubernetes would refuse about turning old into
// new: once immutable is true the data stays as it is.
func ConfigMapChange(old, new *v1.ConfigMap) []Problem {
	if old.Immutable == nil || !*old.Immutable {
		return nil
	}
	var errs field.ErrorList
	if new.Immutable == nil || !*new.Immutable {
		errs = append(errs, immutable("immutable"))
	}
	if !maps.Equal(old.Data, new.Data) {
		errs = append(errs, immutable("data"))
	}
	if !maps.EqualFunc(old.BinaryData, new.BinaryData, slices.Equal) {
		errs = append(errs, immutable("binaryData"))
	}
	return located(KindConfigMap, &new.ObjectMeta, errs)
}

func immutable(name string) *field.Error {
	return field.Forbidden(field.NewPath(name),
		"field is immutable when `immutable` is set: what it held is kept; give the object another name, or remove it before it is made anew")
}
