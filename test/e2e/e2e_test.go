package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/test/node"
	"github.com/davit-agent/davit/test/testbed"
)

// patience is how long anything may take on a busy machine.
const patience = 90 * time.Second

// start makes a node with a running davit.
func start(t *testing.T, config string) *node.Node {
	t.Helper()
	return node.Start(t, testbed.New(t, testbed.Options{}), node.Options{Config: config})
}

// noLeaks takes all pods away and looks for what is left of them.
func noLeaks(t *testing.T, n *node.Node) {
	t.Helper()
	if err := n.Stop(); err != nil {
		t.Errorf("davit ended with %v", err)
	}
	if out, err := n.Bed.Command(n.Binary, "cleanup", "--config", n.Config).CombinedOutput(); err != nil {
		t.Fatalf("davit cleanup: %v\n%s", err, out)
	}
	for _, item := range n.Bed.LeakCheck() {
		t.Errorf("leaked: %s", item)
	}
}

// podtool is a manifest of a pod with one container that runs podtool.
func podtool(name, policy string, args ...string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  restartPolicy: %s
  terminationGracePeriodSeconds: 5
  containers:
  - {name: main, image: "%s", command: [/bin/podtool], args: [%s]}
`, name, policy, node.Image, quoted(args))
}

func quoted(args []string) string {
	q := make([]string, len(args))
	for i, a := range args {
		q[i] = fmt.Sprintf("%q", a)
	}
	return strings.Join(q, ", ")
}

// exec runs a command in a pod's container and returns what it printed.
func execIn(t *testing.T, n *node.Node, pod, container string, args ...string) string {
	t.Helper()
	stdout, stderr, code := n.CLI(append([]string{"exec", pod, "-c", container, "--"}, args...)...)
	if code != 0 {
		t.Fatalf("davit exec %s -c %s -- %v: exit %d\n%s%s", pod, container, args, code, stdout, stderr)
	}
	return stdout
}

// terminated returns the end of the only container of a pod.
func terminated(p *v1.Pod) *v1.ContainerStateTerminated {
	if p == nil || len(p.Status.ContainerStatuses) == 0 {
		return nil
	}
	c := p.Status.ContainerStatuses[0]
	if c.State.Terminated != nil {
		return c.State.Terminated
	}
	return c.LastTerminationState.Terminated
}

// ids returns restart counts and container IDs of a pod: what must not change
// while nothing but the agent restarts.
func ids(p *v1.Pod) string {
	if p == nil {
		return "no pod"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "uid=%s ips=%v", p.UID, p.Status.PodIPs)
	for _, c := range append(append([]v1.ContainerStatus{}, p.Status.InitContainerStatuses...), p.Status.ContainerStatuses...) {
		fmt.Fprintf(&b, " %s=%d/%s", c.Name, c.RestartCount, c.ContainerID)
		if c.State.Running != nil {
			fmt.Fprintf(&b, "@%s", c.State.Running.StartedAt.UTC().Format(time.RFC3339))
		}
	}
	return b.String()
}
