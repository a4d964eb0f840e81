// Package fetch gets what stands at a URL, from a server that may do anything:
// lie about lengths, never end, redirect for ever, compress a gigabyte into a
// megabyte, end in the middle.
//
// # Decisions
//
// A body is bounded before and after decompression, and one whose end cannot be
// told from its middle (no length, no chunks, no gzip, no JSON) is refused. The
// connection is closed instead of reading on.
//
// Redirects are followed five times, never to plain text from https, and another
// host gets neither credentials, nor configured headers, nor the Referer.
// Certificates are read anew for each request; while new files do not fit together
// the client that works is used.
//
// Errors hold no URL (its user, password or query may be credentials) and no local
// port, so that the same trouble reads the same each time. The first words of an
// answer are told when they cannot be from a manifest.
//
// # Out of scope
//
// When to ask and what to make of the answer: package source.
package fetch
