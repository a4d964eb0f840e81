// Package atomic writes the files of a volume so that a reader sees either all
// of the old ones or all of the new ones, in the layout that kubelet's users
// know:
//
//	<dir>/..2026_11_23_12_29_39.0123456789/key    the files of one generation
//	<dir>/..data -> ..2026_11_23_12_29_39.0123456789
//	<dir>/key -> ..data/key
//
// # Decisions
//
// Replacing ..data by rename(2) is the only instant at which content changes.
// Links for new files are made after it and links of old ones removed after it,
// so that a name a reader finds has content, but for one that is just going.
//
// Write converges: it looks at what is there, does what is missing and may be
// cut at any instant, by kill -9 or by an error; the next Write removes what was
// left. A generation with the wanted content, modes and groups is kept and then
// nothing is written. There is no fsync: after a power cut the content is
// compared before a container is started, and written again.
//
// The generation that was replaced stays until the next Write or Sweep, and
// longer if the caller says so (Options.Keep): who resolves a path, or reads one
// file after the other through a descriptor of ..data, needs it a little longer.
// kubelet removes it at once, and a reader that is interrupted between reading
// the link and following it finds nothing, or a part.
//
// Everything is done through an os.Root: whatever a symlink in the volume says,
// nothing outside of it is touched.
//
// A mount point that another volume of a container needs inside of this one is
// made as a directory beside ..data (containers cannot make it, the volume is
// read-only for them). It has to outlive generations, so it hides a key of the
// same name.
//
// # Out of scope
//
// Locking: one Write or Sweep of a directory at a time.
package atomic
