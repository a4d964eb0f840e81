// Package e2e holds the end-to-end tests: the real davit binary, real containerd
// and runc, real namespaces. Each test makes a node of its own and ends with a
// look for anything that was left behind.
package e2e
