// Package enter runs short commands in containers, exec probes and hooks above all,
// without the OCI runtime: `runc exec` costs 40 to 60 ms of processor time, of which
// the command itself is 1 or 2.
//
//	Exec ── knows the container (target.go) ── starts ── davit-helper exec ── the command
//	  │                                                  (package inside)
//	  └── in doubt ── Fallback: runtime.Runtime.Exec
//
// Decisions:
//   - Every doubt goes to the fallback, which is always right: a container with
//     something that is not done here (user namespaces, AppArmor and SELinux labels,
//     hostPID, another runtime than runc), a command that cannot be executed (so its
//     error has the OCI runtime's own text), a container that is paused or ends.
//     Nothing of the command was run then. Why is logged at Debug.
//   - A process that is made here is equal to one of runc's, and has never more than
//     the container's first: its namespaces, cgroups and rlimits are read from that
//     process, all else from the OCI spec that made it.
//   - Seccomp is runc's own: it is asked once per profile to install it in a process
//     that runs nothing, and the program is read from there (package filter). A
//     compiler of davit's own would differ from the node's libseccomp sooner or later.
//   - One helper process per command: it is in the container for an instant and
//     holds nothing but its request. Its program lies on a read-only mount.
//   - A container is known by pid and start time of its first process. Both are taken
//     once per container, and with them its cgroups, in which the process must be.
//   - A command that ends is not waited for any longer because of what it left
//     running. One whose context ends is killed with its process group.
//
// Out of scope: terminals and input, which are rare and may cost what they cost.
package enter
