package qos

import "math"

// Bounds and units of the kernel's CPU controller.
const (
	MinShares   = 2      // kernel/sched: MIN_SHARES
	MaxShares   = 262144 // kernel/sched: MAX_SHARES
	Period      = 100000 // µs; kubelet's cpuCFSQuotaPeriod of 100 ms
	MinQuota    = 1000   // µs; the kernel refuses less than 1 ms
	sharesPerPU = 1024
)

// Shares returns the cpu.shares for a request in milli-CPU.
func Shares(milliCPU int64) uint64 {
	if milliCPU > MaxShares { // 1000 milli-CPU are 1024 shares: it is over the top anyway
		return MaxShares
	}
	return uint64(min(max(milliCPU*sharesPerPU/1000, MinShares), MaxShares))
}

// Quota returns the µs of CPU time in each Period for a limit in milli-CPU;
// 0, which means no limit, for 0 and less.
func Quota(milliCPU int64) int64 {
	if milliCPU <= 0 {
		return 0
	}
	return max(min(milliCPU, math.MaxInt64/(Period/1000))*(Period/1000), MinQuota)
}

// Weight returns cgroup v2's cpu.weight (1 to 10000) for cpu.shares (KEP-2254).
func Weight(shares uint64) uint64 {
	shares = min(max(shares, MinShares), MaxShares)
	return 1 + (shares-MinShares)*9999/(MaxShares-MinShares)
}
