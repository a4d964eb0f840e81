package runtime

import "errors"

// Sentinels of the contract; test with errors.Is.
var (
	ErrNotFound         = errors.New("not found")
	ErrImageNotFound    = errors.New("image is not present")
	ErrImagePinned      = errors.New("image is pinned")
	ErrInvalidImageName = errors.New("invalid image name")
	ErrStart            = errors.New("container did not start")
	ErrExited           = errors.New("container has exited")
	ErrUnavailable      = errors.New("container runtime is not reachable")
	// ErrStuck is wrapped by the error of a call for one container whose shim,
	// OCI runtime or process does not answer or end; the text says which. The
	// call may be repeated, and the pod is woken when something has changed.
	ErrStuck = errors.New("container is stuck")
)
