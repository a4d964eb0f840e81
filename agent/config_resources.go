package agent

import (
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/davit-agent/davit/runtime/cgroup/qos"
)

// ResourcesConfig says what of the node pods may use. Its keys are kubelet's and
// stand at the top of the file, as there.
type ResourcesConfig struct {
	KubeReserved         map[string]string `json:"kubeReserved"`   // cpu, memory, ephemeral-storage, pid: for davit, containerd and shims
	SystemReserved       map[string]string `json:"systemReserved"` // the same, for the rest of the system
	PodPidsLimit         int               `json:"podPidsLimit"`   // processes and threads of a pod; -1: as many as all pods may have
	MemorySwap           MemorySwapConfig  `json:"memorySwap"`
	SingleProcessOOMKill bool              `json:"singleProcessOOMKill"` // cgroup v2: out of memory, one process is killed and not the container; v1: always so
}

// MemorySwapConfig says what containers may swap.
type MemorySwapConfig struct {
	SwapBehavior string `json:"swapBehavior"` // NoSwap or LimitedSwap
}

// The values of memorySwap.swapBehavior.
const (
	noSwap      = "NoSwap"
	limitedSwap = "LimitedSwap"
)

func defaultResources() ResourcesConfig {
	return ResourcesConfig{
		KubeReserved: map[string]string{}, SystemReserved: map[string]string{},
		PodPidsLimit: -1, MemorySwap: MemorySwapConfig{SwapBehavior: noSwap},
	}
}

// reserved returns what both keys keep from pods; nothing is wrong with them
// after Validate.
func (c *ResourcesConfig) reserved() (kube, system v1.ResourceList) {
	list := func(m map[string]string) v1.ResourceList {
		l := v1.ResourceList{}
		for name, text := range m {
			if q, err := resource.ParseQuantity(text); err == nil {
				l[v1.ResourceName(name)] = q
			}
		}
		return l
	}
	return list(c.KubeReserved), list(c.SystemReserved)
}

// reservable are the resources that can be kept from pods.
var reservable = []string{string(v1.ResourceCPU), string(v1.ResourceEphemeralStorage), string(v1.ResourceMemory), string(qos.PIDs)}

func (v *configValidator) resources(c *Config) {
	for _, r := range []struct {
		key  string
		list map[string]string
	}{{"kubeReserved", c.KubeReserved}, {"systemReserved", c.SystemReserved}} {
		names := make([]string, 0, len(r.list))
		for name := range r.list {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			key := r.key + "." + name
			if !slices.Contains(reservable, name) {
				v.fail(key, "cannot be reserved, only %s", strings.Join(reservable, ", "))
				continue
			}
			q, err := resource.ParseQuantity(r.list[name])
			v.check(err == nil, key, "%q is no quantity, write one such as 100m or 512Mi", r.list[name])
			v.check(err != nil || q.Sign() >= 0, key, "%s is less than nothing", r.list[name])
		}
	}
	v.check(c.PodPidsLimit >= -1 && c.PodPidsLimit != 0, "podPidsLimit", "%d is no limit, write at least 1, or -1 for none", c.PodPidsLimit)
	v.check(slices.Contains([]string{"", noSwap, limitedSwap}, c.MemorySwap.SwapBehavior), "memorySwap.swapBehavior",
		"%q is none of %s, %s", c.MemorySwap.SwapBehavior, noSwap, limitedSwap)
	for i, pattern := range c.AllowedUnsafeSysctls {
		v.sysctl(fmt.Sprintf("allowedUnsafeSysctls[%d]", i), pattern)
	}
}

// namespacedSysctls are those that a pod has for itself, by how they begin or as
// a whole: those of the IPC and of the network namespace (namespaces(7)).
var namespacedSysctls = []string{"kernel.sem", "kernel.shm", "kernel.msg", "fs.mqueue.", "net."}

// sysctl looks at the name of a sysctl, or at the beginning of one with * at the
// end. Others than namespaced ones would be set on the whole node.
func (v *configValidator) sysctl(key, pattern string) {
	name, prefix := strings.CutSuffix(pattern, "*")
	name = strings.ReplaceAll(name, "/", ".")
	ok := name != "" && len(pattern) <= 253 && !strings.HasPrefix(name, ".") && !strings.Contains(name, "..") && (prefix || !strings.HasSuffix(name, "."))
	for _, r := range name {
		ok = ok && (r == '.' || r == '_' || r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z')
	}
	if !ok {
		v.fail(key, "%q is no name of a sysctl such as net.core.somaxconn, nor the beginning of one with * at the end", pattern)
		return
	}
	v.check(slices.ContainsFunc(namespacedSysctls, func(known string) bool { return strings.HasPrefix(name, known) }), key,
		"%q is not known to be namespaced, so that it would change the whole node: only kernel.shm*, kernel.msg*, kernel.sem, fs.mqueue.* and net.* are", pattern)
}
