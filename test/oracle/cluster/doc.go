// Package cluster gives a test a real kubelet: etcd, kube-apiserver and kubelet
// of one Kubernetes version, built from their Go modules, and a containerd of
// its own, in one network namespace without a way out.
//
//	testbed.Bed's network namespace              private mount namespace
//	+--------------------------------------+     (/var/lib, /var/log empty,
//	| etcd 127.0.0.1:2379                  |      some of /proc/sys covered)
//	|   ^                                  |
//	| kube-apiserver 192.0.2.10:6443 <-----+---- test: Client over DialTCP
//	|   ^                                  |
//	| kubelet n1 --CRI--> containerd ------+---> pods in namespaces of CNI's
//	+--------------------------------------+     ptp plugin, cgroup
//	                                             /davit-test-<id>/kubepods
//
// # Decisions
//
//   - No controllers and no scheduler: a pod is created with its node's name,
//     and service accounts are not asked for. So what a pod shows comes from
//     kubelet alone.
//   - Everyone has a client certificate and may do everything: what a kubelet
//     may do is not asked here.
//   - kubelet and the CNI library write to some directories and kernel settings
//     that no configuration moves. A mount namespace that dies with its last
//     process hides the machine's own from them.
//   - Removing is testbed's: it ends what is in the network namespace, the
//     cgroup or a shim of the containerd, and removes the directory.
//   - kubelet's defaults are kept but where they concern this machine.
//
// Out of scope: several nodes, controllers, kubelet's own API, the program on
// cgroup v2 (test/vm).
package cluster
