package e2e

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/test/node"
	"github.com/davit-agent/davit/test/testbed"
)

func touch(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
}

// checkLines fails unless out is the numbered lines 1..n, each once.
func checkLines(t *testing.T, what, out string, n int) {
	t.Helper()
	next := 1
	for line := range strings.Lines(out) {
		field, _ := strings.CutPrefix(strings.TrimSpace(line), "line ")
		got, err := strconv.Atoi(field)
		if err != nil || got != next {
			t.Fatalf("%s: line %d is %q", what, next, line)
		}
		next++
	}
	if next-1 != n {
		t.Errorf("%s: %d lines, want %d", what, next-1, n)
	}
}

// A container that prints all the time, and one that prints at full speed, lose
// no line and get none twice, whatever becomes of the agent.
func TestNoLineIsLostWithTheAgent(t *testing.T) {
	pods := map[string]struct {
		lines int
		args  []string
	}{
		"talker": {20000, []string{"lines", "20000", "1000"}},
		"rush":   {2000000, []string{"lines", "2000000"}},
	}
	n := start(t, "logs: {maxSize: 1Gi}\n")
	for name, p := range pods {
		n.Apply(name+".yaml", podtool(name, "Never", p.args...))
	}
	n.WaitPod("talker", patience, func(p *v1.Pod) string {
		if p == nil || p.Status.Phase == v1.PodPending {
			return "not started"
		}
		return ""
	})
	for range 3 {
		n.Kill()
		n.Start()
		n.Await()
		n.Restart()
	}
	for name, p := range pods {
		n.WaitPod(name, patience, node.Phase(v1.PodSucceeded))
		for _, args := range [][]string{{"logs", name}, {"logs", "-f", name}} {
			out, stderr, code := n.CLI(args...)
			if code != 0 {
				t.Fatalf("davit %v: %d %s", args, code, stderr)
			}
			checkLines(t, strings.Join(args, " "), out, p.lines)
		}
	}
}

// One that prints and exits at once is heard in full.
func TestShortLivedOutput(t *testing.T) {
	n := start(t, "")
	for i := range 5 {
		n.Apply(fmt.Sprintf("brief%d.yaml", i), podtool(fmt.Sprintf("brief%d", i), "Never", "lines", "2000"))
	}
	n.Kill() // somewhere in the middle
	n.Start()
	n.Await()
	for i := range 5 {
		name := fmt.Sprintf("brief%d", i)
		n.WaitPod(name, patience, node.Phase(v1.PodSucceeded))
		out, _, _ := n.CLI("logs", name)
		checkLines(t, name, out, 2000)
	}
}

// An agent that hangs for a while blocks no container: the log pump is another
// process.
func TestStoppedAgentBlocksNobody(t *testing.T) {
	n := start(t, "logs: {maxSize: 64Mi}\n")
	done := n.Bed.Path("done")
	if err := os.Mkdir(done, 0o777); err != nil {
		t.Fatal(err)
	}
	n.Apply("busy.yaml", fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: busy}
spec:
  restartPolicy: Never
  volumes: [{name: done, hostPath: {path: %s}}]
  containers:
  - name: main
    image: "%s"
    command: [/bin/busybox, sh, -c, "while ! [ -e /done/go ]; do sleep 0.1; done; /bin/podtool lines 200000; touch /done/done; sleep 1000"]
    volumeMounts: [{name: done, mountPath: /done}]
`, done, node.Image))
	n.WaitPod("busy", patience, node.Ready)
	n.Signal(syscall.SIGSTOP)
	touch(t, done+"/go")
	testbed.Poll(t, patience, func() string {
		if _, err := os.Stat(done + "/done"); err != nil {
			return "the container is still printing while the agent is stopped"
		}
		return ""
	})
	n.Signal(syscall.SIGCONT)
	n.Await()
	testbed.Poll(t, patience, func() string {
		out, _, _ := n.CLI("logs", "busy")
		if got := strings.Count(out, "\n"); got != 200000 {
			return fmt.Sprintf("%d lines", got)
		}
		return ""
	})
	out, _, _ := n.CLI("logs", "busy")
	checkLines(t, "busy", out, 200000)
}

// Files are rotated by size and a follower goes on.
func TestRotation(t *testing.T) {
	n := start(t, "logs: {maxSize: 1Mi, maxFiles: 3}\n")
	n.Apply("long.yaml", podtool("long", "Never", "lines", "100000", "50000"))
	pod := n.WaitPod("long", patience, node.Phase(v1.PodSucceeded))
	dir := fmt.Sprintf("%s/default_%s_%s/main", n.LogDir, pod.Name, pod.UID)
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) < 2 || len(entries) > 3 {
		t.Errorf("files in %s: %v, %v, want 2 or 3", dir, entries, err)
	}
	out, _, _ := n.CLI("logs", "long")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	last := lines[len(lines)-1]
	if last != "line 100000" || len(lines) < 10000 {
		t.Errorf("%d lines, the last is %q", len(lines), last)
	}
}
