// Package conventions holds tests that keep the shape of the tree: which package
// may import which, how long things may get, what must be documented, and where
// calls that only one room may make are made. Each rule says why it is there,
// and is itself tested with something that breaks it.
//
// A budget is exceeded on purpose with a comment in place:
//
//	//budget: why
//
// above the package clause for a file or, in doc.go, a package's size; in the
// doc comment of a function, type or method, or above it, for all else.
package conventions
