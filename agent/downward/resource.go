package downward

import (
	"fmt"
	"math"
	"math/big"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Resource returns a container's request or limit in multiples of the divisor
// (default 1: cores and bytes), rounded up. container is meant where ref names
// none. A limit that is not set is what the node can allocate.
func Resource(pod *v1.Pod, container string, ref *v1.ResourceFieldSelector, allocatable v1.ResourceList) (string, error) {
	var c *v1.Container
	if ref.ContainerName != "" {
		container = ref.ContainerName
		c = find(pod, container)
	} else if c = find(pod, container); c == nil {
		c = ephemeral(pod, container)
	}
	if c == nil {
		return "", fmt.Errorf("container %s not found", container)
	}
	kind, name, _ := strings.Cut(ref.Resource, ".")
	resourceName := v1.ResourceName(name)
	if !known(resourceName) {
		return "", fmt.Errorf("unsupported container resource : %v", ref.Resource)
	}
	var amount resource.Quantity
	switch kind {
	case "requests":
		amount = c.Resources.Requests[resourceName]
	case "limits":
		amount = c.Resources.Limits[resourceName]
		if amount.IsZero() && !hugepages(resourceName) {
			amount = allocatable[resourceName]
		}
	default:
		return "", fmt.Errorf("unsupported container resource : %v", ref.Resource)
	}
	return divide(amount, ref.Divisor), nil
}

func find(pod *v1.Pod, container string) *v1.Container {
	for _, list := range [][]v1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range list {
			if list[i].Name == container {
				return &list[i]
			}
		}
	}
	return nil
}

// ephemeral returns an ephemeral container, which can only ask for its own.
func ephemeral(pod *v1.Pod, name string) *v1.Container {
	for i := range pod.Spec.EphemeralContainers {
		if e := &pod.Spec.EphemeralContainers[i]; e.Name == name {
			return (*v1.Container)(&e.EphemeralContainerCommon)
		}
	}
	return nil
}

func known(name v1.ResourceName) bool {
	return name == v1.ResourceCPU || name == v1.ResourceMemory || name == v1.ResourceEphemeralStorage || hugepages(name)
}

func hugepages(name v1.ResourceName) bool {
	return strings.HasPrefix(string(name), v1.ResourceHugePagesPrefix)
}

// divide returns the amount in divisors, rounded up.
func divide(amount, divisor resource.Quantity) string {
	if divisor.IsZero() {
		divisor = resource.MustParse("1")
	}
	if amount.Sign() <= 0 || divisor.Sign() < 0 {
		return "0"
	}
	q := new(big.Rat).Quo(rational(amount), rational(divisor))
	n := new(big.Int).Add(q.Num(), q.Denom())
	n.Sub(n, big.NewInt(1)).Quo(n, q.Denom())
	if !n.IsInt64() {
		n.SetInt64(math.MaxInt64)
	}
	return n.String()
}

func rational(q resource.Quantity) *big.Rat {
	// AsDec changes how its receiver is kept, so it gets a copy.
	text := q.DeepCopy()
	r, ok := new(big.Rat).SetString(text.AsDec().String())
	if !ok { // no decimal reads otherwise
		return new(big.Rat)
	}
	return r
}
