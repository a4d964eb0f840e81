package report

import (
	"net/netip"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// NodeFacts is what the agent knows of its node.
type NodeFacts struct {
	Name, Hostname string
	Addresses      []netip.Addr   // the node's own, primary first
	PodCIDRs       []netip.Prefix // from which its pods get theirs
	Created        time.Time      // when davit came to the node; zero: not known
	CPUs           int
	Memory, Disk   int64 // bytes; Disk is of the file system of stateDir
	MaxPods        int
	System         v1.NodeSystemInfo
	// Trouble is why the node cannot run pods; "": it can.
	Trouble string
	// Since is when that last changed between something and nothing.
	Since time.Time
}

// Node is the node as Kubernetes describes it.
func Node(f NodeFacts, now time.Time) *v1.Node {
	n := &v1.Node{
		TypeMeta: metav1.TypeMeta{Kind: "Node", APIVersion: "v1"},
		ObjectMeta: metav1.ObjectMeta{Name: f.Name, CreationTimestamp: metav1.NewTime(f.Created), Labels: map[string]string{
			v1.LabelHostname: f.Name, v1.LabelOSStable: f.System.OperatingSystem, v1.LabelArchStable: f.System.Architecture,
		}},
	}
	for _, c := range f.PodCIDRs {
		n.Spec.PodCIDRs = append(n.Spec.PodCIDRs, c.String())
	}
	if len(n.Spec.PodCIDRs) > 0 {
		n.Spec.PodCIDR = n.Spec.PodCIDRs[0]
	}
	for _, a := range f.Addresses {
		n.Status.Addresses = append(n.Status.Addresses, v1.NodeAddress{Type: v1.NodeInternalIP, Address: a.String()})
	}
	n.Status.Addresses = append(n.Status.Addresses, v1.NodeAddress{Type: v1.NodeHostName, Address: f.Hostname})
	n.Status.NodeInfo = f.System
	n.Status.Capacity = v1.ResourceList{
		v1.ResourceCPU:              *resource.NewQuantity(int64(f.CPUs), resource.DecimalSI),
		v1.ResourceMemory:           *resource.NewQuantity(f.Memory, resource.BinarySI),
		v1.ResourceEphemeralStorage: *resource.NewQuantity(f.Disk, resource.BinarySI),
		v1.ResourcePods:             *resource.NewQuantity(int64(f.MaxPods), resource.DecimalSI),
	}
	n.Status.Allocatable = n.Status.Capacity.DeepCopy() // nothing is held back for the node
	n.Status.Conditions = []v1.NodeCondition{ready(f, now)}
	return n
}

// ready is the condition Ready, with kubelet's reasons.
func ready(f NodeFacts, now time.Time) v1.NodeCondition {
	c := v1.NodeCondition{
		Type: v1.NodeReady, Status: v1.ConditionTrue, Reason: "KubeletReady", Message: "davit runs and containerd answers",
		LastHeartbeatTime: metav1.NewTime(now), LastTransitionTime: metav1.NewTime(f.Since),
	}
	if f.Trouble != "" {
		c.Status, c.Reason, c.Message = v1.ConditionFalse, "KubeletNotReady", f.Trouble
	}
	return c
}
