// Package report is where the statuses of this node's pods meet: the workers
// write them into a Table, and everything that shows pods (the local API, later
// the API server's status patches, of which this package will be the only
// writer) reads them there.
//
//	worker[uid] --Set--> Table --List, Get--> whoever asks
//	                       |
//	                       `--Watch--> one goroutine for each watcher
//
// Decisions:
//
//   - Level, not edge. A watcher is told of the newest state of each pod. States
//     that came and went while it was slow are never kept, so what waits for a
//     watcher is bounded by the number of pods, and a writer never blocks.
//   - A pod handed to Set belongs to the table: nobody changes it afterwards, and
//     readers share it without copying. Equal pods are no event.
//   - Pods are keyed by UID: an edited manifest is a new pod, so for a while two
//     pods may bear one name. Get then prefers the one that is not being deleted.
//   - Events are k8s.io/apimachinery/pkg/watch.Event with a *v1.Pod, in
//     Kubernetes' own form, so that consumers need not know this package.
//
// Beside the table, Node makes the v1.Node of what is known of the machine: a
// function of values, which whoever shows or registers the node calls.
//
// Out of scope: computing a status (agent/lifecycle) and storing it (agent/pods).
package report
