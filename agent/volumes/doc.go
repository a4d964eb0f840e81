// Package volumes makes the volumes of a pod on the node and removes them.
// Setup turns the volumes of a pod's spec into host paths, which become bind
// mounts of its containers; Teardown takes away what Setup made. Both may be cut
// by kill -9 at any instant and are completed by calling them again; Teardown
// needs nothing but the pod's directory.
//
//	<podDir>/volumes/kubernetes.io~empty-dir/<name>     emptyDir, as kubelet has it
//
// # Decisions
//
// A pod may write anything into its volumes, so their content is hostile:
// removing walks by directory descriptors and openat2 with RESOLVE_NO_XDEV and
// without following symlinks. It cannot leave the pod's directory and it
// cannot cross a mount: whatever is mounted there that Teardown did not take
// away makes it fail, and nothing behind it is touched. Trees of any depth
// are removed with few open descriptors, by moving deep parts up. Nothing is
// written but that rename, so it works on a full disk.
//
// Mounts are found in /proc/self/mountinfo and unmounted lazily by path, never
// examined by stat: a dead file system behind a hostPath cannot hang Teardown. Setup
// has to look at a hostPath when its type says so; it does that on a goroutine
// and gives up at the context's end (the goroutine stays with the dead path, one
// per path, not one per try).
//
// A directory emptyDir is made under another name, gets its mode (0777, whatever
// the umask) and is renamed into place, so one that has its name is complete and
// is left as the containers have made it.
//
// hostPath of type "" is not checked; one that does not exist is made as a
// directory (0755), which is what containerd's CRI does for kubelet.
//
// The size of a Memory volume is sizeLimit, at most the sum of the memory limits
// of the containers if all have one; without either it is the kernel's
// default, half of the memory.
//
// # Out of scope
//
// Other sources of volumes, quotas of disk volumes, fsGroup, SELinux labels.
package volumes
