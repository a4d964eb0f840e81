// Package cri reads and writes the CRI log format: one record a line,
//
//	2026-01-02T03:04:05.000000006Z stdout F the text
//
// time stamp, stream, tag, text. The tag F ends a line of the container's
// output, P is a piece of one whose rest follows in later records of the same
// stream; a line is P* F.
//
// Decisions:
//   - What is written has time stamps of fixed width, in UTC. So a header always
//     has HeaderLen bytes and the tag of a record is found without parsing. What
//     is read may have any RFC 3339 time and further tags ("F:x").
//   - A piece holds at most MaxContent bytes, as containerd's CRI plugin has it;
//     log collectors size their buffers by that.
//   - A rotated file is named like kubelet's (<live file>.<YYYYMMDD-HHMMSS>), so
//     names in ascending order are files in the order of their content.
//
// Pure but for Rotated, which reads a directory. No dependency beside the
// standard library: the log pump's program is kept small.
package cri
