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
)
