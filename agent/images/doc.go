// Package images decides when images are pulled and pulls them: for containers,
// by their pull policy and with their pod's credentials, and for the command
// line.
//
//	worker[uid] --Ensure--> claim[container ID] --> lookup --present--> image
//	     ^                        |                   |
//	     |                        |            not here, or Always
//	     `---Wake(uid)---.        |                   v
//	                     '--- progress, end <-- pull[image, credentials]
//	                                                  |  at most MaxParallel run,
//	                                                  v  the others wait in a row
//	                                             Runtime.Pull
//
// Ensure answers at once: a worker that waited for a registry could not delete
// its pod meanwhile. A claim is what one attempt of a container wants and how far
// that is; it lives from the first Ensure to the one that returns an image, or to
// Release. A pull lives as long as somebody claims it.
//
// Decisions:
//
//   - Level, not edge. A wake means "ask again"; nothing is told by it. What a
//     killed agent had under way is asked for again by the next one.
//   - Pulls are shared by image and credentials, not by image alone: who may not
//     read an image gets no part of a pull that another's password pays for.
//     (Once an image is on the node, IfNotPresent and Never give it to every pod,
//     as with any kubelet that does not verify credentials again.)
//   - Always pulls once for each attempt of a container, whether the image is
//     here or not, and fails if the registry is away; as kubelet does.
//   - Looking an image up may unpack it, which takes a while: Ensure waits for
//     lookupPatience and then leaves that to the background as well.
//   - Failures are final for this try: when to try again is lifecycle's. A
//     failed pull stands for a few seconds, whoever asks meanwhile.
//   - A pull that ends because containerd is away is no failed pull: its reason is
//     that of a lookup then, for which lifecycle does not wait longer each time.
//   - Broken and missing pull secrets are no failure of their own; if the pull
//     fails they are told beside its error.
//
// Out of scope: fetching and unpacking (runtime.Images), back-off
// (agent/lifecycle), removing what is not used any more.
package images
