// Package printer shows pods to people as kubectl does: the same columns with
// the same words in them, so that what one knows from there can be read here.
// It is pure: `now` is a value, and it writes to what it is given.
package printer
