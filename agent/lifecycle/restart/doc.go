// Package restart tells which containers are run again after they exited, and
// when: the restart policies of pods and containers, the rules of KEP-5307 and
// KEP-5532, and kubelet's crash-loop back-off. It is pure.
//
// Out of scope: how a container is stopped and started, which package lifecycle
// plans.
package restart
