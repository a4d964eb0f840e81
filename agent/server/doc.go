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
//	GET  /v1/node                       v1.Node
//	GET  /v1/services                   v1.ServiceList, sorted; ?namespace= narrows
//	GET  /v1/configmaps                 v1.ConfigMapList likewise
//	GET  /v1/secrets                    wire.SecretList: keys and sizes, never more
//	GET  /v1/pods/{ns}/{name}           v1.Pod
//	GET  /v1/pods/{ns}/{name}/explain   wire.Explanation; of a pod too that there is
//	                                    not, since its manifest is refused
//	GET  /v1/pods/{ns}/{name}/log       text; Kubernetes' ?container= follow=
//	                                    timestamps= previous= tailLines=
//	                                    sinceSeconds= sinceTime= limitBytes=; a
//	                                    stream that broke off has the trailer
//	                                    Davit-Error
//	POST /v1/pods/{ns}/{name}/exec      ?command= (repeated) container= stdin=
//	                                    stdout= stderr= tty=; upgrades to the
//	                                    frames of package wire
//	POST /v1/pods/{ns}/{name}/portforward  ?port=, uid= if only that pod is meant;
//	                                    connects to the port on the pod's loopback,
//	                                    then upgrades: one request a connection
//	GET    /v1/images                   wire.Images: with the pods that use them
//	POST   /v1/images/pull              wire.ImagePull in, wire.ImagePullEvent a
//	                                    line out
//	POST   /v1/images/load              an archive in, wire.ImagesLoaded out
//	DELETE /v1/images?ref=              404, or 409 for one that is pinned
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
//   - Leaving does not wait for followers, exec sessions and forwarded
//     connections: their context ends, their connections get a deadline, and what
//     still hangs is cut.
//   - Whoever stops reading holds up the sender, by windows of bytes under way,
//     and nobody else: the server goes on reading, so it notices every end at
//     once. Output of an exec session shares the connection with the windows of
//     its input, so a client that takes no output gets to send no more input.
//
// Out of scope: what pods are (agent/report), how a process, a log file or a
// pod's loopback is reached (the Execer, LogStreamer and Dialer that the
// composition root hands in).
package server
