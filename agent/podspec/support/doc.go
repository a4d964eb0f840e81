// Package support says what davit does with every field of a Pod: Rows is a
// table, Refusals holds a pod against it, docs/podspec.md is written from it.
//
// # Decisions
//
// The table is an allowlist. A pod's Go value is walked by reflection, and a
// field that is set and has no row is refused, so a field that a newer
// k8s.io/api brings is never silently dropped. A test fails when a field has no
// row.
//
// Containers of all three kinds share the rows of spec.containers[]; init and
// ephemeral containers have rows of their own where they differ.
//
// What is refused says why: the note of its row is part of the message. What
// Kubernetes itself would refuse (Invalid) is left to validation, in package pod.
//
// "Ignored by design" are fields that address somebody else: the scheduler
// (affinity, tolerations, nodeSelector, priority, nodeName, ...; a pod from a
// file is bound to this node already), the API server (resourceVersion,
// managedFields, status, ...), and service accounts, whose tokens only a control
// plane can issue: automountServiceAccountToken asks for nothing where there is
// none.
//
// # Out of scope
//
// Whether values are valid, and what this node in particular cannot do (a kernel
// without AppArmor, sysctls that are not allowed): the first is package pod's, the
// second admission's.
package support
