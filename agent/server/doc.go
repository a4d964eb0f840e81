// Package server is the node's HTTP API. So far it is local: HTTP/1.1 on a unix
// socket that only root may open, which the command line uses, and a metrics
// listener on TCP that serves nothing else.
//
//	GET  /healthz                       200 "ok", or 503 and why not
//	GET  /metrics                       Prometheus text
//	GET  /v1/version                    wire.Version
//	GET  /v1/problems                   wire.Problems: manifests that are not used
//	GET  /v1/pods                       v1.PodList, sorted; ?namespace= narrows
//	GET  /v1/pods?watch=true            metav1.WatchEvent, one a line: first all
//	                                    pods as ADDED, then what changes; a slow
//	                                    reader misses states, never the newest
//	GET  /v1/pods/{ns}/{name}           v1.Pod
//	GET  /v1/pods/{ns}/{name}/log       text; ?container= follow= timestamps=
//	                                    previous=; a stream that broke off has the
//	                                    trailer Davit-Error
//	POST /v1/pods/{ns}/{name}/exec      ?command= (repeated) container= stdin=
//	                                    stdout= stderr= tty=; upgrades to the
//	                                    frames of package wire
//
// {name} is the pod's name, or the name without the node's suffix that static
// pods get (web for web-node1). The container may be left out: then it is the
// one that the annotation kubectl.kubernetes.io/default-container names, else
// the first, and the header Davit-Notice says so. Errors are metav1.Status.
//
// Decisions:
//
//   - Kubernetes' shapes wherever it has one, so that jq lines and client
//     libraries carry over; but no API machinery: no resource versions, no
//     selectors.
//   - The file mode of the socket is the access control. It is made in a
//     directory of mode 0700 and moved into place, so that it can never be
//     opened with a wider mode, and it replaces an older one only if nobody
//     answers there.
//   - Leaving does not wait for followers and exec sessions: their context ends,
//     their connections get a deadline, and what still hangs is cut.
//
// Out of scope: what pods are (agent/report), how a process or a log file is
// reached (the Execer and LogStreamer that the composition root hands in).
package server
