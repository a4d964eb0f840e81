// Package ns makes, pins, opens and removes Linux namespaces. It is the only
// place of davit that calls unshare or setns or locks a goroutine to its
// thread.
//
// # Pins
//
// A namespace without a process lives as long as something holds it. davit
// holds the namespaces of a pod by bind mounts:
//
//	<root>/<name>/net   <- bind mount of the network namespace
//	<root>/<name>/ipc
//	<root>/<name>/uts
//	<root>/<name>/user  <- only with an id range; it owns the ones above
//	<root>/<name>/pid   <- pinned from a process, see Pin
//
// A pin is intact if the file is on nsfs and of the right type. A plain file in
// its place is what a killed Create leaves behind; it is replaced. The paths
// are part of what davit leaves running, so they do not change between versions.
//
// # Decisions
//
//   - A namespace is configured (lo up, host name, sysctls) before it is pinned.
//     What is pinned is therefore finished, and a Create that was cut anywhere
//     is completed by calling it again: only kinds without a pin are made. A
//     running pod's values are never written twice.
//   - With an id range the namespaces must be owned by a new user namespace,
//     which a process with several threads cannot enter. A child is cloned into
//     all of them at once, waits on its standard input, and ends as soon as they
//     are pinned. "user" is pinned last: if it is there, all were. If anything is
//     missing, all are made anew, because no kind can be added to an existing
//     user namespace from here.
//   - A thread that changed a namespace is never used again: its goroutine ends
//     without unlocking it, so that Go destroys the thread. Nothing has to be
//     undone, and nothing can be forgotten to be undone.
//   - A socket belongs to the namespace it was made in, so DialTCP needs a thread
//     there for one system call only; connecting and all else is the poller's.
//   - Mount namespaces are not for davit to make: containers get theirs from the
//     OCI runtime. PID namespaces need a process, so they are only pinned.
//
// # Callers
//
// All calls may run concurrently, but not two on the same directory: one
// goroutine owns one pod.
package ns
