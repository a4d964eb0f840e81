// Package cgroups holds davit to the values that a real kubelet gives to the
// cgroups of pods, of their QoS classes and of all pods together.
//
//	pods.yaml         pods of every class, with inits, sidecars, pod-level resources
//	hugepages.yaml    more of them, for nodes with huge pages
//	v1.yaml, v2.yaml  what the real kubelet set: variant, cgroup, file, value
//
// Pods makes the pods for a node, Read reads what there is of them, Normal
// writes numbers that depend on the machine by what they stand for, and Compare
// finds the differences that are not on purpose.
//
// # Decisions
//
//   - Everything is read from the kernel, not from a runtime's specification: a
//     value counts when it has arrived.
//   - Cgroups are named by class, pod and container, so that a pod in the wrong
//     class is a difference.
//   - Requests that decide about oom_score_adj are parts of the node's memory, so
//     that a recording holds on every machine.
//   - All pods run at the same time, for the shares of the burstable cgroup are
//     those of all its pods.
//   - What kubelet's pause container has is left out: davit has none.
//   - kubelet's containerd limits huge pages of containers, as kubelet asks for;
//     with containerd's default, disable_hugetlb_controller, it drops that.
//   - v2 has some of the pods only, see Pods, and huge pages, which hybrid
//     hosts cannot limit on v1.
//
// A recording is made by `make goldens` (v1: where it runs; v2: VM=1, in the VM
// of test/vm, by the command record), and compared by test/e2e and by
// `make vm-test`.
package cgroups
