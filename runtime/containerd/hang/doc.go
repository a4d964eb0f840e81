// Package hang finds out what a container's end, or an answer of its shim,
// waits for: processes that even SIGKILL does not end because they are inside of
// the kernel, a shim that is stopped, an OCI runtime that does not return. It
// only looks, at files of /proc and cgroups that take no lock which a hanging
// process may hold (so not at cmdline, maps or fd of any but shims).
package hang
