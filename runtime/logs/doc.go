// Package logs is the agent's side of the log pump: it makes and closes log
// streams (runtime.Logs), prints and follows logs, and sees to it that a pump
// runs. The pump itself is a process of its own, `davit-helper logs`, with its
// code in logs/pump; what both sides share is logs/spool, and logs/cri is the
// file format.
//
//	agent ── Client ──writes──> <runDir>/logs/<id>/{stdout,stderr,spec.json}
//	            │                       │
//	            │  socket: "look"       ▼ takes up
//	            ├──────────────> pump (own session; outlives the agent)
//	            │                       │ writes, rotates
//	            └──reads────────> /var/log/pods/.../<n>.log
//
// Decisions:
//
//   - Everything is level triggered. Open and Close change the directory and then
//     tell the pump to look. If no pump is there, Open succeeds (the FIFOs hold
//     some 256 KiB until one is) and Close says so and is completed by whichever
//     pump comes next, or by calling it again.
//   - While the agent runs it holds every FIFO open, so what is in them survives
//     a moment without a pump, even when the container ends in that moment.
//   - Followers read the files. Their place is (file, offset after the last whole
//     record), so no restart on either side loses or doubles a line; the socket
//     only says that there is more. A follower that is slower than its container
//     for longer than the kept files last misses what was deleted.
//   - The last lines are found backwards from the end, in little more than what
//     they take. A line counts where it begins; its pieces may lie apart, since
//     the other stream's lines come between. Whether a stream's oldest piece in
//     sight begins a line shows only further back: that is looked for over 1 MiB
//     at most, so a rest of a line begun before that counts as a line.
//   - Since is compared with the time of a line's beginning, as it is in the file,
//     from the oldest file on: clocks may step back, so nothing is skipped.
//   - The supervisor replaces a pump of another version by starting its own,
//     which asks the old one to hand over; nothing is lost in that.
//
// Where an init system kills what a service leaves behind (systemd's
// KillMode=control-group), the pump must be a unit of its own: Config.External.
package logs
