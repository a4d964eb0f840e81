package cgroups

import (
	"strconv"
	"strings"

	"github.com/davit-agent/davit/runtime/cgroup/qos"
)

// unlimited are the numbers that v1 reads where v2 has max.
var unlimited = []string{"9223372036854771712", "9223372036854775807"}

// Normal returns values with what depends on the machine written by what it
// stands for: MEMORY, MEMORY-256Mi, MEMORY*8/128,
// PIDS, PIDS-1000, CPUS, CPUS-200m.
func Normal(n Node, values Values) Values {
	out := Values{}
	for cgroup, files := range values {
		out[cgroup] = map[string]string{}
		for file, value := range files {
			out[cgroup][file] = n.normal(cgroup, file, value)
		}
	}
	return out
}

func (n Node) normal(cgroup, file, value string) string {
	for _, u := range unlimited {
		if value == u {
			return "max"
		}
	}
	number, err := strconv.ParseInt(value, 10, 64)
	number = max(number, 0)
	whole := cgroup == "kubepods" && err == nil
	switch {
	case file == "cpuset.cpus" && value == n.CPUs:
		return "CPUS"
	case strings.HasPrefix(file, "memory.") && n.partOfMemory(number) != "":
		return n.partOfMemory(number)
	case whole && (file == "cpu.shares" || file == "cpu.weight"):
		return n.normalShare(file, value)
	case whole && file == "pids.max":
		return less("PIDS", n.PIDs-number, 1, "")
	case whole && strings.HasPrefix(file, "memory.") && number > 1<<20:
		return less("MEMORY", n.Memory-number, 1<<20, "Mi")
	}
	return value
}

// partOfMemory writes bytes as a part of the node's memory if it is one, to the
// page; that is how the kernel rounds limits.
func (n Node) partOfMemory(bytes int64) string {
	const parts, page = 128, 4096
	for i := int64(1); i < parts; i++ {
		if bytes == n.Memory*i/parts/page*page {
			return "MEMORY*" + strconv.FormatInt(i, 10) + "/" + strconv.Itoa(parts)
		}
	}
	return ""
}

// normalShare finds how many of the node's CPUs a share is, to 50m.
func (n Node) normalShare(file, value string) string {
	for off := int64(0); off < n.MilliCPU; off += 50 {
		shares := qos.Shares(n.MilliCPU - off)
		if file == "cpu.weight" {
			shares = qos.Weight(shares)
		}
		if strconv.FormatUint(shares, 10) == value {
			return less("CPUS", off, 1, "m")
		}
	}
	return value
}

// less writes what was taken from something, in units.
func less(name string, taken, unit int64, suffix string) string {
	switch {
	case taken == 0:
		return name
	case taken%unit != 0:
		return name + "-" + strconv.FormatInt(taken, 10)
	}
	return name + "-" + strconv.FormatInt(taken/unit, 10) + suffix
}
