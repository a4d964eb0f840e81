package lifecycle

import (
	"maps"

	"k8s.io/apimachinery/pkg/api/resource"

	v1 "k8s.io/api/core/v1"
)

// QOS returns the pod's quality of service class: what the API server wrote, or
// else what follows from the CPU and memory that the spec asks for.
func QOS(pod *v1.Pod) v1.PodQOSClass {
	if q := pod.Status.QOSClass; q != "" {
		return q
	}
	asked := []v1.ResourceRequirements{}
	if r := pod.Spec.Resources; r != nil {
		asked = append(asked, *r) // the pod's own settle it
	} else {
		for _, m := range members(pod) {
			asked = append(asked, m.Resources)
		}
	}
	any, guaranteed := false, len(asked) > 0
	requests, limits := sums{}, sums{}
	for _, r := range asked {
		n := limits.add(r.Limits)
		guaranteed = guaranteed && n == 2
		// A limit without a request is a request, too (API defaulting).
		all := maps.Clone(r.Limits)
		if all == nil {
			all = v1.ResourceList{}
		}
		maps.Copy(all, r.Requests)
		any = requests.add(all)+n > 0 || any
	}
	switch {
	case !any:
		return v1.PodQOSBestEffort
	case guaranteed && requests.equal(limits):
		return v1.PodQOSGuaranteed
	}
	return v1.PodQOSBurstable
}

// sums adds up CPU and memory.
type sums map[v1.ResourceName]resource.Quantity

// add adds the positive quantities of l and returns their number.
func (s sums) add(l v1.ResourceList) (n int) {
	for _, name := range []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory} {
		if q, ok := l[name]; ok && q.Sign() > 0 {
			sum := s[name]
			sum.Add(q)
			s[name] = sum
			n++
		}
	}
	return n
}

func (s sums) equal(o sums) bool {
	for name, q := range s {
		other, ok := o[name]
		if !ok || q.Cmp(other) != 0 {
			return false
		}
	}
	return len(s) == len(o)
}
