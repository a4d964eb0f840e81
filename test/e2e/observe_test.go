package e2e

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/test/node"
	"github.com/davit-agent/davit/test/testbed"
)

// What a node tells: the command line, metrics and health.
func TestWhatTheNodeTells(t *testing.T) {
	n := start(t, "")
	n.Apply("a.yaml", podtool("a", "Always", "sleep"))
	pod := n.WaitPod("a", patience, node.Ready)

	out, stderr, code := n.CLI("get", "pods", "-o", "json")
	var list v1.PodList
	if code != 0 || json.Unmarshal([]byte(out), &list) != nil || list.Kind != "PodList" && list.Kind != "List" || len(list.Items) != 1 || list.Items[0].UID != pod.UID {
		t.Errorf("get pods -o json: %d %s\n%s", code, stderr, out)
	}
	out, _, _ = n.CLI("get", "pods", "-o", "wide")
	if f := strings.Fields(lastLine(out)); len(f) < 7 || f[0] != "a-"+node.Name || f[1] != "1/1" || f[2] != "Running" || f[5] != pod.Status.PodIP || f[6] != node.Name {
		t.Errorf("get pods -o wide:\n%s", out)
	}
	if _, stderr, code := n.CLI("logs", "nobody"); code != 1 || !strings.Contains(stderr, "nobody") {
		t.Errorf("logs of a pod that is not there: %d %s", code, stderr)
	}
	if _, stderr, code := n.CLI("get", "frobs"); code != 2 {
		t.Errorf("a command line that makes no sense: %d %s", code, stderr)
	}
	for what, code := range map[string]int{"exit 0": 0, "exit 3": 3} {
		if _, stderr, got := n.CLI("exec", "a", "--", "/bin/busybox", "sh", "-c", what); got != code {
			t.Errorf("exec %q: %d %s", what, got, stderr)
		}
	}
	info, err := os.Stat(n.Socket())
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v %v", info.Mode(), err)
	}

	tool := podtoolOnHost(t)
	metrics := n.Bed.Run(tool, "get", "http://127.0.0.1:9153/metrics")
	for _, want := range []string{`davit_pods{phase="Running"} 1`, `davit_pod_start_duration_seconds_count{phase="running"} 1`, "davit_build_info{"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics have no %s", want)
		}
	}
	if health := n.Bed.Run(tool, "get", "http://127.0.0.1:9153/healthz"); !strings.Contains(health, "ok") {
		t.Errorf("healthz: %q", health)
	}
	n.Bed.Containerd.Stop()
	testbed.Poll(t, patience, func() string {
		if out, err := n.Bed.Command(tool, "get", "http://127.0.0.1:9153/healthz").CombinedOutput(); err == nil && !strings.Contains(string(out), "containerd") && !strings.Contains(string(out), "reachable") {
			return "healthz without containerd: " + string(out)
		}
		return ""
	})
	n.Bed.Containerd.Start()
	n.Withdraw("a.yaml")
	n.WaitPod("a", patience, node.Gone)
	noLeaks(t, n)
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}
