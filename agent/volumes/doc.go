// Package volumes makes the volumes of a pod on the node, keeps those that are
// made of files up to date, and removes them. Setup turns the volumes of a pod's
// spec into host paths, which become bind mounts of its containers; SubPath does
// so for a place inside of one; Teardown takes away what they made. All may be
// cut by kill -9 at any instant and are completed by calling them again; Teardown
// needs nothing but the pod's directory.
//
//	<podDir>/volumes/kubernetes.io~empty-dir/<name>       as kubelet has it
//	<podDir>/volumes/kubernetes.io~configmap/<name>       on disk
//	<podDir>/volumes/kubernetes.io~secret/<name>          a tmpfs
//	<podDir>/volumes/kubernetes.io~downward-api/<name>    a tmpfs
//	<podDir>/volumes/kubernetes.io~projected/<name>       a tmpfs
//	<podDir>/volume-subpaths/<volume>/<container>/<n>     a bind mount
//
// payload computes the files of a volume (pure), atomic writes them so that a
// reader never sees a half-updated volume, subpath resists a pod that changes its
// volume meanwhile.
//
// # Decisions
//
// A pod may write anything into its volumes, so their content is hostile:
// removing and measuring walk by directory descriptors and openat2 with
// RESOLVE_NO_XDEV and without following symlinks. They cannot leave the pod's
// directory and cannot cross a mount: whatever is mounted there that Teardown did
// not take away makes it fail, and nothing behind it is touched. Trees of any depth
// are removed with few open descriptors, by moving deep parts up. Nothing is
// written but that rename, so it works on a full disk.
//
// Mounts are found in /proc/self/mountinfo and unmounted lazily by path, never
// examined by stat: a dead file system behind a hostPath cannot hang Teardown, and
// one that is mounted inside of another goes with the outermost. What hangs all the
// same, or takes long, is left behind, one goroutine for each pod. Setup
// has to look at a hostPath when its type says so, SubPath has to open it; they
// do that on a goroutine and give up at the context's end (the goroutine stays
// with the dead path, one per path, not one per try).
//
// A directory is made under another name, gets its mode (0777, whatever the
// umask) and group and is renamed into place, so one that has its name is complete
// and is left as the containers have made it. An fsGroup is therefore applied
// once, to an empty directory, for any size of volume; fsGroupChangePolicy has no
// effect, as it has none on these kinds in kubelet.
//
// Setup is called again whenever an object may have changed. A Maker remembers
// for each volume of files which objects (by pointer), which content (by digest)
// and which generation it wrote; where they are the same it looks at one link and
// is done. Nothing of that is on disk: the first Setup of a new process compares
// the content itself, so it also repairs what a power cut tore. Immutable objects
// are not asked for again.
//
// One volume that fails does not hold up the updates of the others, and keeps
// the content it has. A hostPath is looked at after all others and, once it was
// found well, not again in this process: an update never waits for one.
//
// Files that were replaced stay for a second (at most 16 MiB of them), for the
// sake of who is in the middle of reading them.
//
// Volumes of files are read-only for containers (Mount.ReadOnly), as since
// Kubernetes 1.9; so others that are mounted inside of them get their mount points
// beforehand.
//
// A tmpfs is mounted with noswap where the kernel has it (6.4), so that secrets
// reach no disk that way either; its mode is 1777, as kubelet leaves it.
//
// hostPath of type "" is not checked; one that does not exist is made as a
// directory (0755), which is what containerd's CRI does for kubelet.
//
// The size of a Memory volume is sizeLimit, at most the sum of the memory limits
// of the containers if all have one; without either it is the kernel's
// default, half of the memory. A volume of huge pages has its sizeLimit as its
// size. One on disk is measured; evicting is the caller's.
//
// # Out of scope
//
// Sources that need an API server or a driver; project quotas; SELinux labels;
// which container mounts what with which options (agent/pods, runtime/oci).
package volumes
