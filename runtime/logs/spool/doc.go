// Package spool is what the log pump and its clients share: a directory that
// says which containers' outputs are to be copied, and a socket to speak about
// it. Both are versioned formats, for a pump outlives the agent that started it
// and meets the next one.
//
//	<dir>/                 0700
//	  pump.lock            flock'ed by the one pump that serves the directory
//	  pump.sock            0600, its socket
//	  <id>/                one container
//	    stdout, stderr     FIFOs (a terminal has stdout only)
//	    spec.json          Spec; written last, by rename: from then on the entry counts
//	    unwritten            the pump's: a byte per FIFO, 1 while it holds output that is
//	                         not in the log file; one that was killed leaves it so
//	    closing.json         spec.json under another name: the container has ended, drain
//	                         and remove the entry
//	  .gone-<id>/          an entry that is being removed
//
// The directory is the truth and the socket only says "look": a pump may be
// killed at any moment, the next one reads the directory and goes on. An entry
// is made by the client and removed by the pump (by the client only while there
// is no spec.json).
//
// # Socket
//
// A stream of JSON objects, one a line, at most MaxMessage bytes each. The client
// sends a Request, the pump answers with one Reply, and so on until one side
// closes; OpFollow and OpHandover are the last request of their connection.
//
//	status             -> {ok, version, pid, streams, lostBytes}
//	sync id            -> take up, or drain and remove, what the directory says of id;
//	                      answered when it is done
//	follow id          -> {ok}, then {event: wake} after the log file changed (coalesced)
//	                      and {event: end} once the entry is gone. No log data passes
//	                      here: followers read the files, so nothing is lost or doubled
//	                      when either side is restarted, and none can slow the pump
//	handover           -> {ok}: the pump takes up nothing new; the client now opens all
//	                      FIFOs and sends {op: go}; the pump writes out what it holds,
//	                      leaves the FIFOs as they are and exits. If the connection ends
//	                      before go, the pump carries on
//
// Only the standard library and x/sys: this is linked into the pump's program.
package spool
