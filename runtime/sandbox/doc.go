// Package sandbox makes what the containers of a pod share (runtime.Sandboxes):
// namespaces, /dev/shm and, where asked for, the init of a common PID namespace.
// There is no pause container: nothing here has a process but that init.
//
//	<RunDir>/sandbox/<uid>.json     the record; first made, last removed
//	<RunDir>/ns/<uid>/{net,ipc,uts} pins (network/ns); user and pid where wanted
//	<RunDir>/shm/<uid>              tmpfs that becomes the containers' /dev/shm
//	<RunDir>/init-root              the empty root of all inits
//
// These paths are part of what davit leaves running.
//
// # Decisions
//
//   - The record says what has to be there: Inspect is asked with a UID alone.
//     It lies beside the pins and goes with them when the machine reboots, so it
//     is renamed into place but not synced.
//   - Everything is level: Ensure compares with what is there and makes what is
//     missing, so it also completes what a kill has left. What is intact is not
//     touched; sysctls and host name are set once, before the pin is there.
//   - Every pod with its own network gets the two sysctls that containerd's CRI
//     gives it by default, so that programs without privileges may bind to port 80
//     and ping. The pod's own sysctls come after them and win.
//   - Which sysctls a pod may set is a question of its own (Sysctls, pure), to be
//     asked before anything is made: the safe ones, and what the node's
//     configuration allows beyond them, but none of a namespace that the pod shares
//     with the host. That a sysctl belongs to a namespace is checked again by
//     network/ns when it is set: what would change the whole machine is never
//     written, whatever is allowed.
//   - The PID namespace is pinned from the init, an ordinary container named "" of
//     the pod, below the pod's cgroup, without capabilities and with nothing in its
//     root but the helper program: processes of the pod's containers can look into
//     /proc/1/root. Its /proc is masked like any container's.
//   - An init that does not run is deleted and succeeded by the next attempt. The
//     record holds the number, for an ID is never used twice. With the init all
//     processes of its PID namespace have died, so a new namespace is right.
//   - With an id range the user namespace owns the other ones, and its root owns
//     the tmpfs.
//
// # Callers
//
// Calls about different pods may run concurrently, those about one pod may not.
// The runtime is only asked about pods that share a PID namespace.
package sandbox
