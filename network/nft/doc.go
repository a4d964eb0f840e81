// Package nft keeps davit's nftables tables as they are wanted. A Table is a
// value: everything that is wanted in it. A Keeper makes the kernel's table
// equal to it in one atomic batch, and repairs it when somebody else changes
// it. There is no add or delete of single rules in the interface.
//
//	Set(Table) --compare--> equal: nothing is sent
//	               `-----> differs: table, chains and rules are replaced in one batch
//
//	Run: events of others about our tables, lost events, and a slow recheck
//	     ---> compare every table, replace those that differ
//
// # Decisions
//
//   - What is there is compared with what is wanted expression by expression, in
//     the netlink form. So a new agent adopts the table that the old one left
//     without touching it, provided that the kernel reports each expression as
//     it was given. Where it does not, the first Set of a process replaces the
//     table once and remembers how the kernel shows it.
//   - The tables are ours by name. The OWNER flag is not set: such a table dies
//     with the socket that made it.
//   - Own commits are told from others' by the port id of the socket that caused an
//     event, which the kernel writes into the header of each of its messages.
//     (The generation message's process id is a thread's, and the generation id
//     cannot be tied to a commit without a race.)
//   - An event names its table, so commits to tables of others cost nothing. An
//     overrun of the event socket (ENOBUFS) counts as a change of every table.
//   - If somebody changes a table again and again, it is repaired at most every
//     repairEvery.
//
// # Out of scope, as yet
//
// Sets, maps and elements, and with them incremental changes and batches that
// exceed a socket's buffer: they come with the Service proxy. A set in one of
// our tables is therefore foreign and makes the table differ.
package nft
