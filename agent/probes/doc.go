// Package probes runs the startup, liveness and readiness probes of the
// containers of this node as kubelet 1.36 does, and keeps a table of what they
// have come to, which lifecycle reads as values.
//
//	worker[uid] --Set(pod, address, running attempts)--> Prober
//	     ^                                                 | a goroutine for each probe of each attempt
//	     |                                                 v
//	     +-- Wake(uid) -- vitals (pure) <--- outcome --- check: exec, httpGet, tcpSocket, grpc
//	     `-- Health(uid) --'
//
// What a probe's outcome means is decided by vitals, a pure value: it knows the
// thresholds, what is on hold, and when which probe is due. The rim waits for
// that time, asks the container, and tells vitals what it heard.
//
//	      startup        liveness                 readiness
//	begin unknown        healthy                  as recorded; a new attempt is not ready
//	runs  until decided  once started,            once started, for as long
//	                     until it has failed      as the container runs
//	ends  Started or     Failed                   never
//	      Failed
//
// # Decisions
//
//   - Level, not edge. Set is the whole desire of one pod and an equal Set is a
//     no-op; Wake carries no payload. Results belong to an attempt, by its ID, and
//     go with it.
//   - What is recorded of an attempt (lifecycle.Probing: Started, Ready) is where
//     its probes begin, so that neither flaps when the agent is restarted, and
//     there is no second startup phase. Afterwards the table here is what is true.
//   - The first probe of an attempt runs when initialDelaySeconds have passed since
//     its start (kubelet's ticks are not tied to that: up to a period later).
//     Readiness and liveness run as soon as the container has started.
//   - Results in a row are counted within an attempt. (kubelet's row goes on over a
//     restart of the container, so that one failure can be the third.)
//   - Attempts that are older than this process are probed after a random part of
//     their period, so that a thousand probes do not run at once after a restart.
//   - A probe that could not be made (the namespace is gone, the command is not
//     there, a port has no such name, the answer broke off in the middle of the
//     body) is tried three times at once and then counts as nothing: it is no
//     statement about the container. All else that goes wrong is a failure.
//   - Network probes are dialled from the pod's own network namespace, see Dialer.
//     What "host" names is looked up as the node does it and dialled from there.
//   - Connections are closed the ordinary way: with a FIN and without linger.
//     kubelet sets SO_LINGER to 1 s, which is meant to shorten TIME_WAIT; on Linux
//     6.18 it does not, and close waits. TIME_WAIT stays in the pod's own namespace,
//     so that no probe takes ports away from the node or from another pod.
//   - A stopping container is only asked for its readiness.
//   - One timer a probe, at the time when it is due, and none while it waits for
//     the startup probe. There is no poll.
//   - What a probe answered is in Health and in events, which the pod's owner
//     reads; it is not logged, for it may hold anything.
//
// # Out of scope
//
// What follows from a failed probe (agent/lifecycle), entering a container
// (Execer) and namespaces (Dialer), storing results.
package probes
