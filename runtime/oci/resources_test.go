package oci_test

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/davit-agent/davit/runtime/oci"
)

func TestOOMScoreAdj(t *testing.T) {
	pod := simplePod()
	c := &pod.Spec.Containers[0]
	c.Resources.Limits = v1.ResourceList{"cpu": resource.MustParse("1"), "memory": resource.MustParse("1Gi")}
	for _, w := range []struct {
		least, want int
		clamped     bool
	}{{-1000, -997, false}, {-997, -997, false}, {0, 0, true}, {1000, 1000, true}} {
		adj, clamped := oci.OOMScoreAdj(pod, c, oci.Node{MemoryTotal: 1 << 34, MinOOMScoreAdj: w.least})
		if adj != w.want || clamped != w.clamped {
			t.Errorf("least %d: %d, %t", w.least, adj, clamped)
		}
	}
}
