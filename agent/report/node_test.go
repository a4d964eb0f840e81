package report

import (
	"net/netip"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
)

func TestNode(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	f := NodeFacts{
		Name: "n1", Hostname: "N1.local", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")},
		PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.85.0.0/24")}, Created: now.Add(-time.Hour),
		CPUs: 2, Memory: 24 << 30, Disk: 100 << 30, MaxPods: 250, Since: now.Add(-time.Minute),
		System: v1.NodeSystemInfo{OperatingSystem: "linux", Architecture: "amd64", KubeletVersion: "v9"},
	}
	n := Node(f, now)
	if n.Name != "n1" || n.Labels["kubernetes.io/arch"] != "amd64" || n.Spec.PodCIDR != "10.85.0.0/24" || len(n.Status.Addresses) != 3 ||
		n.Status.Addresses[2] != (v1.NodeAddress{Type: v1.NodeHostName, Address: "N1.local"}) || n.Status.NodeInfo.KubeletVersion != "v9" {
		t.Errorf("%+v", n)
	}
	for name, want := range map[v1.ResourceName]string{"cpu": "2", "memory": "24Gi", "ephemeral-storage": "100Gi", "pods": "250"} {
		c, a := n.Status.Capacity[name], n.Status.Allocatable[name]
		if c.String() != want || a.String() != want {
			t.Errorf("%s: %s of %s, want %s", name, a.String(), c.String(), want)
		}
	}
	if c := n.Status.Conditions[0]; c.Status != v1.ConditionTrue || c.Reason != "KubeletReady" || !c.LastTransitionTime.Time.Equal(f.Since) {
		t.Errorf("%+v", c)
	}
	f.Trouble = "containerd is away"
	if c := Node(f, now).Status.Conditions[0]; c.Status != v1.ConditionFalse || c.Reason != "KubeletNotReady" || c.Message != f.Trouble {
		t.Errorf("%+v", c)
	}
}
