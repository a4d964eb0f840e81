// Package podstatus derives a pod's phase and conditions, as kubelet has them
// and in its order, from the statuses of its containers. It is pure.
//
// Conditions of others, those of readiness gates among them, are kept as they
// are. A condition's transition time is that of the same condition with the same
// status before, which the caller stores.
package podstatus
