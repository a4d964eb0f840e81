// Package source is where pods come from. A source (today: Directory) reads what
// is wanted, and Set merges the sources into one desired set that the rest of
// the agent asks by UID.
//
//	Directory --Snapshot--> Set --Get/List/Keep--> workers
//	                         `--Changes (UIDs)---> who wakes them
//
// # Absence must be proven
//
// A pod that is missing from the desired set is a pod to be stopped, so nothing
// may go missing by mistake:
//
//   - A Snapshot whose Complete is false (the directory cannot be listed, or does
//     not exist) adds and changes pods but removes none.
//   - A file that was good and is broken now keeps the pods that it last defined;
//     those of its objects that are still good are taken as they are. A file
//     without any object is broken too: an editor that truncates before it writes
//     leaves one. To stop pods, remove their file.
//   - After a restart the agent has records of pods whose file it cannot read.
//     Set.Keep says of such a pod whether it stays: it does while its source has
//     not synced or its file is broken, unless another pod has its name by now.
//
// # Identity
//
// As kubelet's static pods: the name gets the node's as suffix, the UID is 32 hex
// digits, a hash of the content, the node and the file's path (other digits than
// kubelet's, which hashes Go's internal types). Layout and comments are not
// content. An edit is a new pod under the same name. A metadata.uid in
// the manifest is kept, as kubelet does; an edit then changes the pod under its
// UID, and what becomes of that is the reader's decision.
//
// Two files that define one namespace/name: the one that held the name first
// keeps it (also over a restart of the agent, by Directory.Hold from its records,
// else the older mtime, else the first name), and the other is a problem that
// names both files.
//
// # Latency
//
// A manifest is read when it is closed after writing or renamed into place, not
// while it is written: raw inotify rather than a portable library, which has no
// close event. Events are gathered for 10 ms (50 ms at most). A file that is held
// open for writing is read 2 s after the last write, 10 s after the first. Every 20 s all is
// looked over again for what inotify does not show (targets of symlinks, network
// file systems); while there is no watch that is done each second.
//
// # Out of scope
//
// What the pods mean (agent/podspec, whose values are used here) and what is done
// about them.
package source
