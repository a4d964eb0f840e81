// Package pump is the log pump: it serves a spool directory (package spool) by
// copying what comes through the FIFOs to log files in the CRI format (package
// cri), and rotates those files.
//
//	FIFO --source--> cri.Encoder --batch--> logFile --write--> <n>.log  (--wake--> followers)
//	FIFO --source--/     (one goroutine per FIFO, one logFile per container)
//
// Decisions:
//
//   - What was read is in the file before more is read, but for the beginning of
//     a line, which is kept until its newline, 16 KiB, or 100 ms without more;
//     then it is written as P, so prompts show and a kill -9 costs at most one
//     chunk (64 KiB) and such a beginning per stream. A byte in shared memory says
//     while there is something to lose, so the next pump says in the file where
//     output may be missing, and the line after it may lack its beginning. All else that can happen to a pump costs nothing:
//     bytes stay in the FIFO as long as anybody holds it (the shim, the agent's
//     client, a successor, or this process).
//   - What nobody holds is gone: if pump and agent are both away (no successor,
//     no client) while a container ends, what is in its FIFOs at that moment, up
//     to 256 KiB each, is lost with them. So a pump is replaced by its successor
//     (handover), not stopped and started, where no agent runs.
//   - FIFOs are opened for both directions, so there is no end of file to spin
//     on, and waited for by Go's poller; a buffer is taken only when there is
//     something to read. So an idle stream costs a goroutine and no buffer.
//   - A log file that cannot be written never blocks a container: blocked
//     containers are an outage, lost log lines are not. The bytes are dropped and
//     counted, a line whose part was dropped is dropped to its end, and as soon as
//     writing works again the file says in place how much is missing.
//   - A file is rotated between lines, never within one, unless a line that
//     stays open has let it grow to twice its limit.
//   - A pump that takes over a file cuts off a torn last record (kill -9 in the
//     middle of a write) and looks up whether the last line was still open.
//   - One pump serves a directory (flock). One of another version asks it to hand
//     over; see Run. The successor holds all FIFOs before the predecessor lets go.
//   - SIGTERM: reads what is in the FIFOs (at most 4 MiB each), writes everything
//     out and leaves.
//
// Out of scope: compressing rotated files; files on which somebody else uses a
// rotating tool (a file that vanished is made anew within half a minute).
package pump
