package qos

import v1 "k8s.io/api/core/v1"

// SwapLimit is how many bytes a container may swap under kubelet's LimitedSwap
// (KEP-2400): the part of the node's swap that its memory request is of the
// node's memory. Only containers of Burstable pods that request some memory, and
// less than their limit, may swap at all; those of critical pods never.
func SwapLimit(pod *v1.Pod, c *v1.Container, memoryTotal, swapTotal int64) int64 {
	if Class(pod) != v1.PodQOSBurstable || Critical(pod) || memoryTotal <= 0 {
		return 0
	}
	req, _ := request(c.Resources, v1.ResourceMemory)
	lim, _ := limit(c.Resources, v1.ResourceMemory)
	if req.Cmp(lim) == 0 || req.Sign() <= 0 || req.Value() > memoryTotal {
		return 0
	}
	return int64(float64(req.Value()) / float64(memoryTotal) * float64(swapTotal))
}
