// Package payload computes the files of a configMap, secret, downwardAPI or
// projected volume. It is pure: values in, a map of relative path to content and
// mode out.
//
// # Decisions
//
// All four kinds are one: a configMap, secret or downwardAPI volume is a
// projected volume with one source, so there is one place where keys become
// paths. Of two sources with the same path the later wins, as in kubelet; a path
// that one source uses as a file and another as a directory is an error.
//
// Paths are checked here again although manifests are validated, because what
// leaves this package is written by root: relative, no "..", no name that
// begins with ".." at the top (those are the writer's own), at most 4096 bytes
// and 255 for each name.
//
// Messages are kubelet's, for people search for them.
//
// # Out of scope
//
// serviceAccountToken, clusterTrustBundle and podCertificate sources, which need
// an API server; what is too large, which the sources of objects refuse.
package payload
