// Package inside is the half of runtime/enter that runs in the helper program:
// it starts one command inside a container and waits for it.
//
//	davit ── starts ──> helper ── clone3 ──> A ── clone(CLONE_PARENT) ──> B ── execve
//	                      │ waits for B      joins, gives up, ends         the command
//
// The helper itself joins nothing. What has to be done before the command runs is
// computed beforehand as a list of system calls (plan.go). Process A, a copy of the
// helper without its threads, performs the first part: it joins cgroups and
// namespaces and takes on the limits, user, capabilities and seccomp filter of the
// container. It is in no PID namespace but the host's, so that no container sees it.
// Only when it can do nothing that the container's first process could not do, it
// makes B, which is in the container's PID namespace, and ends. So whoever traces or
// takes over B, which CAP_SYS_PTRACE allows, gains nothing: B holds the two outputs
// and a pipe to tell of its failure, and a copy of this helper's memory, in which is
// the request and nothing else. The program it came from lies on a read-only mount
// of its own (runtime/enter), so writing through /proc/PID/exe fails too.
//
// Decisions:
//   - The list is performed by one small loop with raw system calls: after a fork
//     without its other threads no Go code that may grow a stack or take a lock can
//     run, and the list can be tested as a value.
//   - Everything that fails before execve is reported as such. Nothing was run then,
//     and the caller can go the long way.
//   - B dies with the helper (PR_SET_PDEATHSIG), and the helper kills B's process
//     group when davit closes its end of the request, by will or by dying.
//   - A process in a hierarchy of cgroup version 1 moves itself by writing 0 to
//     tasks, which is the one way that does not take the kernel's lock on all forks.
//
// Out of scope: terminals, input, user namespaces, labels of AppArmor and SELinux.
package inside
