package qos_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"

	"github.com/davit-agent/davit/runtime/cgroup/qos"
)

// rr builds requirements from pairs "cpu=100m" before and after the slash.
func rr(requests, limits map[string]string) v1.ResourceRequirements {
	list := func(m map[string]string) v1.ResourceList {
		if m == nil {
			return nil
		}
		l := v1.ResourceList{}
		for k, v := range m {
			l[v1.ResourceName(k)] = resource.MustParse(v)
		}
		return l
	}
	return v1.ResourceRequirements{Requests: list(requests), Limits: list(limits)}
}

type m = map[string]string

func ctr(r v1.ResourceRequirements) v1.Container { return v1.Container{Name: "c", Resources: r} }

func side(name string, r v1.ResourceRequirements) v1.Container {
	return v1.Container{Name: name, Resources: r, RestartPolicy: ptr.To(v1.ContainerRestartPolicyAlways)}
}

func initc(name string, r v1.ResourceRequirements) v1.Container {
	return v1.Container{Name: name, Resources: r}
}

func pod(inits []v1.Container, cs ...v1.Container) *v1.Pod {
	return &v1.Pod{Spec: v1.PodSpec{InitContainers: inits, Containers: cs}}
}

func podLevel(p *v1.Pod, r v1.ResourceRequirements) *v1.Pod {
	p.Spec.Resources = &r
	return p
}

func TestClassAndPodResources(t *testing.T) {
	full := rr(m{"cpu": "500m", "memory": "64Mi"}, m{"cpu": "500m", "memory": "64Mi"})
	for name, c := range map[string]struct {
		pod   *v1.Pod
		class v1.PodQOSClass
		want  qos.Resources
	}{
		"nothing": {pod(nil, ctr(rr(nil, nil))), v1.PodQOSBestEffort, qos.Resources{Shares: 2}},
		"zero counts as nothing": {pod(nil, ctr(rr(m{"cpu": "0"}, nil))), v1.PodQOSBestEffort,
			qos.Resources{Shares: 2}},
		"other resources do not count": {pod(nil, ctr(rr(m{"ephemeral-storage": "1Gi"}, nil))),
			v1.PodQOSBestEffort, qos.Resources{Shares: 2}},
		"guaranteed": {pod(nil, ctr(full), ctr(full)), v1.PodQOSGuaranteed,
			qos.Resources{Shares: 1024, Quota: 100000, Memory: 128 << 20}},
		"limits alone are guaranteed": {pod(nil, ctr(rr(nil, m{"cpu": "1", "memory": "1Gi"}))),
			v1.PodQOSGuaranteed, qos.Resources{Shares: 1024, Quota: 100000, Memory: 1 << 30}},
		"one CPU limit missing": {pod(nil, ctr(full), ctr(rr(m{"cpu": "100m"}, m{"memory": "1Mi"}))),
			v1.PodQOSBurstable, qos.Resources{Shares: 614, Memory: 65 << 20}},
		"an init container without limits": {pod([]v1.Container{initc("i", rr(nil, nil))}, ctr(full)),
			v1.PodQOSBurstable, qos.Resources{Shares: 512}},
		"tiny": {pod(nil, ctr(rr(m{"cpu": "1m"}, m{"cpu": "1m"}))), v1.PodQOSBurstable,
			qos.Resources{Shares: 2, Quota: 1000}},
		"big init": {pod([]v1.Container{initc("i", rr(m{"cpu": "3"}, m{"cpu": "3"}))},
			ctr(rr(m{"cpu": "1"}, m{"cpu": "2"}))), v1.PodQOSBurstable,
			qos.Resources{Shares: 3072, Quota: 300000}},
		// Peak of init 2 runs beside sidecar s1 only: 1+2.5; the end state is
		// 1+0.5 sidecars and 1 container.
		"sidecars": {pod([]v1.Container{
			side("s1", rr(m{"cpu": "1"}, nil)), initc("i2", rr(m{"cpu": "2500m"}, nil)),
			side("s2", rr(m{"cpu": "500m"}, nil))}, ctr(rr(m{"cpu": "1"}, nil))),
			v1.PodQOSBurstable, qos.Resources{Shares: 3584}},
		"pod level over containers": {podLevel(pod(nil, ctr(rr(m{"cpu": "1"}, nil))),
			rr(m{"cpu": "2", "memory": "1Gi"}, m{"cpu": "2", "memory": "1Gi"})),
			v1.PodQOSGuaranteed, qos.Resources{Shares: 2048, Quota: 200000, Memory: 1 << 30}},
		"pod limit, container request": {podLevel(pod(nil, ctr(rr(m{"cpu": "1", "memory": "1Gi"}, nil))),
			rr(nil, m{"cpu": "2", "memory": "1Gi"})),
			v1.PodQOSBurstable, qos.Resources{Shares: 1024, Quota: 200000, Memory: 1 << 30}},
		"pod limit alone": {podLevel(pod(nil, ctr(rr(nil, nil))), rr(nil, m{"cpu": "2", "memory": "1Gi"})),
			v1.PodQOSGuaranteed, qos.Resources{Shares: 2048, Quota: 200000, Memory: 1 << 30}},
		"an empty pod level decides, too": {&v1.Pod{Spec: v1.PodSpec{Resources: &v1.ResourceRequirements{},
			Containers: []v1.Container{ctr(full)}}}, v1.PodQOSBestEffort, qos.Resources{Shares: 2}},
		"pod level of CPU only, containers limit memory": {podLevel(pod(nil, ctr(rr(nil, m{"memory": "1Gi"})), ctr(rr(nil, m{"memory": "1Gi"}))),
			rr(m{"cpu": "1"}, m{"cpu": "1"})), v1.PodQOSBurstable, qos.Resources{Shares: 1024, Quota: 100000, Memory: 2 << 30}},
		"an unlimited init after a limited sidecar": {pod([]v1.Container{side("s", rr(nil, m{"cpu": "1"})), initc("i", rr(nil, nil))},
			ctr(rr(nil, m{"cpu": "1"}))), v1.PodQOSBurstable, qos.Resources{Shares: 2048, Quota: 200000}},
		"an unlimited init before it": {pod([]v1.Container{initc("i", rr(nil, nil)), side("s", rr(nil, m{"cpu": "1"}))},
			ctr(rr(nil, m{"cpu": "1"}))), v1.PodQOSBurstable, qos.Resources{Shares: 2048}},
		"pod level without huge pages": {podLevel(pod(nil, ctr(rr(nil, m{"hugepages-2Mi": "4Mi"})), ctr(rr(nil, m{"hugepages-2Mi": "2Mi"}))),
			rr(nil, m{"cpu": "1"})), v1.PodQOSBurstable, qos.Resources{Shares: 1024, Quota: 100000, Hugepage: map[string]int64{"2MB": 6 << 20}}},
		"pod level with huge pages": {podLevel(pod(nil, ctr(rr(nil, m{"hugepages-2Mi": "4Mi"}))),
			rr(nil, m{"hugepages-2Mi": "8Mi", "memory": "1Gi"})), v1.PodQOSBurstable,
			qos.Resources{Shares: 2, Memory: 1 << 30, Hugepage: map[string]int64{"2MB": 8 << 20}}},
		"huge pages": {pod(nil, ctr(rr(m{"cpu": "1"}, m{"hugepages-2Mi": "4Mi"})),
			ctr(rr(nil, m{"hugepages-2Mi": "2Mi", "hugepages-1Gi": "1Gi"}))), v1.PodQOSBurstable,
			qos.Resources{Shares: 1024, Hugepage: map[string]int64{"2MB": 6 << 20, "1GB": 1 << 30}}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := qos.Class(c.pod); got != c.class {
				t.Errorf("class %s, want %s", got, c.class)
			}
			if d := cmp.Diff(c.want, qos.PodResources(c.pod)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestOverhead(t *testing.T) {
	p := pod(nil, ctr(rr(nil, m{"cpu": "1", "memory": "1Gi"})))
	p.Spec.Overhead = v1.ResourceList{"cpu": resource.MustParse("250m"), "memory": resource.MustParse("1Mi")}
	want := qos.Resources{Shares: 1280, Quota: 125000, Memory: 1<<30 + 1<<20}
	if d := cmp.Diff(want, qos.PodResources(p)); d != "" {
		t.Error(d)
	}
	if got := p.Spec.Containers[0].Resources.Limits.Cpu().String(); got != "1" {
		t.Errorf("the pod was changed: its CPU limit is now %s", got)
	}
}

func TestSharesQuotaWeight(t *testing.T) {
	for _, c := range []struct {
		milli  int64
		shares uint64
		quota  int64
		weight uint64
	}{
		{-1, 2, 0, 1}, {0, 2, 0, 1}, {1, 2, 1000, 1}, {9, 9, 1000, 1}, {10, 10, 1000, 1}, {11, 11, 1100, 1},
		{28, 28, 2800, 1}, {29, 29, 2900, 2}, {100, 102, 10000, 4}, {1000, 1024, 100000, 39},
		{2500, 2560, 250000, 98}, {256000, 262144, 25600000, 10000}, {1 << 40, 262144, 1 << 40 * 100, 10000},
	} {
		s := qos.Shares(c.milli)
		if s != c.shares || qos.Quota(c.milli) != c.quota || qos.Weight(s) != c.weight {
			t.Errorf("%dm: shares %d quota %d weight %d, want %d %d %d",
				c.milli, s, qos.Quota(c.milli), qos.Weight(s), c.shares, c.quota, c.weight)
		}
	}
}

func TestOOMScoreAdj(t *testing.T) {
	const gib = int64(1) << 30
	mem := func(q string) v1.ResourceRequirements { return rr(m{"memory": q}, nil) }
	critical := pod(nil, ctr(mem("1Mi")))
	critical.Spec.PriorityClassName, critical.Spec.Priority = "system-node-critical", ptr.To[int32](2000001000)
	withSide := pod([]v1.Container{side("s", mem("1Mi"))}, v1.Container{Name: "a", Resources: mem("8Gi")},
		v1.Container{Name: "b", Resources: mem("4Gi")})
	shared := podLevel(pod(nil, v1.Container{Name: "a", Resources: mem("1Gi")}, v1.Container{Name: "b"}), mem("5Gi"))
	for _, c := range []struct {
		name string
		pod  *v1.Pod
		c    *v1.Container
		want int
	}{
		{"best effort", pod(nil, ctr(rr(nil, nil))), nil, 1000},
		{"guaranteed", pod(nil, ctr(rr(nil, m{"cpu": "1", "memory": "1Mi"}))), nil, -997},
		{"critical", critical, nil, -997},
		{"a quarter", pod(nil, ctr(mem("4Gi"))), nil, 750},
		{"a little", pod(nil, ctr(mem("1Mi"))), nil, 999},
		{"CPU only", pod(nil, ctr(rr(m{"cpu": "1"}, nil))), nil, 999},
		{"nearly all", pod(nil, ctr(mem("16383Mi"))), nil, 3},
		{"all", pod(nil, ctr(mem("16Gi"))), nil, 3},
		{"more than all", pod(nil, ctr(mem("7Ei"))), nil, 3},
		{"sidecar as the least container", withSide, &withSide.Spec.InitContainers[0], 750},
		{"its container", withSide, &withSide.Spec.Containers[0], 500},
		{"pod level, (5-1)/2 more each", shared, &shared.Spec.Containers[1], 875},
	} {
		if c.c == nil {
			c.c = &c.pod.Spec.Containers[0]
		}
		if got := qos.OOMScoreAdj(c.pod, c.c, 16*gib); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	if got := qos.OOMScoreAdj(pod(nil, ctr(mem("1Gi"))), &v1.Container{}, 0); got != 999 {
		t.Errorf("memory of the node unknown: %d, want 999", got)
	}
}

func TestPaths(t *testing.T) {
	const uid = "0f1e-22"
	for _, c := range []struct {
		driver, root string
		class        v1.PodQOSClass
		kubepods     string
		pod          string
		container    string
		spec         string
	}{
		{qos.Cgroupfs, "/", v1.PodQOSGuaranteed, "/kubepods", "/kubepods/pod0f1e-22",
			"/kubepods/pod0f1e-22/abc", "/kubepods/pod0f1e-22/abc"},
		{qos.Cgroupfs, "/n1", v1.PodQOSBurstable, "/n1/kubepods/burstable",
			"/n1/kubepods/burstable/pod0f1e-22", "/n1/kubepods/burstable/pod0f1e-22/abc",
			"/n1/kubepods/burstable/pod0f1e-22/abc"},
		{qos.Systemd, "/", v1.PodQOSBestEffort, "/kubepods.slice/kubepods-besteffort.slice",
			"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod0f1e_22.slice",
			"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod0f1e_22.slice/davit-abc.scope",
			"kubepods-besteffort-pod0f1e_22.slice:davit:abc"},
		{qos.Systemd, "/", v1.PodQOSGuaranteed, "/kubepods.slice",
			"/kubepods.slice/kubepods-pod0f1e_22.slice",
			"/kubepods.slice/kubepods-pod0f1e_22.slice/davit-abc.scope",
			"kubepods-pod0f1e_22.slice:davit:abc"},
	} {
		kp := qos.KubepodsPath(c.driver, c.root, c.class)
		pp := qos.PodPath(c.driver, c.root, c.class, uid)
		cp := qos.ContainerPath(c.driver, pp, "abc")
		if d := cmp.Diff([]string{c.kubepods, c.pod, c.container, c.spec}, []string{kp, pp, cp, qos.SpecPath(cp)}); d != "" {
			t.Error(d)
		}
		if back := qos.FromSpecPath(qos.SpecPath(cp)); back != cp {
			t.Errorf("%s came back as %s", cp, back)
		}
	}
	for _, uid := range []string{"", ".", "..", "a/b", "a\nb", "../x"} {
		if qos.CheckUID(uid) == nil {
			t.Errorf("UID %q passes", uid)
		}
	}
}

func TestExpandSlice(t *testing.T) {
	for in, want := range map[string]string{"-.slice": "/", "a.slice": "/a.slice", "a-b-c.slice": "/a.slice/a-b.slice/a-b-c.slice"} {
		if got := qos.ExpandSlice(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

// Whatever a pod asks for, its values are ones that the kernel takes, and the
// container that starts last never finds the pod's limit below its own.
func TestPodResourcesProperties(t *testing.T) {
	genList := rapid.Custom(func(t *rapid.T) v1.ResourceList {
		l := v1.ResourceList{}
		for _, n := range []v1.ResourceName{"cpu", "memory", "hugepages-2Mi"} {
			if rapid.Bool().Draw(t, "set") {
				l[n] = *resource.NewMilliQuantity(rapid.Int64Range(0, 1<<40).Draw(t, "q"), resource.DecimalSI)
			}
		}
		return l
	})
	genCtr := rapid.Custom(func(t *rapid.T) v1.Container {
		c := v1.Container{Name: rapid.StringMatching(`[a-z]{1,3}`).Draw(t, "name")}
		c.Resources = v1.ResourceRequirements{Requests: genList.Draw(t, "req"), Limits: genList.Draw(t, "lim")}
		if rapid.Bool().Draw(t, "sidecar") {
			c.RestartPolicy = ptr.To(v1.ContainerRestartPolicyAlways)
		}
		return c
	})
	rapid.Check(t, func(t *rapid.T) {
		p := pod(rapid.SliceOfN(genCtr, 0, 3).Draw(t, "init"), rapid.SliceOfN(genCtr, 0, 3).Draw(t, "ctr")...)
		if rapid.Bool().Draw(t, "podLevel") {
			p.Spec.Resources = &v1.ResourceRequirements{Requests: genList.Draw(t, "req"), Limits: genList.Draw(t, "lim")}
		}
		r := qos.PodResources(p)
		if r.Shares < 2 || r.Shares > 262144 || r.Quota < 0 || (r.Quota > 0 && r.Quota < 1000) || r.Memory < 0 {
			t.Fatalf("the kernel would refuse %+v", r)
		}
		for i := range p.Spec.Containers {
			c := &p.Spec.Containers[i]
			if lim := c.Resources.Limits.Memory().Value(); p.Spec.Resources == nil && r.Memory > 0 && r.Memory < lim {
				t.Fatalf("pod limit %d is below container limit %d", r.Memory, lim)
			}
			if s := qos.OOMScoreAdj(p, c, 16<<30); s != -997 && (s < 3 || s > 1000) {
				t.Fatalf("score %d", s)
			}
		}
	})
}

func TestContainerLimits(t *testing.T) {
	p := podLevel(pod(nil, ctr(rr(nil, m{"hugepages-2Mi": "4Mi"})), ctr(rr(nil, m{"cpu": "1"}))), rr(nil, m{"memory": "1Gi", "cpu": "2"}))
	type row struct{ cpu, memory, pages string }
	for i, want := range []row{{"2", "1Gi", "4Mi"}, {"1", "1Gi", "4Mi"}} { // the pod's huge pages are the sum of its containers'
		c := &p.Spec.Containers[i]
		cpu, memory := qos.ContainerLimit(p, c, "cpu"), qos.ContainerLimit(p, c, "memory")
		pages := qos.ContainerHugepages(p, c)["hugepages-2Mi"]
		if got := (row{cpu.String(), memory.String(), pages.String()}); got != want {
			t.Errorf("container %d: %v, want %v", i, got, want)
		}
	}
}

func TestSwapLimit(t *testing.T) {
	const gib = int64(1) << 30
	for name, c := range map[string]struct {
		r        v1.ResourceRequirements
		priority *int32
		want     int64
	}{
		"an eighth":          {rr(m{"memory": "2Gi"}, nil), nil, gib / 2},
		"with a limit":       {rr(m{"memory": "2Gi"}, m{"memory": "3Gi"}), nil, gib / 2},
		"request is limit":   {rr(nil, m{"memory": "2Gi"}), nil, 0},
		"no memory at all":   {rr(m{"cpu": "1"}, nil), nil, 0},
		"guaranteed":         {rr(nil, m{"cpu": "1", "memory": "2Gi"}), nil, 0},
		"best effort":        {rr(nil, nil), nil, 0},
		"more than there is": {rr(m{"memory": "17Gi"}, nil), nil, 0},
		"critical":           {rr(m{"memory": "2Gi"}, nil), ptr.To[int32](2000000000), 0},
		"less than critical": {rr(m{"memory": "2Gi"}, nil), ptr.To[int32](1999999999), gib / 2},
	} {
		p := pod(nil, ctr(c.r))
		p.Spec.Priority = c.priority
		if got := qos.SwapLimit(p, &p.Spec.Containers[0], 16*gib, 4*gib); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestAllocatable(t *testing.T) {
	list := func(m m) v1.ResourceList { return rr(m, nil).Requests }
	capacity := list(m{"cpu": "2", "memory": "4Gi", "pid": "1000", "hugepages-2Mi": "1Gi"})
	kube, system := list(m{"cpu": "500m", "memory": "1Gi"}), list(m{"cpu": "100m", "pid": "2000"})
	for what, c := range map[string]struct {
		got  v1.ResourceList
		want m
	}{
		"less":        {qos.Less(capacity, kube, system), m{"cpu": "1400m", "memory": "3Gi", "pid": "0", "hugepages-2Mi": "1Gi"}},
		"allocatable": {qos.Allocatable(capacity, kube, system), m{"cpu": "1400m", "memory": "2Gi", "pid": "0", "hugepages-2Mi": "1Gi"}},
		"all is kept": {qos.Allocatable(capacity, list(m{"memory": "4Gi"})), m{"cpu": "2", "memory": "0", "pid": "1k", "hugepages-2Mi": "1Gi"}},
	} {
		got := m{}
		for name, q := range c.got {
			got[string(name)] = q.String()
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", what, d)
		}
	}
	want := qos.Resources{Shares: 2048, Memory: 4 << 30, Pids: 1000, OtherHugepages: 1 << 62}
	if d := cmp.Diff(want, qos.NodeResources(capacity)); d != "" {
		t.Error(d)
	}
	if q := capacity["memory"]; q.String() != "4Gi" {
		t.Errorf("the capacity was changed: memory is %s", q.String())
	}
}
