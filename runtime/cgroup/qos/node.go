package qos

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// PIDs is the resource that kubeReserved and systemReserved call pid: processes
// and threads. It is kubelet's own and not among Kubernetes' resources.
const PIDs = v1.ResourceName("pid")

// Less returns what is left of a capacity after what is reserved; nothing is
// less than none.
func Less(capacity v1.ResourceList, reserved ...v1.ResourceList) v1.ResourceList {
	left := v1.ResourceList{}
	for name, q := range capacity {
		q = q.DeepCopy()
		for _, r := range reserved {
			q.Sub(r[name])
		}
		left[name] = notNegative(q)
	}
	return left
}

// Allocatable is what pods may request of a node's capacity, as its status says
// it: huge pages are taken from the memory, for nothing else can use them.
func Allocatable(capacity v1.ResourceList, reserved ...v1.ResourceList) v1.ResourceList {
	left := Less(capacity, reserved...)
	for name, q := range capacity {
		if memory, ok := left[v1.ResourceMemory]; ok && isHugepages(name) {
			memory.Sub(q)
			left[v1.ResourceMemory] = notNegative(memory)
		}
	}
	return left
}

// NodeResources is what the cgroup of all pods is set to: what is left of the
// node's capacity. A resource that is not in it is not limited. Huge pages are
// limited pod by pod only: a pod on a node has room for them, or the kernel has
// no page to give.
func NodeResources(left v1.ResourceList) Resources {
	cpu, memory, pids := left[v1.ResourceCPU], left[v1.ResourceMemory], left[PIDs]
	return Resources{Shares: Shares(cpu.MilliValue()), Memory: memory.Value(), Pids: pids.Value(), OtherHugepages: Unbounded}
}

func notNegative(q resource.Quantity) resource.Quantity {
	if q.Sign() < 0 {
		return *resource.NewQuantity(0, q.Format)
	}
	return q
}
