package source

import (
	"testing"
	"time"
)

// TestEphemeralContainerKeepsPod: who writes an ephemeral container into a
// manifest looks into the pod that runs, and gets no other one.
func TestEphemeralContainerKeepsPod(t *testing.T) {
	r := newRig(t, map[string]string{"a.yaml": manifestOf("a")})
	r.run()
	r.until([]string{"a-n1"})
	before := r.set.List()[0].Pod
	r.write("a.yaml", manifestOf("a", "  ephemeralContainers: [{name: debug, image: tools, targetContainerName: c}]\n"))
	deadline := time.Now().Add(30 * time.Second)
	for len(r.set.List()) != 1 || len(r.set.List()[0].Pod.Spec.EphemeralContainers) == 0 {
		if time.Now().After(deadline) {
			t.Fatalf("the ephemeral container does not come; problems: %s", r.problems())
		}
		time.Sleep(5 * time.Millisecond)
	}
	after := r.set.List()[0].Pod
	if after.UID != before.UID || after.Annotations[AnnotationHash] != before.Annotations[AnnotationHash] {
		t.Errorf("the pod %s became %s", before.UID, after.UID)
	}
}
