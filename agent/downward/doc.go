// Package downward computes what the downward API gives to containers: fields
// of their pod (fieldRef) and their resources (resourceFieldRef), in environment
// variables as in volumes. It is pure: a pod in, text out.
//
// Decisions:
//   - Whatever Kubernetes knows as a field path is answered wherever it is asked
//     for. What may stand where (a volume shows metadata only, a variable no
//     whole map of labels) is validation, and podspec's.
//   - The caller fills in what is not written in a manifest: spec.nodeName and
//     the status' addresses, the pod's in the order of preference.
//   - A limit that is not set is the node's allocatable amount, that of an init
//     container too (kubelet overlooks init containers that are named by
//     containerName). Huge pages have no such default: they are never
//     overcommitted.
//   - Amounts are divided exactly and rounded up, and end at the greatest int64.
//   - Errors have kubelet's texts.
package downward
