// Package fuse is a file system that stops answering, for tests of what has to
// go on all the same. It speaks just enough of the kernel's protocol
// (include/uapi/linux/fuse.h) for a directory with two files: /fine, which says
// so, and /hang, of which no read is ever answered. After Stop nothing at all
// is answered; after Freeze nothing is even taken, as with a network file system whose
// server went away.
//
// A request that the server has taken and does not answer cannot be
// interrupted, not even by SIGKILL (fs/fuse/dev.c, request_wait_answer): who
// made it stays in state D until the connection ends. So that this depends on
// nobody who may hang, the server is a process of its own (the test's program
// again) with the only descriptor of the connection: its end is the connection's, upon
// which all that waits gets an error. Lift kills it, and it leaves by itself when
// the test's process is gone or, which is as much as that can do while one of
// its threads hangs, a zombie.
package fuse
