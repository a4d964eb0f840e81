package e2e

import (
	"fmt"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/test/node"
	"github.com/davit-agent/davit/test/testbed"
)

// outage is who is away while containers end.
type outage struct {
	name              string
	agent, containerd bool
	// lost: nobody can have seen the end; it is reported as unknown where the
	// daemon throws stopped tasks away.
	lost bool
}

var outages = []outage{
	{name: "nobody away"},
	{name: "agent away", agent: true},
	{name: "containerd away", containerd: true},
	{name: "both away", agent: true, containerd: true, lost: true},
}

func TestExitsDuringOutages(t *testing.T) {
	t.Run("containerd of Debian", func(t *testing.T) { exitsDuringOutages(t, "", true) })
	t.Run("containerd 2", func(t *testing.T) { exitsDuringOutages(t, testbed.BuildContainerd2(t), false) })
}

// exitsDuringOutages: keeps tells whether this daemon keeps stopped tasks when
// it restarts.
func exitsDuringOutages(t *testing.T, bin string, keeps bool) {
	bed := testbed.New(t, testbed.Options{Containerd: bin})
	n := node.Start(t, bed, node.Options{})
	for i, o := range outages {
		t.Run(o.name, func(t *testing.T) { exitsDuring(t, n, i, o, keeps) })
	}
	noLeaks(t, n)
}

func exitsDuring(t *testing.T, n *node.Node, i int, o outage, keeps bool) {
	type want struct {
		code   int32
		reason string
		phase  v1.PodPhase
	}
	ends := map[string]struct {
		manifest string
		want     want
	}{}
	file := n.Bed.Path(fmt.Sprintf("go%d", i))
	wait := func(then string) []string {
		return []string{"sh", "-c", "while ! [ -e /go/go ]; do sleep 0.2; done; " + then}
	}
	for name, end := range map[string]struct {
		then string
		want want
	}{
		"zero":  {"exit 0", want{0, "Completed", v1.PodSucceeded}},
		"forty": {"exit 42", want{42, "Error", v1.PodFailed}},
		"oom":   {"exec /bin/podtool oom", want{137, "OOMKilled", v1.PodFailed}},
	} {
		pod := fmt.Sprintf("%s-%d", name, i)
		ends[pod] = struct {
			manifest string
			want     want
		}{fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  volumes: [{name: go, hostPath: {path: %s, type: DirectoryOrCreate}}]
  containers:
  - name: main
    image: "%s"
    command: [/bin/busybox, %s]
    resources: {limits: {memory: 64Mi}}
    volumeMounts: [{name: go, mountPath: /go}]
`, pod, file, node.Image, quoted(wait(end.then))), end.want}
	}
	for pod, e := range ends {
		n.Apply(pod+".yaml", e.manifest)
	}
	uids := map[string]string{}
	for pod := range ends {
		uids[pod] = string(n.WaitPod(pod, patience, node.Ready).UID)
	}
	if o.agent {
		n.Kill()
	}
	if o.containerd {
		n.Bed.Containerd.Kill()
	}
	touch(t, file+"/go")
	for _, uid := range uids {
		testbed.Poll(t, patience, func() string {
			if p := podProcesses(t, uid); len(p) > 0 {
				return fmt.Sprintf("still running: %v", p)
			}
			return ""
		})
	}
	if o.containerd {
		n.Bed.Containerd.Start()
	}
	if o.agent {
		n.Start()
		n.Await()
	}
	for pod, e := range ends {
		p := n.WaitPod(pod, patience, func(p *v1.Pod) string {
			if p == nil || p.Status.Phase == v1.PodRunning || p.Status.Phase == v1.PodPending || terminated(p) == nil {
				return "has not ended"
			}
			return ""
		})
		end := terminated(p)
		w := e.want
		if o.lost && !keeps {
			w = want{137, "ContainerStatusUnknown", v1.PodFailed}
		}
		got := want{end.ExitCode, end.Reason, p.Status.Phase}
		if got != w {
			t.Errorf("%s: %+v, want %+v (%s)", pod, got, w, node.Brief(p))
		}
		n.Withdraw(pod + ".yaml")
	}
	for pod := range ends {
		n.WaitPod(pod, patience, node.Gone)
	}
}
