// Package specs holds davit's runtime specs to those that a real kubelet has
// containerd's CRI plugin make for the same pods.
//
//	pods.yaml             pods with everything that a security context can say
//	refused.yaml          pods that ask for what the node does not have or allow
//	goldens/<pod>.json    pod as the API server has it, and its containers' specs
//	goldens/seccomp.json  seccomp filters, which the specs name by number
//	goldens/refused.json  what the status of refused pods said
//	goldens/node.json     the node's facts at that time
//
// # Decisions
//
//   - Normal takes out of a spec what two runtimes cannot have in common (paths,
//     names, versions) and what package cgroups compares better (resources), and
//     sorts what has no order. What is left is compared whole, so a new field in
//     either is a difference.
//   - A privileged container's devices are the host's: the recorder compares them
//     with what package facts finds at that moment, and writes "all of the host".
//   - A difference that is on purpose is in the list of the test that compares, with
//     its reason, and the test fails when it is gone.
//
// `make goldens` records anew.
package specs
