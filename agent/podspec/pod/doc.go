// Package pod knows what the Kubernetes API server does with a pod before it
// stores it: Default fills fields in, Validate refuses. Both hold for pods from
// files, which no API server has seen.
//
// # Decisions
//
// The rules are those of Kubernetes 1.36 with its feature gates as they are by
// default; so are the texts, but that they name a remedy where Kubernetes only
// says "Required value". What is an alpha feature there and works here (a
// container's stopSignal) is checked as Kubernetes would with the feature on.
//
// Ephemeral containers may stand in a pod that is created: without an API server
// there is no other way to ask for one.
//
// Requests are filled in from limits before any is rounded, as the API server
// does it: a pod's request may so be less than its containers' rounded ones
// together, and is refused there, too.
//
// # Out of scope
//
// Fields that davit ignores or does not support (package support), and admission,
// which needs to know the node.
package pod
