// Package cgroup keeps kubelet's cgroup layout on v1 and v2 hosts:
//
//	<root>/kubepods                            all pods         SetQoS
//	<root>/kubepods/pod<uid>                   Guaranteed       EnsurePod
//	<root>/kubepods/burstable/pod<uid>         Burstable        SetQoS, EnsurePod
//	<root>/kubepods/besteffort/pod<uid>        BestEffort       SetQoS, EnsurePod
//	<root>/kubepods/.../pod<uid>/<container>   made by the OCI runtime
//
// On v1 the same tree stands in every mounted hierarchy. The arithmetic and
// the names are in the pure package qos below; here is only IO.
//
// Decisions:
//
//   - Paths are absolute in the hierarchy as it is mounted, which is what an OCI
//     spec's cgroupsPath means to runc and crun. On a machine that is itself a
//     container, /proc/self/cgroup may name a path above the mount; that path is
//     of no interest.
//   - v1: the hierarchies are the directories under /sys/fs/cgroup that have a
//     cgroup.procs (links such as cpu -> cpu,cpuacct count once). The unified
//     directory of a hybrid host is no v1 hierarchy: nothing is set there, but
//     it is looked at when a pod is removed, as a runtime may have made a cgroup
//     in it.
//   - v1: a new cpuset has no CPUs and no memory nodes, and nothing can join it
//     until they are filled in, from the root down. Ensure does that.
//   - v2: controllers are enabled from the root down as far as the parent has
//     them. The root must hold no processes of its own (the kernel's "no
//     internal processes" rule) unless it is the real root: EnsurePod says so.
//   - v2 under systemd works with the cgroupfs driver, either below the real
//     root (systemd leaves alone what it did not make, and enables cpu, memory,
//     io and pids there anyway) or below a delegated cgroup: with Delegate=yes
//     in davit's unit, davit in a sub-cgroup of it (DelegateSubgroup=) and
//     cgroup.root set to the unit's path. The systemd driver, which has systemd
//     make slices over D-Bus, is not here yet: New refuses it, auto never picks
//     it. Its names are in qos.
//   - Values that a pod does not ask for are not written; a pod's values do not
//     change during its life (an edited pod is a new pod, resize is to come).
//   - kubepods is limited to the node's capacity without what is reserved for
//     the system, as by kubelet's default (enforceNodeAllocatable: [pods]), when
//     SetQoS is called first. Nothing is made for what is reserved, and memory.min,
//     memory.low and memory.high are left alone (MemoryQoS is off by default).
//   - On v2 cpuset.cpus of kubepods stays empty, which means all CPUs, also those
//     that come later; kubelet writes those that it finds when it starts.
//   - Nothing is killed here. A cgroup with processes in it is not removed, and
//     the error names them.
//
// Out of scope: eviction, system-reserved and kube-reserved cgroups, statistics.
package cgroup
