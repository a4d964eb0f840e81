// Package model answers probes and hooks of Kubernetes on an actor's behalf: the
// bridge from v1's handlers to package actor, for tests with a synthetic clock.
//
// # Out of scope
//
// Timeouts and thresholds: what the caller is there to be tested for.
package model
