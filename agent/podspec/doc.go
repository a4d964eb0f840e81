// Package podspec says what a manifest means: Pods, and the ConfigMaps, Secrets
// and Services that go with them. It is pure: text and values in, values out.
//
//	Decode(text)        objects, and problems with file, line and field
//	Default(pod)        fills in what the Kubernetes API would fill in  (package pod)
//	Validate(pod)       what Kubernetes would refuse                    (package pod)
//	Unsupported(pod)    what Kubernetes would take and davit cannot do  (package support)
//
// A pod is run only when the last two return nothing. Read does all four, and
// the same for the other kinds, of which every field is taken.
//
// # Decisions
//
// What davit does with each field of a Pod is data, the table support.Rows;
// docs/podspec.md is made from it.
//
// Defaults are filled in before a pod is validated, but its identity is a hash
// of what is written in the file (Object.Digest): neither the layout nor a
// comment, nor a default that a newer davit fills in, makes another pod of it.
// Nor do ephemeral containers, which are written into the manifest of a pod that
// runs to look into it, nor its deadline, which may change while it runs.
//
// dnsPolicy ClusterFirst is taken; without configured DNS servers it means
// Default, as for kubelet, and so it does with hostNetwork.
//
// A Secret's values are in no message: what strictyaml says of a text comes in two
// forms, and in a text with a Secret the one without values is told. Keys are
// names, not values, and are told.
//
// What a Service means for routing is not looked at here; it is validated as the
// API does in what routing builds on (ports, addresses, policies). Its addresses
// and node ports are those that are written: nobody allocates any.
//
// # Out of scope
//
// Other kinds, admission, and validation of fields that Unsupported refuses
// anyway.
package podspec
