// Package manifests edits a directory of manifests as davit apply and davit
// delete do: one object, one file.
//
//	Read(text)           objects, by the reader that the daemon has; or problems
//	Open(dir)            locks the directory and looks at what is in it
//	Dir.Apply(objects)   what would have to be written; an error if any must not be
//	Dir.Delete(id)       likewise what would have to go
//	Dir.Do(change)       does it
//
// Planning comes before doing, so that of several objects either all are taken or
// none is touched.
//
// # Decisions
//
//   - A file that apply writes holds one object, begins with Mark and is called
//     kind-namespace-name.yaml. It appears whole or not at all (written aside,
//     synced, renamed), and the daemon never sees the file aside: its name begins
//     with a dot. Secrets are readable by their owner alone from the first byte.
//   - Files of others are theirs. An object that stands in one is not written a
//     second time, which would be a name claimed twice; the error names the file.
//     Force takes over a file that holds nothing else.
//   - What is compared is content: layout and comments make no change, and neither
//     does naming the namespace that is meant anyway.
//   - A directory is changed by one apply or delete at a time (flock); editors and
//     other tools are not kept out, but a rename does not mix with anybody's write.
//
// # Out of scope
//
// Merging (what is applied is the whole object), directories below the directory,
// and waiting for what the daemon makes of it.
package manifests
