// Package record keeps a pod's record: what the node needs to know of it after a
// restart or a reboot, durable before anything is made of it and removed after the
// last of it is gone. It is part of the versioned format (see docs/design.md).
//
// Writing replaces a file atomically and is synced; removing needs no free space.
package record
