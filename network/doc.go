// Package network connects pods with the node, the other pods and the world.
//
//	pod namespace                  |  node namespace
//	  eth0  10.85.0.5/32           |    dv1f2e3d4c5b6 (alias: the pod's UID)
//	        default via 169.254.1.1|    10.85.0.5 dev dv1f2e3d4c5b6 src <node address>
//	        fd00:85::5/128         |    fd00:85::5 likewise
//	        default via fe80::1    |
//	                               |    table inet davit-net: masquerade what leaves
//
// # Decisions
//
//   - A pod hangs on a veth pair of its own and the node routes. There is no
//     bridge, so every packet crosses the node's IP stack and its nftables.
//   - The gateways are link-local and belong to nobody. Both ends carry permanent
//     neighbour entries for each other, so nobody ever asks for an address: no
//     first-packet delay, no table of neighbours that can overflow, and IPv6
//     addresses are used without duplicate detection.
//   - Names and hardware addresses are functions of the pod's UID. So every step
//     can be repeated by somebody who knows only the UID, a pair that had to be
//     made again has the same addresses, and udev, which changes hardware
//     addresses that the kernel chose, leaves them alone.
//   - Everything is written with "replace" and not looked for first, so Attach of
//     what was left half-made and of what is whole are the same. What a pod has
//     added to its own namespace stays.
//   - A pod route's src is the node's own address of the family: what the node
//     itself sends to a pod comes from there, whichever link is otherwise first.
//   - Routes carry protocol 218 (0xda). The alias tells whose a link is.
//   - Which addresses are in use is the pods' records' knowledge. Allocate is
//     a pure function over them and there is no second store that could disagree.
//   - Masquerade concerns what pods send to neither a pod nor cluster CIDR, nor to
//     link-local or multicast addresses. Packets to the node's own addresses are
//     delivered and never get there.
//   - rp_filter is left as it is: a pod's route points at its own link, so
//     pods work with the strict mode too, which drops forged IPv4 sources.
//   - IPv6 forwarding makes the kernel ignore router advertisements. Links whose
//     default route came from one get accept_ra=2 before it is switched on, or the
//     node would lose that route when it expires.
//
// # Out of scope, as yet
//
// Routes to other nodes, VXLAN, hostPorts, bandwidth limits, the cni mode. If the
// node's address is taken from its link, the kernel drops the IPv4 routes that
// name it; Check sees that, Attach repairs it, and nobody here watches for it.
package network
