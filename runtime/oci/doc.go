// Package oci turns a container of a pod into an OCI runtime spec. It is pure:
// everything about the node is passed in as Node (package facts below reads
// it), and the same Input gives the same spec, byte for byte as JSON.
//
// # What it follows
//
// kubelet 1.36 for what a pod means (environment, $(VAR), users, resources,
// oom_score_adj, masked paths) and containerd's CRI plugin for what a spec
// looks like (default mounts, 14 default capabilities, PATH, HOSTNAME, TERM),
// so that a pod sees here what it sees there: package test/oracle/specs compares
// the specs with those of a real kubelet. Namely:
//
//   - The group of an image's USER (1000:2000) is ignored, as kubelet passes
//     only the user on: the group comes from the image's /etc/passwd, else 0,
//     unless runAsGroup says otherwise.
//   - A volume wins over a default mount at the same place, and hides those of
//     the runtime below it (/proc, /dev, /sys and theirs); the pod's own files
//     (/dev/shm, /etc/hosts, ...) are mounted into it unless it is at the very
//     same place.
//   - A cgroup namespace is private on v2, and none on v1 or when privileged.
//   - /sys of a container that is not privileged, in a pod with one that is, is
//     mounted writable and made read-only afterwards: the two have one sysfs, which
//     would be read-only for both (the pause container sees to that elsewhere).
//   - The CPU quota's period is 100 ms; memory.oom.group is set on v2; swap is
//     not to be had where the kernel counts it (kubelet's NoSwap).
//
// Where it differs:
//
//   - No pause process: network, IPC and UTS namespaces are joined by the paths
//     of their pins, /dev/shm is a bind of the sandbox's tmpfs. Hostname stays
//     empty, for the UTS namespace has its name already.
//   - Capabilities may be written with or without CAP_. Unknown ones, and ones
//     that are added but that davit itself does not have, are errors here (the
//     CRI passes them on, to be ignored or to fail obscurely).
//   - Huge pages that the node does not have are an error, not ignored.
//
// # Versions
//
// ociVersion is 1.0.2 whatever is used: runtimes do not gate fields by it, but
// old ones refuse a version they do not know (crun 1.8.1 wants 1.0.x), and
// what is newer here (seccomp's errnoRet, Resources.Unified) they have known
// since before it was in a release of the specification. containerd 1.6 writes
// 1.0.2-dev with the same fields. defaultErrnoRet, which is EPERM anyway, is
// left out.
//
// # Seccomp
//
// RuntimeDefault is moby's profile (github.com/moby/profiles/seccomp), which
// containerd's is derived from. Its data is pure; its function that renders it
// calls uname for one rule (ptrace, from kernel 4.8 on). davit needs a newer
// kernel anyhow, so the profile is rendered here, for the architecture that
// Node names, with that rule taken as fulfilled. containerd allows three system
// calls more (lsm_get_self_attr, ...), and so does this; it blocks fewer kinds of
// sockets.
//
// Localhost profiles are JSON of the seccomp part of a runtime spec, as for
// kubelet; what else a file holds is passed over, as by containerd. A profile that
// wants a listener (SCMP_ACT_NOTIFY, listenerPath) is refused: the runtime would
// hand the container's system calls to any socket that the file names.
//
// # AppArmor and SELinux
//
// A pod that asks for AppArmor where the kernel has none is not admitted
// (AdmitAppArmor, kubelet's words). RuntimeDefault is the profile that containerd's
// CRI plugin loads; davit loads none, so where that is not loaded a container that
// asks for it is refused, and one that asks for nothing has none.
//
// seLinuxOptions are refused where the kernel has no SELinux (containerd drops
// them). Where it has, a container that asks gets the policy's label for
// containers with its own parts in it; one that does not is not labelled.
// Volumes are not relabelled.
//
// # Errors
//
// Every error is an *Error that wraps ErrConfig or ErrUnsupported (Kubernetes'
// CreateContainerConfigError) or ErrCreate (CreateContainerError); Reason tells
// which. Spec never panics, whatever the pod.
//
// Out of scope, refused by name: user namespaces, device plugins, block devices.
package oci
