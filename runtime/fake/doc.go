// Package fake is a model of a container runtime in memory, for tests of what
// stands on runtime.Runtime. It is held to the contract by the same suite as
// the real one, runtime/runtimetest.
//
// # Shape
//
// A Node is the world: images, containers and their processes, sandboxes, log
// streams, and the daemon, which can be taken away. A Runtime is what one agent
// process knows of it; another Runtime on the same Node is the agent after a
// restart, which has to be told by Adopt what its predecessor knew.
//
//	node := fake.New(t)
//	node.AddImage(&runtime.Image{...})
//	rt := node.Runtime()
//	...
//	node.End(id, runtime.Exit{Code: 42})  // a process ends
//	node.StopDaemon(); node.StartDaemon(fake.LoseStopped)
//	node.Fail(fake.Fault{Op: "start", Nth: 2, Err: errors.New("boom")})
//
// # Decisions
//
//   - Strict: what the contract rules out fails the test at once, with what was
//     asked and a picture of the Node. Among it: an ID that is not
//     runtime.ContainerID's or that ran before, an image that is not on the
//     node, a sandbox that is removed before its containers, a container that
//     names a sandbox's namespace which is not there, log streams closed under
//     a running container.
//   - Processes end when told to (End, Signal), when the program they run ends of
//     itself (Program.RunFor) or by a signal. Which program a container runs is
//     read from its command as podtool's (test/testbed/cmd/podtool), so that one
//     suite drives containers here and there; Node.Programs overrides that.
//   - Nothing runs in the background but timers: a Node can live in a
//     testing/synctest bubble.
//
// Out of scope: file systems, networks, limits; a fake exec runs podtool's
// simplest commands only.
package fake
