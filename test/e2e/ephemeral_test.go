package e2e

import (
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/test/node"
)

// A container that is added to the manifest of a pod that runs looks into it: it
// sees the processes of its target, can be entered, and its log can be read. The
// pod stays the pod that it was.
func TestEphemeralContainer(t *testing.T) {
	n := start(t, "")
	manifest := strings.ReplaceAll(`
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers:
  - name: main
    image: IMAGE
    command: [/bin/podtool, serve, "127.0.0.1:8080", hello]
    readinessProbe: {httpGet: {host: 127.0.0.1, path: /healthz, port: 8080}, periodSeconds: 1}
`, "IMAGE", node.Image)
	n.Apply("web.yaml", manifest)
	before := n.WaitPod("web", patience, node.Ready)
	n.Apply("web.yaml", manifest+strings.ReplaceAll(`
  ephemeralContainers:
  - name: debug
    image: IMAGE
    targetContainerName: main
    command: [sh, -c, "echo looking; exec /bin/podtool sleep"]
    env: [{name: LIMIT, valueFrom: {resourceFieldRef: {resource: limits.memory}}}]
`, "IMAGE", node.Image))
	after := n.WaitPod("web", patience, func(p *v1.Pod) string {
		if s := p.Status.EphemeralContainerStatuses; len(s) != 1 || s[0].State.Running == nil {
			return "the ephemeral container does not run: " + node.Brief(p)
		}
		return ""
	})
	if before.UID != after.UID || ids(before) != ids(after) {
		t.Errorf("it is another pod: %s, then %s", ids(before), ids(after))
	}
	if got := execIn(t, n, "web", "debug", "cat", "/proc/1/cmdline"); !strings.Contains(got, "serve") {
		t.Errorf("process 1, as debug sees it, is %q", got)
	}
	if got := execIn(t, n, "web", "debug", "sh", "-c", "echo $LIMIT"); strings.TrimSpace(got) == "" {
		t.Error("its resourceFieldRef is empty")
	}
	out, errs, code := n.CLI("logs", after.Name, "-c", "debug")
	if code != 0 || !strings.Contains(out, "looking") {
		t.Errorf("logs: %d, %q, %q", code, out, errs)
	}
	if out, errs, code := n.CLI("explain", "pod", after.Name); code != 0 || !strings.Contains(out, "debug") {
		t.Errorf("explain: %d, %q, %q", code, out, errs)
	}
	n.Withdraw("web.yaml")
	n.WaitPod("web", patience, node.Gone)
	noLeaks(t, n)
}
