package upgrade

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/test/node"
	"github.com/davit-agent/davit/test/testbed"
)

//go:embed PREVIOUS
var previous string

const patience = 90 * time.Second

// buildPrevious builds the previous version from the repository's history, once.
func buildPrevious(t *testing.T) string {
	t.Helper()
	commit := strings.TrimSpace(previous)
	cache := os.Getenv("DAVIT_TEST_CACHE")
	if cache == "" {
		cache = "/var/cache/davit-test"
	}
	binary := filepath.Join(cache, "davit-"+commit)
	if _, err := os.Stat(binary); err == nil {
		return binary
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "tree")
	top, err := exec.Command("git", "rev-parse", "--show-toplevel").Output()
	if err != nil {
		t.Fatalf("finding the repository: %v", err)
	}
	for _, args := range [][]string{
		{"git", "clone", "-q", "--shared", "--no-checkout", strings.TrimSpace(string(top)), dir},
		{"git", "-C", dir, "checkout", "-q", commit},
		{"make", "-s", "-C", dir, "build"},
	} {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s\n(the previous version is built from the history: a shallow clone has none)", strings.Join(args, " "), err, out)
		}
	}
	tmp := binary + ".tmp"
	data, err := os.ReadFile(filepath.Join(dir, "bin", "davit"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tmp, data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, binary); err != nil {
		t.Fatal(err)
	}
	return binary
}

const manifests = `apiVersion: v1
kind: Pod
metadata: {name: plain}
spec:
  terminationGracePeriodSeconds: 2
  volumes: [{name: disk, emptyDir: {}}, {name: memory, emptyDir: {medium: Memory}}]
  initContainers:
  - {name: init, image: IMAGE, command: [/bin/podtool, write, /disk/file, "from the old version"], volumeMounts: [{name: disk, mountPath: /disk}]}
  - {name: side, image: IMAGE, command: [/bin/podtool, sleep], restartPolicy: Always}
  containers:
  - {name: main, image: IMAGE, command: [/bin/podtool, lines, "0", "100"], volumeMounts: [{name: disk, mountPath: /disk}, {name: memory, mountPath: /memory}]}
---
apiVersion: v1
kind: Pod
metadata: {name: shared}
spec:
  shareProcessNamespace: true
  terminationGracePeriodSeconds: 2
  containers:
  - {name: main, image: IMAGE, command: [/bin/podtool, sleep]}
---
apiVersion: v1
kind: Pod
metadata: {name: host}
spec:
  hostNetwork: true
  terminationGracePeriodSeconds: 2
  containers:
  - {name: main, image: IMAGE, command: [/bin/podtool, sleep]}
---
apiVersion: v1
kind: Pod
metadata: {name: done}
spec:
  restartPolicy: Never
  containers:
  - {name: main, image: IMAGE, command: [/bin/podtool, exit, "42"]}
`

func TestAdoption(t *testing.T) {
	old := buildPrevious(t)
	bed := testbed.New(t, testbed.Options{})
	n := node.Start(t, bed, node.Options{Binary: old})
	n.Apply("pods.yaml", strings.ReplaceAll(manifests, "IMAGE", node.Image))
	state := func() string {
		var b strings.Builder
		for _, name := range []string{"plain", "shared", "host"} {
			fmt.Fprintln(&b, identity(n.WaitPod(name, patience, node.Ready)))
		}
		fmt.Fprintln(&b, identity(n.WaitPod("done", patience, node.Phase(v1.PodFailed))))
		return b.String()
	}
	before := state()
	for _, step := range []struct{ what, binary string }{
		{"the new version", node.Build(t)}, {"the old version again", old}, {"the new version once more", node.Build(t)},
	} {
		if err := n.Stop(); err != nil {
			t.Errorf("davit ended with %v", err)
		}
		n.Binary = step.binary
		n.Start()
		n.Await()
		if after := state(); after != before {
			t.Fatalf("%s did not take the pods over as they were:\n%s\n%s", step.what, before, after)
		}
		time.Sleep(2 * time.Second)
		if after := state(); after != before {
			t.Fatalf("%s restarted something later:\n%s\n%s", step.what, before, after)
		}
	}
	checkOutput(t, n)
	n.Withdraw("pods.yaml")
	for _, name := range []string{"plain", "shared", "host", "done"} {
		n.WaitPod(name, patience, node.Gone)
	}
	if err := n.Stop(); err != nil {
		t.Errorf("davit ended with %v", err)
	}
	if out, err := bed.Command(n.Binary, "cleanup", "--config", n.Config).CombinedOutput(); err != nil {
		t.Errorf("davit cleanup: %v\n%s", err, out)
	}
	for _, item := range bed.LeakCheck() {
		t.Errorf("leaked: %s", item)
	}
}

// checkOutput checks that plain's lines are all there, each once, over all the
// versions, and that its volume holds what the old one put there.
func checkOutput(t *testing.T, n *node.Node) {
	t.Helper()
	out, stderr, code := n.CLI("logs", "plain", "-c", "main")
	if code != 0 {
		t.Fatalf("davit logs: %s", stderr)
	}
	next := 1
	for line := range strings.Lines(out) {
		if want := fmt.Sprintf("line %d\n", next); line != want {
			t.Fatalf("line %d is %q", next, line)
		}
		next++
	}
	if next < 100 {
		t.Errorf("only %d lines", next-1)
	}
	if out, stderr, _ := n.CLI("exec", "plain", "-c", "main", "--", "/bin/podtool", "read", "/disk/file"); strings.TrimSpace(out) != "from the old version" {
		t.Errorf("the volume holds %q %s", out, stderr)
	}
}

func identity(p *v1.Pod) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %v", p.Name, p.UID, p.Status.PodIPs)
	for _, c := range append(append([]v1.ContainerStatus{}, p.Status.InitContainerStatuses...), p.Status.ContainerStatuses...) {
		fmt.Fprintf(&b, " %s:%d:%s", c.Name, c.RestartCount, c.ContainerID)
		if e := c.State.Terminated; e != nil {
			fmt.Fprintf(&b, ":%d:%s", e.ExitCode, e.Reason)
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Type == v1.PodReady {
			fmt.Fprintf(&b, " Ready=%s since %s", c.Status, c.LastTransitionTime.UTC().Format(time.RFC3339))
		}
	}
	return b.String()
}
