// Package upgrade holds davit to its versioned format: pods that the previous
// landed version started are adopted by this tree's, with no restart, the same
// addresses and all their output; and the other way round, for what goes wrong
// after an upgrade is gone back on.
//
// The file PREVIOUS names the commit of that version. Whoever lands a change of
// what davit leaves running moves it on in a commit of its own, afterwards.
package upgrade
