// Package printer shows objects to people as kubectl does: the same columns with
// the same words in them, so that what one knows from there can be read here.
// What they say is made harmless for terminals on its way. It is pure: `now` is a
// value, and it writes to what it is given.
package printer
