// Package qos is the arithmetic behind kubelet's cgroup layout: the QoS class
// of a pod, what its cgroup is limited to, how milli-CPU and bytes become what
// the kernel takes, and what the cgroups are called. It is pure: values in,
// values out; runtime/cgroup writes them, runtime/oci puts them into specs.
//
// Decisions:
//
//   - A request that is absent while its limit is set counts as equal to the
//     limit. The API server's defaulting does that; manifests from a directory
//     may not have been through it.
//   - The class is computed from the spec, never taken from status.qosClass: a
//     manifest's author can write anything there.
//   - Pod-level resources (KEP-2837) take precedence over the containers', as
//     in kubelet 1.36, after the defaults that the API server gives them.
//   - A node's cgroup of all pods gets its capacity without what is reserved; the
//     allocatable of its status is less huge pages, too. kubelet takes its
//     evictionHard from the latter; davit evicts nobody for the node's sake.
//   - cpu.weight is the linear conversion of KEP-2254, which kubelet uses for
//     the cgroups it makes itself (newer runc and crun use another curve for
//     the containers below; both are monotonic, and siblings always share one).
//
// Out of scope: CPU and memory manager (exclusive CPUs, NUMA), memory.min and
// memory.high (MemoryQoS is alpha), qosReserved (likewise), in-place resize.
package qos
