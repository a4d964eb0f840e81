package pod

import (
	"reflect"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// ephemeralFields are what an ephemeral container may have: nothing that a pod's
// service could depend on.
var ephemeralFields = []string{
	"name", "image", "command", "args", "workingDir", "envFrom", "env", "volumeMounts", "volumeDevices",
	"terminationMessagePath", "terminationMessagePolicy", "imagePullPolicy", "securityContext", "stdin", "stdinOnce", "tty",
}

const notEphemeral = "cannot be set for an Ephemeral Container"

// ephemeral checks the pod's ephemeral containers; the others were checked.
func (v *containers) ephemeral(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	target := func(name string) bool {
		is := func(c v1.Container) bool { return c.Name == name }
		return slices.ContainsFunc(v.spec.Containers, is) || slices.ContainsFunc(v.spec.InitContainers, is)
	}
	for i := range v.spec.EphemeralContainers {
		c, at := &v.spec.EphemeralContainers[i], path.Index(i)
		errs = append(errs, v.container((*v1.Container)(&c.EphemeralContainerCommon), at)...)
		if name := c.TargetContainerName; name != "" && !target(name) {
			errs = append(errs, field.NotFound(at.Child("targetContainerName"), name))
		}
		errs = append(errs, validateEphemeralFields(c, at)...)
	}
	return errs
}

func validateEphemeralFields(c *v1.EphemeralContainer, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	value := reflect.ValueOf(c.EphemeralContainerCommon)
	for i := range value.NumField() {
		name, _, _ := strings.Cut(value.Type().Field(i).Tag.Get("json"), ",")
		f := value.Field(i)
		if f.IsZero() || f.Kind() == reflect.Slice && f.Len() == 0 || slices.Contains(ephemeralFields, name) {
			continue
		}
		errs = append(errs, field.Forbidden(at.Child(name), notEphemeral))
	}
	for i, m := range c.VolumeMounts {
		at := at.Child("volumeMounts").Index(i)
		if m.SubPath != "" {
			errs = append(errs, field.Forbidden(at.Child("subPath"), notEphemeral))
		}
		if m.SubPathExpr != "" {
			errs = append(errs, field.Forbidden(at.Child("subPathExpr"), notEphemeral))
		}
	}
	return errs
}
