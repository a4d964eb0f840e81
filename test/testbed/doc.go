// Package testbed gives a test a node to play with: a network namespace of its
// own, a private containerd inside it, a cgroup parent, and images to run.
//
//	      host                 dv-<id>                     dv-<id>-w
//	+---------------+   +--------------------+      +-----------------------+
//	| go test       |   | lo                 |      | br0 192.0.2.1/24      |
//	|  Bed ---------+-->| eth0 192.0.2.10 ---+------+--- port               |
//	| (unix sockets)|   | containerd, davit  | veth |  no way out           |
//	+---------------+   +--------------------+      +-----------------------+
//
// # Decisions
//
//   - Everything that a Bed makes carries its id: the directory dv-<pid>-<id>
//     below the temporary directory, the namespaces dv-<id> and dv-<id>-w, the
//     cgroup davit-test-<id>. So cleaning up needs no memory, and Sweep can
//     clean up after a test process that was killed. Whether it lives is told
//     by a lock that it holds on its directory, not by its pid, which the
//     kernel may have given to somebody else.
//   - Paths are short, since a unix socket's path has at most 107 bytes.
//   - The default route ends in the wire namespace: packets to anywhere are
//     routed, seen by nftables, and go nowhere.
//   - nsenter --net and not "ip netns exec", which remounts /sys and hides the
//     cgroups.
//   - A process belongs to the Bed if it is in the Bed's network namespace, in
//     its cgroup, is a shim of its containerd, descends from one of these, or
//     has its root file system below the Bed's directory. Containers of a shim
//     that was killed have no other trace than the last.
//   - Failing loudly: where root, containerd, runc, busybox or a kernel feature
//     is missing, New fails the test; it never skips.
//
// Out of scope: several nodes' pod routing, control planes, virtual machines.
package testbed
