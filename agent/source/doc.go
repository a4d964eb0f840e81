// Package source is where pods come from, and with them ConfigMaps, Secrets and
// Services. A source (Directory, URL) reads what is wanted, and Set merges the
// sources into one desired set that the rest of the agent asks by UID or name.
//
//	Directory --Snapshot--.
//	                       > Set --Get/List/Keep, ConfigMap/Secret/Services--> workers
//	URL ------Snapshot----'   `--Changes (UIDs)-----------------------> who wakes them
//
// # Absence must be proven
//
// A pod that is missing from the desired set is a pod to be stopped, so nothing
// may go missing by mistake:
//
//   - A Snapshot whose Complete is false (the directory cannot be listed, or does
//     not exist; the server was never heard) adds and changes but removes nothing.
//   - A file that was good and is broken now keeps what it last defined; those of
//     its objects that are still good are taken as they are. A file without any
//     object is broken too: an editor that truncates before it writes leaves one.
//     To stop pods, remove their file.
//   - After a restart the agent has records of pods whose file it cannot read.
//     Set.Keep says of such a pod whether it stays: it does while its source has
//     not synced or its file is broken, unless another pod has its name by now.
//     Another source that has not synced does not count.
//   - Of ConfigMaps and Secrets of a directory nothing is recorded. While Set is
//     not Settled, one that is not there may be in a file that cannot be read:
//     what was written into volumes of it stays as it is. A pod that starts then
//     may believe the absence once Set is Synced, or one broken file would hold
//     up every pod.
//
// # Identity
//
// As kubelet's static pods: the name gets the node's as suffix, the UID is 32 hex
// digits, a hash of the content, the node and the file's path or the URL (other
// digits than kubelet's, which hashes Go's internal types). Layout and comments
// are not content, nor is what else stands in the file. An edit is a new pod under
// the same name, but for what may change of a pod that runs: its ephemeral
// containers and its deadline. A metadata.uid in the manifest is kept, as kubelet does; an edit
// then changes the pod under its UID, and what becomes of that is the reader's
// decision. ConfigMaps, Secrets and Services keep their names.
//
// Two that define one kind/namespace/name: the one that held the name first keeps
// it, and the other is a problem that names both. Who held it is known over a
// restart of the agent from its records (Directory.Hold, Set.Hold); a name that is
// held by what cannot be read now goes to nobody else. Without that knowledge the
// older mtime counts among files, then the first name; among sources their order.
// Objects other than pods have no records.
//
// Immutable ConfigMaps and Secrets: kubelet stops to watch them, the API server
// refuses an edit. Here the edit is a problem, and the object stays what it was
// until it is removed, or davit is restarted (from a URL's stored set not even
// then).
//
// # Latency
//
// A manifest is read when it is closed after writing or renamed into place, not
// while it is written: raw inotify rather than a portable library, which has no
// close event. Events are gathered for 10 ms (50 ms at most); a file that is
// replaced without a pause is read every 100 ms or so. A file that is held
// open for writing is read 2 s after the last write, 10 s after the first. Every
// 20 s all is looked over again for what inotify does not show (targets of
// symlinks, network file systems); while there is no watch that is done each
// second. A changed ConfigMap or Secret wakes the pods that name it.
//
// # The URL source
//
// The set is what the last good answer said, and every doubt leaves it so:
// failures, HTML, bodies over 16 MiB (before and after decompression), an empty
// body, text that may have been cut off. Only a list that says that it is empty
// removes all. An answer that is good in part is taken but for that part, as a
// file is. An older answer (Last-Modified) than the one that holds is a mirror that
// lags, until three polls in a row give it: then the server was set back.
//
// The set is stored (mode 0600, with the Secrets that are in it) with its ETag
// before it is delivered, so a restart without the server runs what ran. It is the
// accepted objects that are stored, not the answer: what was kept of a broken one
// is in it. One that cannot be stored leaves none behind, rather than an older one.
// Failures are retried after 1 s, twice that and so on up to 2 minutes, with
// jitter; polls have 10 % of it. What a server may not do is in package fetch.
// User, password and query of the URL are in no message and not in the pods'
// identity.
//
// # Out of scope
//
// What the objects mean (agent/podspec, whose values are used here) and what is
// done about them.
package source
