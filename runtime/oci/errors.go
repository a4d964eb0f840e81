package oci

import (
	"errors"
	"fmt"
)

// Sentinels; every error of this package wraps one of them.
var (
	ErrConfig      = errors.New("container configuration is invalid")
	ErrUnsupported = errors.New("not supported yet")
	ErrCreate      = errors.New("container does not fit its image or node")
)

// Error says what is wrong with a container, where, and what to do about it.
type Error struct {
	Kind   error  // ErrConfig, ErrUnsupported or ErrCreate
	Field  string // path in the pod: spec.containers["web"].securityContext.runAsUser; "" if Text says it
	Text   string
	Remedy string // what to change; "" if it is plain from Text
}

// Error puts field, text and remedy into one line.
func (e *Error) Error() string {
	s := e.Text
	if e.Field != "" {
		s = e.Field + ": " + s
	}
	if e.Remedy != "" {
		s += "; " + e.Remedy
	}
	return s
}

// Unwrap returns the sentinel.
func (e *Error) Unwrap() error { return e.Kind }

// Reason returns Kubernetes' waiting reason for an error of this package.
func Reason(err error) string {
	if errors.Is(err, ErrCreate) {
		return "CreateContainerError"
	}
	return "CreateContainerConfigError"
}

// field returns the path of a container's field.
func (b *builder) field(format string, args ...any) string {
	list := "containers"
	for i := range b.pod.Spec.InitContainers {
		if b.pod.Spec.InitContainers[i].Name == b.c.Name {
			list = "initContainers"
		}
	}
	for i := range b.pod.Spec.EphemeralContainers {
		if b.pod.Spec.EphemeralContainers[i].Name == b.c.Name {
			list = "ephemeralContainers"
		}
	}
	return fmt.Sprintf("spec.%s[%q]", list, b.c.Name) + "." + fmt.Sprintf(format, args...)
}

func config(field, remedy, format string, args ...any) error {
	return &Error{Kind: ErrConfig, Field: field, Remedy: remedy, Text: fmt.Sprintf(format, args...)}
}

func unsupported(field, remedy string) error {
	return &Error{Kind: ErrUnsupported, Field: field, Remedy: remedy, Text: ErrUnsupported.Error()}
}

func create(field, remedy, format string, args ...any) error {
	return &Error{Kind: ErrCreate, Field: field, Remedy: remedy, Text: fmt.Sprintf(format, args...)}
}
