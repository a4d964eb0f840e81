// Package handler is what probes and lifecycle hooks have in common: where a
// handler's httpGet goes and with which headers, which port a name stands for, and
// how an address is dialled from inside a pod. Errors are worded as kubelet's.
//
// Out of scope: when a handler runs and what its answer means, which probes and
// hooks tell in two ways.
package handler
