// Package mutable says what of a pod may change while it runs. It is pure.
package mutable

import (
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/davit-agent/davit/agent/lifecycle/podstatus"
)

// annotationSeen tells when a static pod was first read, by this process or an
// earlier one.
const annotationSeen = "kubernetes.io/config.seen"

// Merge returns have, a pod that runs, with what may change of it taken from
// want: labels, annotations, activeDeadlineSeconds, further ephemeral containers,
// and the conditions that others keep, those of readiness gates among them.
func Merge(have, want *v1.Pod) (pod *v1.Pod, changed bool) {
	pod = have.DeepCopy()
	pod.Generation = want.Generation
	pod.Labels, pod.Annotations = want.Labels, maps.Clone(want.Annotations)
	if seen, ok := have.Annotations[annotationSeen]; ok && pod.Annotations != nil {
		pod.Annotations[annotationSeen] = seen // the next process would see it anew
	}
	pod.Spec.ActiveDeadlineSeconds = nil
	if d := want.Spec.ActiveDeadlineSeconds; d != nil {
		pod.Spec.ActiveDeadlineSeconds = new(*d)
	}
	for _, c := range want.Spec.EphemeralContainers {
		if !slices.ContainsFunc(pod.Spec.EphemeralContainers, func(o v1.EphemeralContainer) bool { return o.Name == c.Name }) {
			pod.Spec.EphemeralContainers = append(pod.Spec.EphemeralContainers, *c.DeepCopy())
		}
	}
	pod.Status.Conditions = slices.DeleteFunc(slices.Clone(want.Status.Conditions), func(c v1.PodCondition) bool { return podstatus.Ours(c.Type) })
	for _, c := range have.Status.Conditions {
		if podstatus.Ours(c.Type) { // their transition times are kept
			pod.Status.Conditions = append(pod.Status.Conditions, c)
		}
	}
	return pod, !equality.Semantic.DeepEqual(have, pod)
}
