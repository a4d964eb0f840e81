package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/test/node"
	"github.com/davit-agent/davit/test/testbed"
)

func podtoolOnHost(t *testing.T) string { return testbed.Podtool(t) }

// An edited manifest replaces its pod; a removed one ends it by its stop
// signal, within the grace period; others do not notice.
func TestEditAndRemoval(t *testing.T) {
	n := start(t, "")
	n.Apply("other.yaml", podtool("other", "Always", "sleep"))
	n.Apply("web.yaml", podtool("web", "Always", "sleep"))
	other := ids(n.WaitPod("other", patience, node.Ready))
	first := n.WaitPod("web", patience, node.Ready)

	n.Apply("web.yaml", podtool("web", "Always", "ignore-term"))
	second := n.WaitPod("web", patience, func(p *v1.Pod) string {
		if why := node.Ready(p); why != "" {
			return why
		}
		if p.UID == first.UID {
			return "still the old pod"
		}
		return ""
	})
	if second.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Errorf("the new pod counts restarts: %s", node.Brief(second))
	}

	began := time.Now()
	n.Withdraw("web.yaml")
	n.WaitPod("web", patience, func(p *v1.Pod) string {
		if p == nil || p.DeletionTimestamp == nil {
			return "not being deleted"
		}
		return ""
	})
	n.WaitPod("web", patience, node.Gone)
	if took := time.Since(began); took < 5*time.Second {
		t.Errorf("a container that ignores SIGTERM was gone after %v, its grace period is 5 s", took)
	}
	if now := ids(n.Pod("other")); now != other {
		t.Errorf("the other pod was touched:\n%s\n%s", other, now)
	}
	n.Withdraw("other.yaml")
	n.WaitPod("other", patience, node.Gone)
	noLeaks(t, n)
}

// Whatever is wrong in one file is reported with file, line and field, and
// hides nothing else.
func TestBrokenManifests(t *testing.T) {
	n := start(t, "")
	n.Apply("good.yaml", podtool("good", "Always", "sleep"))
	before := ids(n.WaitPod("good", patience, node.Ready))
	for name, c := range map[string]struct{ manifest, want string }{
		"malformed.yaml":   {"apiVersion: v1\nkind: Pod\nmetadata: {name: x\n", "not valid YAML"},
		"unknown.yaml":     {strings.Replace(podtool("unknown", "Always", "sleep"), "image:", "imagee:", 1), "imagee"},
		"unsupported.yaml": {strings.Replace(podtool("unsupported", "Always", "sleep"), "spec:\n", "spec:\n  volumes: [{name: v, csi: {driver: d}}]\n", 1), "not supported yet: spec.volumes[0].csi"},
		"twice.yaml":       {podtool("good", "Always", "sleep", "1h"), "good.yaml"},
		"kind.yaml":        {"apiVersion: v1\nkind: Frobnicator\nmetadata: {name: x}\n", "Frobnicator"},
	} {
		n.Apply(name, c.manifest)
		testbed.Poll(t, patience, func() string {
			out, err := os.ReadFile(n.Log)
			if err != nil {
				return err.Error()
			}
			for line := range strings.Lines(string(out)) {
				if strings.Contains(line, name) && strings.Contains(line, c.want) {
					return ""
				}
			}
			return "no log line has both " + name + " and " + c.want
		})
	}
	pods, err := n.PodList()
	if err != nil || len(pods) != 1 {
		t.Errorf("%d pods, %v: want only the good one", len(pods), err)
	}

	// A file that was good and is broken now keeps its pod, over a restart too.
	if err := os.WriteFile(filepath.Join(n.Manifests, "good.yaml"), []byte("kind: Pod\nspec: [\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second)
	n.Restart()
	time.Sleep(2 * time.Second)
	if now := ids(n.Pod("good")); now != before {
		t.Errorf("a broken file changed its pod:\n%s\n%s", before, now)
	}
	n.Withdraw("twice.yaml") // it would take the name over
	n.Withdraw("good.yaml")
	n.WaitPod("good", patience, node.Gone)
	noLeaks(t, n)
}

// Directory that cannot be read is not an empty directory.
func TestManifestDirectoryGoesAndComesBack(t *testing.T) {
	n := start(t, "")
	n.Apply("a.yaml", podtool("a", "Always", "sleep"))
	before := ids(n.WaitPod("a", patience, node.Ready))
	away := n.Manifests + ".away"
	if err := os.Rename(n.Manifests, away); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second)
	if now := ids(n.Pod("a")); now != before {
		t.Errorf("the directory is away and the pod is not what it was:\n%s\n%s", before, now)
	}
	if err := os.Rename(away, n.Manifests); err != nil {
		t.Fatal(err)
	}
	n.Apply("b.yaml", podtool("b", "Always", "sleep"))
	n.WaitPod("b", patience, node.Ready)
	if now := ids(n.Pod("a")); now != before {
		t.Errorf("the pod was touched:\n%s\n%s", before, now)
	}
}
