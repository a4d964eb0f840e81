package check

import (
	"slices"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

// Set gives a field that is empty a value.
func Set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// SetPtr makes a field that is absent point to a value.
func SetPtr[T any](field **T, value T) {
	if *field == nil {
		*field = ptr.To(value)
	}
}

// Invalid turns the texts of a check of a value into errors.
func Invalid(path *field.Path, value any, texts []string) field.ErrorList {
	var errs field.ErrorList
	for _, t := range texts {
		errs = append(errs, field.Invalid(path, value, t))
	}
	return errs
}

// OneOf refuses values that are not among allowed.
func OneOf[T ~string](path *field.Path, value T, allowed ...T) field.ErrorList {
	if slices.Contains(allowed, value) {
		return nil
	}
	return field.ErrorList{field.NotSupported(path, value, allowed)}
}

// ObjectMeta checks the metadata of an object; what is how people call its kind,
// and its name passes nameCheck.
func ObjectMeta(what string, meta *metav1.ObjectMeta, nameCheck func(string) []string) field.ErrorList {
	path := field.NewPath("metadata")
	var errs field.ErrorList
	if meta.Name == "" {
		errs = append(errs, field.Required(path.Child("name"), "give the "+what+" a name"))
	} else {
		errs = append(errs, Invalid(path.Child("name"), meta.Name, nameCheck(meta.Name))...)
	}
	if meta.Namespace != "" {
		errs = append(errs, Invalid(path.Child("namespace"), meta.Namespace, validation.IsDNS1123Label(meta.Namespace))...)
	}
	errs = append(errs, metavalidation.ValidateLabels(meta.Labels, path.Child("labels"))...)
	return append(errs, apivalidation.ValidateAnnotations(meta.Annotations, path.Child("annotations"))...)
}
