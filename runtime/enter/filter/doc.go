// Package filter has the OCI runtime translate seccomp profiles.
//
// A profile of an OCI spec becomes a program for the kernel in the OCI runtime, by
// libseccomp, and what comes out depends on the versions of both: which system calls
// they know, what calls get that came later (runc answers ENOSYS to those), how
// other ABIs are treated. A process that joins a container must get exactly the verdicts
// that the container gets. So the runtime installs it: a container that
// never runs anything is created from the profile, the program is read from its
// first process (PTRACE_SECCOMP_GET_FILTER, Linux 4.4, CONFIG_CHECKPOINT_RESTORE) and
// the container is deleted. That takes about 0.1 s, once per profile: as many as
// there are different sets of capabilities among a node's containers.
//
// Decisions:
//   - Not the container that is to be entered is read: stopping its process, even for
//     a millisecond, makes some of its system calls fail with EINTR, and it may have
//     added programs of its own.
//   - The runtime keeps its state in the given directory, apart from containerd's.
//   - What failed is tried anew only after a minute.
//
// Out of scope: profiles that ask a listener; runtimes that install the filter later
// than at creation (crun): Get fails, and the caller does without.
package filter
