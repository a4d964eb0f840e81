// Package hooks runs the postStart and preStop handlers of containers as kubelet
// 1.36 does, each in a goroutine of its own.
//
//	worker[uid] --Begin(attempt, kind, deadline)--> Runner --> exec, httpGet, sleep
//	     ^                                            |
//	     +-- Wake(uid), when one has ended -----------+
//	     `-- Seen(uid): begun, done, why it failed
//
// # Decisions
//
//   - Level, not edge. Begin of what has begun does nothing, so whoever decides may
//     call it at every turn; Wake carries no payload. A hook belongs to an attempt,
//     by its ID, and goes with it (Release).
//   - Memory only. Whether a hook that an earlier process began is to run again is
//     decided by who keeps the record.
//   - A hook ends at its deadline, which for preStop is that of the pod's grace. Its
//     command is killed then (with kubelet it goes on for the 2 s that the container
//     still has) and it has failed with 137, as kubelet finds in the end. A request
//     is broken off, which is a failure, too. A sleep is just over, for kubelet
//     never hears of it again.
//   - What a container wrote is in Failure and never in a log, for it may hold a
//     secret. kubelet keeps it from its events for the same reason.
//   - httpGet succeeds with any answer, whatever its status. An HTTPS request that
//     gets a plain answer is made again over HTTP.
//   - tcpSocket is in the API and has no meaning: it fails, as on kubelet.
//   - Commands are run as they are written: $(NAME) is not expanded in hooks.
//
// # Out of scope
//
// When a hook is to run and what follows (agent/lifecycle), entering a container
// (Execer) and namespaces (Dialer).
package hooks
