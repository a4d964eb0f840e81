// Package subpath gives a place inside of a volume a path that nobody in a pod
// can change, so that a container runtime, which takes paths, mounts that place
// and no other:
//
//	<podDir>/volume-subpaths/<volume>/<container>/<index of the volumeMount>
//
// # Decisions
//
// A pod writes to its volumes while davit looks at them, so no answer about a
// path in one is true for long. Open therefore works in two parts. The first
// reads symlinks and works out where the subPath leads without any of them; it
// may be lied to. The second opens that path with one openat2 that follows no
// symlink and does not leave the volume; the kernel keeps that whatever is
// renamed meanwhile. What is swapped between the two parts makes it fail and be
// tried again, never lead elsewhere. From then on there is only the descriptor.
//
// Symlinks are followed as kubelet does: one that leads out of the volume is an
// error; an absolute one is the host's, so it must lead into the volume by the
// volume's path on the host.
//
// What is missing is made as directories with the mode of the volume's top
// (kubelet gives it to the last of them and leaves the others to the umask; they
// all get it here) one mkdirat after the other in directories that are held
// open.
//
// Bind clones the mount at the descriptor (open_tree) and puts the clone at its
// place (move_mount); no path in the volume is looked up again. Like kubelet's
// bind it does not take mounts below along. What was mounted at the place by an
// earlier call is unmounted first: a key of a configMap, say, is another file
// after each update.
//
// # Out of scope
//
// Unmounting at the pod's end (volumes.Teardown, which knows all mounts of a
// pod), waiting for file systems that do not answer (volumes.SubPath).
package subpath
