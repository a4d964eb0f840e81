package agent

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/davit-agent/davit/runtime/cgroup"
	"github.com/davit-agent/davit/runtime/cgroup/qos"
	"github.com/davit-agent/davit/runtime/oci"
)

func TestResourcesConfigValidate(t *testing.T) {
	for _, tc := range []struct {
		text string
		want string // "": nothing is wrong
	}{
		{`kubeReserved: {cpu: 1500m, memory: 1Gi, ephemeral-storage: 1Gi, pid: "1000"}`, ""},
		{`kubeReserved: {cpus: "1"}`, "kubeReserved.cpus: cannot be reserved, only cpu, ephemeral-storage, memory, pid"},
		{`systemReserved: {hugepages-2Mi: 2Mi}`, "systemReserved.hugepages-2Mi: cannot be reserved, only cpu, ephemeral-storage, memory, pid"},
		{`systemReserved: {memory: lots}`, `systemReserved.memory: "lots" is no quantity, write one such as 100m or 512Mi`},
		{`systemReserved: {memory: -1Gi}`, "systemReserved.memory: -1Gi is less than nothing"},
		{`podPidsLimit: 0`, "podPidsLimit: 0 is no limit, write at least 1, or -1 for none"},
		{`podPidsLimit: -2`, "podPidsLimit: -2 is no limit, write at least 1, or -1 for none"},
		{`podPidsLimit: 1`, ""},
		{`memorySwap: {swapBehavior: UnlimitedSwap}`, `memorySwap.swapBehavior: "UnlimitedSwap" is none of NoSwap, LimitedSwap`},
		{`memorySwap: {swapBehavior: ""}`, ""},
		{`allowedUnsafeSysctls: [kernel.sem, "kernel.msg*", "net.*", net/core/somaxconn, net.ipv4.conf.eth0-1.x, fs.mqueue.msg_max]`, ""},
		{`allowedUnsafeSysctls: ["*"]`, `allowedUnsafeSysctls[0]: "*" is no name of a sysctl such as net.core.somaxconn, nor the beginning of one with * at the end`},
		{`allowedUnsafeSysctls: ["net.*.x"]`, `allowedUnsafeSysctls[0]: "net.*.x" is no name of a sysctl such as net.core.somaxconn, nor the beginning of one with * at the end`},
		{`allowedUnsafeSysctls: [vm.swappiness]`, `allowedUnsafeSysctls[0]: "vm.swappiness" is not known to be namespaced, so that it would change the whole node: only kernel.shm*, kernel.msg*, kernel.sem, fs.mqueue.* and net.* are`},
	} {
		c := completed(t)
		if err := c.Parse([]byte(tc.text), "config.yaml"); err != nil {
			t.Errorf("%s: %v", tc.text, err)
			continue
		}
		got := ""
		if err := c.Validate(); err != nil {
			got = err.Error()
		}
		if got != tc.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tc.text, got, tc.want)
		}
	}
}

func TestResources(t *testing.T) {
	node, err := cgroup.ReadCapacity()
	if err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.KubeReserved = map[string]string{"cpu": "100m", "memory": "100Mi", "pid": "100"}
	cfg.SystemReserved = map[string]string{"cpu": "200m", "ephemeral-storage": "1Gi"}
	cfg.PodPidsLimit, cfg.SingleProcessOOMKill = 77, true
	r, err := readResources(*cfg)
	if err != nil {
		t.Fatal(err)
	}
	cpu, memory, pids := node.Resources["cpu"], node.Resources["memory"], node.Resources[qos.PIDs]
	cg := r.cgroups()
	if cg.PodPids != 77 || cg.Node.Shares != qos.Shares(cpu.MilliValue()-300) || cg.Node.Memory != memory.Value()-100<<20 || cg.Node.Pids != pids.Value()-100 {
		t.Errorf("%+v of %v", cg.Node, node.Resources)
	}
	all := r.allocatable()
	if all.Cpu().MilliValue() != cpu.MilliValue()-300 || len(all) != 2 {
		t.Errorf("allocatable %v", all)
	}
	status := v1.NodeStatus{Capacity: v1.ResourceList{"cpu": cpu, "memory": memory, "ephemeral-storage": resource.MustParse("10Gi"), "pods": resource.MustParse("9")}}
	r.describe(&status)
	if s := status.Allocatable; s.StorageEphemeral().Value() != 9<<30 || s.Pods().Value() != 9 || s.Cpu().Cmp(*all.Cpu()) != 0 || s.Memory().Cmp(*all.Memory()) != 0 {
		t.Errorf("status %v", s)
	}
	if d := cmp.Diff(oci.Settings{SwapTotal: node.Swap, SingleProcessOOMKill: true}, r.settings()); d != "" {
		t.Error(d)
	}
	cfg.SystemReserved["cpu"] = "10k"
	if _, err := readResources(*cfg); err == nil || !strings.Contains(err.Error(), "together they keep 10000100m of cpu from pods, and the node has") {
		t.Errorf("more reserved than there is: %v", err)
	}
	cfg = DefaultConfig()
	cfg.MemorySwap.SwapBehavior = limitedSwap
	if _, err := readResources(*cfg); (err == nil) != node.V2 {
		t.Errorf("LimitedSwap, cgroup v2 %t: %v", node.V2, err)
	}
}
