// Package pods turns the crank: one goroutine owns one pod, from its
// acceptance to the removal of its record.
//
//	Pods.Run:  source, runtime events, records  --uid-->  worker[uid] (cap-1 wake)
//	worker:    observe -> lifecycle.Observe -> record
//	           lifecycle.Decide -> execute each step -> lifecycle.Apply
//	           lifecycle.Status -> report
//
// All policy is in lifecycle; here is only how a step is carried out, in which
// order facts become durable, and when to look again.
//
// What a worker sees and is at it publishes as one immutable value each turn and
// before each step, which is what Explain reads: nobody asks a worker anything, so
// one that hangs in a step can be explained as well.
//
// # The record
//
// <stateDir>/pods/<uid>/ holds pod.json (the accepted spec and where it came
// from), facts.json (lifecycle.Facts) and the pod's volumes and files. It is
// written before the first kernel object is made and removed after the last one
// is gone: so whatever exists without a record is an orphan, and is removed.
// Facts are durable before a container's process may exist (OpStart) and before
// its task, the only other trace of its exit, is deleted (OpRemove). An address
// is free for another pod when no record has it any more, and a pod whose UID an
// orphan bears waits until that is removed.
//
// # Leaving is not killing
//
// A cancelled context ends the workers and touches no pod. A pod dies because
// its source, having synced, no longer has it, and the file it came from is
// readable. When the disk is full a deletion goes on without its mark: absence
// from the source is a mark that needs no disk.
//
// Out of scope: deciding (lifecycle), reporting to a server (report), how a
// container is made (runtime).
package pods
