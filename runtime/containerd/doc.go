// Package containerd runs containers on a containerd daemon, 1.6 to 2.x. It
// implements the contract of package runtime.
//
//	Create: object ----> snapshot          Start: task create --> mark --> task start
//	        log streams (beside them)      Delete: task --> snapshot, log streams --> object --> mark
//
// # Decisions
//
//   - Few round trips. The floor is what a bare containerd client needs, and
//     most of that is the shim and runc. The object is made first and names the
//     snapshot, so that it protects it from the garbage collector from birth and
//     no lease is taken; the log streams are opened beside it; what Start needs
//     is remembered from Create, so that Start is two calls. The services are
//     used directly, since the client's Container and Task read everything back.
//   - Shims are shared by groups (package shimgroup): a container joins the
//     group of a living container of its pod, else it founds one that is named
//     after itself. A restarted only container thus never meets the dying shim
//     of its predecessor.
//   - What is known (package known) outlives what the daemon knows: containerd
//     throws stopped tasks away when it restarts (since 1.7), so exits stay in
//     the table until Delete. What is seen moves a container forward only.
//   - A start mark in the run directory is set between the making and the
//     running of a task. An object without a task was never started if it has no
//     mark and the daemon that made it (its pid, start time and boot, in a
//     label; read from the socket itself) is the one that answers.
//   - While the daemon is away, the shims are asked and waited for on their own
//     sockets (package shim). Their addresses derive from the group, which the
//     mark holds too, so this works also when davit starts meanwhile.
//   - Create, Start and Delete go on to their end when their caller leaves; a
//     lock per container keeps the next call waiting. To cancel the daemon in
//     the middle of a task's creation costs more than to let it finish.
//   - What hangs holds up its own container only. A caller gives up after 15 s
//     with ErrStuck, what it called goes on behind it under the container's lock (one at a time,
//     two minutes at most), and its end wakes the pod. A shim that does not
//     answer the daemon within 2 s is asked nothing more: one question is
//     left on its own socket, whose answer wakes the pod. More would fill the
//     socket, and the daemon's write to a full one has no timeout (tried: after
//     700 unanswered questions a list of tasks on 2.2.3 does not return to anybody).
//     For the same reason tasks are asked for one by one: the daemon's list asks
//     the shims in a row, 2 s for each that does not answer. What hangs is named from
//     cgroups and /proc (package hang), in ErrStuck's text and in Container.Stuck.
//   - An exit event without a pid was made up by the daemon for a shim that it
//     lost; it is not believed, and the container becomes StateUnknown. When a
//     shim is killed, the daemon kills its containers and reports 137, which
//     is true of all that had not ended by then.
//
// # What a killed daemon leaves, and what becomes of it
//
//   - A task that it knows and its shim does not, because runc create was cut
//     (1.6): Start sees it, deletes it and makes it again.
//   - runc's state without a container: the second attempt fails, has the
//     daemon clean up, and the third one works.
//   - A shim without containers, or with one that the daemon does not know:
//     Start meets it again under the same group; Delete shuts it down.
//   - An empty cgroup of the container: Delete removes it.
//   - A directory in the overlay snapshotter whose transaction was lost: every
//     Prepare fails with "failed to rename: file exists" until a snapshot is
//     removed, which has the daemon collect garbage. Nothing in the API cures it
//     sooner. Create fails until then and may be repeated.
//   - A container that ended while davit and a containerd since 1.7 were both
//     away, if containerd comes back first: StateUnknown.
//
// # Costs
//
// A shim that is stopped when containerd restarts is taken for dead: containerd
// waits 5 s for it before it serves anybody and lets go of its containers, which are
// StateUnknown then; deleting them waits for the shim.
//
// An exec whose process leaves a background process with its output open is
// held up until the shim gives up on it: 2 s on 1.6, 10 s on 2.x.
//
// Images are package images', which this one delegates to. Out of scope:
// sandboxes, logs, anything of Kubernetes.
package containerd
