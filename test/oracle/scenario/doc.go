// Package scenario says what a scenario is: a pod, the objects it needs, what
// happens to it and when, and until when it is watched. The same files are
// played on a real kubelet (which gives the goldens), on davit's pure core with
// a synthetic clock, and on davit with real containers.
//
// # Decisions
//
//   - Moments are told by what is seen, not by the clock alone: "2 s after main
//     runs" means the same on a quiet and on a busy machine. Actions happen in
//     the order of the script; the moment of one is looked for from when the one
//     before it was done.
//   - A Play is the script's cursor, a value that is fed with what is seen and
//     the time. All players turn it the same way, so none of them reads a script.
//   - What containers do is written in the language of package actor.
//   - Files are decoded strictly: a key that is misspelt is an error.
//
// There is no IO here but the fs.FS that is passed in, and no clock.
//
// # Out of scope
//
// What is compared, and how: package golden.
package scenario
