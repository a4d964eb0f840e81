package agent

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/runtime/cgroup"
	"github.com/davit-agent/davit/runtime/cgroup/qos"
	"github.com/davit-agent/davit/runtime/oci"
)

// resources is what the node has and what of it pods may use.
type resources struct {
	cfg      Config
	capacity cgroup.Capacity
	// Kept from pods.
	kube, system v1.ResourceList
}

// readResources reads the node's capacity and holds the configuration against
// it: nothing can be reserved, or swapped, that the node does not have.
func readResources(cfg Config) (*resources, error) {
	capacity, err := cgroup.ReadCapacity()
	if err != nil {
		return nil, err
	}
	r := &resources{cfg: cfg, capacity: capacity}
	r.kube, r.system = cfg.reserved()
	if cfg.MemorySwap.SwapBehavior == limitedSwap && !capacity.V2 {
		return nil, fmt.Errorf("memorySwap.swapBehavior: %s needs cgroup v2, and this node has v1: set it to %s", limitedSwap, noSwap)
	}
	for _, name := range slices.Sorted(maps.Keys(capacity.Resources)) {
		have, reserved := capacity.Resources[name], r.kube[name].DeepCopy()
		reserved.Add(r.system[name])
		if reserved.Cmp(have) > 0 {
			return nil, fmt.Errorf("kubeReserved and systemReserved: together they keep %s of %s from pods, and the node has %s: reserve less", &reserved, name, &have)
		}
	}
	return r, nil
}

// cgroups says where and how the pods' cgroups are made.
func (r *resources) cgroups() cgroup.Config {
	node := qos.NodeResources(qos.Less(r.capacity.Resources, r.kube, r.system))
	return cgroup.Config{Root: r.cfg.Cgroup.Root, Driver: r.cfg.Cgroup.Driver, PodPids: int64(r.cfg.PodPidsLimit), Node: &node}
}

// allocatable is what of CPU and memory pods may use, all together.
func (r *resources) allocatable() v1.ResourceList {
	all := qos.Allocatable(r.capacity.Resources, r.kube, r.system)
	return v1.ResourceList{v1.ResourceCPU: all[v1.ResourceCPU], v1.ResourceMemory: all[v1.ResourceMemory]}
}

// settings are those of all containers.
func (r *resources) settings() oci.Settings {
	return oci.Settings{
		LimitedSwap: r.cfg.MemorySwap.SwapBehavior == limitedSwap, SwapTotal: r.capacity.Swap,
		SingleProcessOOMKill: r.cfg.SingleProcessOOMKill,
	}
}

// describe adds to a node's status the huge pages that it has, and what is left
// for pods of everything.
func (r *resources) describe(s *v1.NodeStatus) {
	for name, q := range r.capacity.Resources {
		if strings.HasPrefix(string(name), v1.ResourceHugePagesPrefix) {
			s.Capacity[name] = q
		}
	}
	s.Allocatable = qos.Allocatable(s.Capacity, r.kube, r.system)
}
