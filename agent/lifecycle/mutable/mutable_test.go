package mutable

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestMerge(t *testing.T) {
	have := func() *v1.Pod {
		return &v1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "web", Generation: 1, Annotations: map[string]string{annotationSeen: "before"}},
			Spec:       v1.PodSpec{Containers: []v1.Container{{Name: "a", Image: "x:1"}}},
			Status:     v1.PodStatus{Conditions: []v1.PodCondition{{Type: v1.PodReady, Status: v1.ConditionTrue}}},
		}
	}
	for name, c := range map[string]struct {
		change  func(*v1.Pod)
		changed bool
		holds   func(*v1.Pod) bool
	}{
		"nothing":                  {func(p *v1.Pod) {}, false, nil},
		"seen anew":                {func(p *v1.Pod) { p.Annotations[annotationSeen] = "after" }, false, nil},
		"a status of the node's":   {func(p *v1.Pod) { p.Status.Conditions[0].Status = v1.ConditionFalse }, false, nil},
		"an image, which may not":  {func(p *v1.Pod) { p.Spec.Containers[0].Image = "x:2" }, false, func(p *v1.Pod) bool { return p.Spec.Containers[0].Image == "x:1" }},
		"a label":                  {func(p *v1.Pod) { p.Labels = map[string]string{"a": "b"} }, true, func(p *v1.Pod) bool { return p.Labels["a"] == "b" }},
		"a deadline":               {func(p *v1.Pod) { p.Spec.ActiveDeadlineSeconds = new(int64(5)) }, true, func(p *v1.Pod) bool { return *p.Spec.ActiveDeadlineSeconds == 5 }},
		"a gate's condition":       {func(p *v1.Pod) { p.Status.Conditions = []v1.PodCondition{{Type: "gate", Status: v1.ConditionTrue}} }, true, func(p *v1.Pod) bool { return len(p.Status.Conditions) == 2 }},
		"an ephemeral container":   {func(p *v1.Pod) { p.Spec.EphemeralContainers = make([]v1.EphemeralContainer, 1) }, true, func(p *v1.Pod) bool { return len(p.Spec.EphemeralContainers) == 1 }},
		"annotations taken away":   {func(p *v1.Pod) { p.Annotations = nil }, true, func(p *v1.Pod) bool { return len(p.Annotations) == 0 }},
		"the generation, as it is": {func(p *v1.Pod) { p.Generation = 2 }, true, func(p *v1.Pod) bool { return p.Generation == 2 }},
	} {
		want := have()
		c.change(want)
		got, changed := Merge(have(), want)
		if changed != c.changed || c.holds != nil && !c.holds(got) {
			t.Errorf("%s: changed %v: %+v", name, changed, got)
		}
		if again, more := Merge(got, want); more {
			t.Errorf("%s: changes again: %+v", name, again)
		}
	}
}
