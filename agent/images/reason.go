package images

import (
	"errors"
	"fmt"
	"strings"

	"github.com/distribution/reference"

	"github.com/davit-agent/davit/runtime"
)

// kubelet's reasons for a container that waits for its image. ImagePullBackOff
// is what lifecycle makes of ReasonPull and ReasonRegistry in time.
const (
	ReasonInvalidName = "InvalidImageName"
	ReasonInspect     = "ImageInspectError"
	ReasonNeverPull   = "ErrImageNeverPull"
	ReasonPull        = "ErrImagePull"
	ReasonRegistry    = "RegistryUnavailable"
	reasonCreating    = "ContainerCreating"
)

// Error is why there is no image, as a container's status tells it.
type Error struct {
	Reason  string // one of the Reasons
	Message string
	Err     error // the cause
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Explain returns kubelet's reason and message for an error of Ensure or Pull.
// For *Pulling that is ContainerCreating and how far it is; kubelet has no
// message there, and PodInitializing for a pod with init containers.
func Explain(err error) (reason, message string) {
	var failed *Error
	var pulling *Pulling
	switch {
	case err == nil:
		return "", ""
	case errors.As(err, &failed):
		return failed.Reason, failed.Message
	case errors.As(err, &pulling):
		return reasonCreating, pulling.Error()
	case errors.Is(err, runtime.ErrInvalidImageName):
		return ReasonInvalidName, err.Error()
	case errors.Is(err, runtime.ErrUnavailable):
		return ReasonInspect, err.Error()
	default:
		return ReasonPull, err.Error()
	}
}

func invalidName(ref string, err error) *Error {
	return &Error{Reason: ReasonInvalidName,
		Message: fmt.Sprintf("Failed to apply default image tag %q: couldn't parse image name %q: %v", ref, ref, err),
		Err:     fmt.Errorf("%w: %w", runtime.ErrInvalidImageName, err)}
}

func neverPull(ref string) *Error {
	return &Error{Reason: ReasonNeverPull,
		Message: fmt.Sprintf("Container image %q is not present with pull policy of Never", ref),
		Err:     runtime.ErrImageNotFound}
}

func inspectFailed(ref string, err error) *Error {
	return &Error{Reason: ReasonInspect, Message: fmt.Sprintf("Failed to inspect image %q: %v", ref, err), Err: err}
}

// pullFailed is the failure of a pull. notes are what else may be the cause.
func pullFailed(ref string, err error, notes []string) *Error {
	e := &Error{Reason: ReasonPull, Message: err.Error(), Err: err}
	if errors.Is(err, runtime.ErrUnavailable) { // the registry is not to blame, and not to be spared
		e.Reason = ReasonInspect
		return e
	}
	var away interface{ RegistryUnavailable() bool }
	if errors.As(err, &away) && away.RegistryUnavailable() {
		e.Reason = ReasonRegistry
		e.Message = fmt.Sprintf("image pull failed for %s because the registry is unavailable: %v", tagged(ref), err)
	}
	if len(notes) > 0 {
		e.Message += " (" + strings.Join(notes, "; ") + ")"
	}
	return e
}

// tagged is a reference with its default tag, and otherwise as it stands.
func tagged(ref string) string {
	if named, err := reference.ParseNormalizedNamed(ref); err == nil && reference.IsNameOnly(named) {
		return ref + ":latest"
	}
	return ref
}
