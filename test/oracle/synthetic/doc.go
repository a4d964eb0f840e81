// Package synthetic holds davit to the goldens without containers: the real
// lifecycle, workers, probes and hooks run on a model of a container runtime,
// in fake time, and what they report is compared with what the real kubelet
// reported. The containers' processes, and what answers their probes, are the
// actors' model (package actor/model).
//
// # Out of scope
//
// What the kernel, containerd and the registry say: those scenarios name why
// they are not played here (notHere), and test/e2e plays them.
package synthetic
