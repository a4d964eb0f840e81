// Package runtimetest is the contract of runtime.Runtime and runtime.Watcher as
// tests. Run holds an implementation to it through a Harness; runtime/fake and
// runtime/containerd both pass, the latter on every containerd that davit
// supports. What only one of them can show (shims, log files, leases) is tested
// beside it.
//
// Containers run podtool (test/testbed/cmd/podtool) from an image that the
// harness provides, so their behaviour is named in one place: Program.
package runtimetest
