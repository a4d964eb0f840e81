// Package podspec says what a manifest means: Pods, and the ConfigMaps, Secrets
// and Services that go with them. It is pure: text and values in, values out.
//
//	Decode(text)        objects, and problems with file, line and field
//	Default(pod)        fills in what the Kubernetes API would fill in
//	Validate(pod)       what Kubernetes would refuse
//	Unsupported(pod)    what Kubernetes would take and davit cannot do yet
//
// A pod is run only when the last two return nothing. Read does all four, and
// the same for the other kinds, of which every field is taken.
//
// # Decisions
//
// Unsupported is an allowlist. Rows holds one line for every field of
// a Pod: supported (perhaps with some values only), ignored by design, or not
// yet. The pod's Go value is walked by reflection, and a field that is set and
// has no row is refused as well, so a field that a newer k8s.io/api brings is
// never silently dropped. A test fails when a field has no row. The table is data:
// docs/podspec.md is made from it.
//
// "Ignored by design" are fields that address somebody else: the scheduler
// (affinity, tolerations, nodeSelector, priority, nodeName, ...; a pod from a
// file is bound to this node already), the API server (resourceVersion,
// managedFields, status, ...), and service accounts, whose tokens only a control
// plane can issue: automountServiceAccountToken asks for nothing where there is
// none.
//
// Defaults are filled in before a pod is validated, but its identity is a hash
// of what is written in the file (Object.Digest): neither the layout nor a
// comment, nor a default that a newer davit fills in, makes another pod of it.
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
// Other kinds, admission, and validation of fields that
// Unsupported refuses anyway.
package podspec
