// Package agent is davit's composition root: the configuration, the parts put
// together, and the group that runs them.
//
//	source.Directory --deliver--> source.Set --wakes--> pods.Pods --statuses--> report.Table
//	                                                     |                        |
//	                     containerd.Client, sandboxes, network, volumes,      server.Server
//	                     cgroups, log pump                                    (socket, metrics)
//
// Here is no pod logic: adapters.go turns each package's types into the
// interfaces that others declare, so that no package below agent/ knows another
// one's concrete types. Every part has Run(ctx), which returns when ctx ends and
// leaves alive what it serves; Cleanup is the opposite of all of them together.
package agent
