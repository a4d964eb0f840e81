package e2e

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/test/node"
	"github.com/davit-agent/davit/test/testbed"
)

// filler is a pod that writes so many KiB into a volume of 1 MiB and goes on.
func filler(name, medium, kib string) string {
	return `apiVersion: v1
kind: Pod
metadata: {name: ` + name + `}
spec:
  terminationGracePeriodSeconds: 30
  volumes: [{name: scratch, emptyDir: {sizeLimit: 1Mi, medium: "` + medium + `"}}]
  containers:
  - name: main
    image: "` + node.Image + `"
    command: [/bin/sh, -c, "dd if=/dev/zero of=/scratch/file bs=1024 count=` + kib + `; echo $?; exec podtool sleep"]
    volumeMounts: [{name: scratch, mountPath: /scratch}]
  - {name: other, image: "` + node.Image + `", command: [/bin/podtool, ignore-term]}
`
}

// A pod that puts more into an emptyDir than it may is evicted, for good; others
// do not notice, and one in memory cannot.
func TestEmptyDirOverItsLimit(t *testing.T) {
	n := start(t, "")
	n.Apply("modest.yaml", filler("modest", "", "900"))
	n.Apply("memory.yaml", filler("memory", "Memory", "4096"))
	n.Apply("greedy.yaml", filler("greedy", "", "4096"))
	modest := ids(n.WaitPod("modest", patience, node.Ready))
	memory := ids(n.WaitPod("memory", patience, node.Ready))
	evicted := func(p *v1.Pod) string {
		if why := node.Phase(v1.PodFailed)(p); why != "" {
			return why
		}
		if p.Status.Reason != "Evicted" || p.Status.Message != `Usage of EmptyDir volume "scratch" exceeds the limit "1Mi". ` {
			return "failed, but " + node.Brief(p)
		}
		return ""
	}
	p := n.WaitPod("greedy", patience, evicted)
	for _, c := range p.Status.ContainerStatuses {
		if end := c.State.Terminated; end == nil || end.ExitCode != map[string]int32{"main": 0, "other": 137}[c.Name] || c.RestartCount != 0 {
			t.Errorf("the pod was evicted, and its containers: %s", node.Brief(p))
		}
	}
	if left := podProcesses(t, string(p.UID)); len(left) > 0 {
		t.Errorf("the pod was evicted, and its processes %v run", left)
	}
	// What it wrote is given back.
	testbed.Poll(t, patience, func() string {
		if _, err := os.Stat(filepath.Join(n.StateDir, "pods", string(p.UID), "volumes")); !os.IsNotExist(err) {
			return fmt.Sprintf("the volumes of the evicted pod are still there (%v)", err)
		}
		return ""
	})
	if out, _, code := n.CLI("explain", "pod", "greedy"); code != 0 || !strings.Contains(out, "Evicted") || !strings.Contains(out, "exceeds the limit") {
		t.Errorf("explain does not tell of it: exit %d\n%s", code, out)
	}
	n.Restart()
	n.WaitPod("greedy", patience, evicted)
	for name, before := range map[string]string{"modest": modest, "memory": memory} {
		if now := ids(n.WaitPod(name, patience, node.Ready)); now != before {
			t.Errorf("%s was touched:\n%s\n%s", name, before, now)
		}
	}
	if out, _, _ := n.CLI("logs", "memory", "-c", "main"); !strings.Contains(out, "No space left") {
		t.Errorf("a volume in memory holds more than its limit:\n%s", out)
	}
	// An edit is another pod, with another chance.
	n.Apply("greedy.yaml", filler("greedy", "", "1"))
	n.WaitPod("greedy", patience, node.Ready)
	noLeaks(t, n)
}

// 10,000 keys are mounted; what no ConfigMap can be is refused and named.
func TestLargeConfigMaps(t *testing.T) {
	n := start(t, "")
	var kv []string
	for i := range 10000 {
		kv = append(kv, fmt.Sprintf("key-%d", i), fmt.Sprint(i))
	}
	n.Apply("many.yaml", object("ConfigMap", "many", kv...))
	large := strings.Repeat("0123456789abcdef", 1<<16-64) // 1 MiB less 1 KiB
	n.Apply("large.yaml", object("ConfigMap", "large", "text", large))
	n.Apply("bad.yaml", object("ConfigMap", "toolarge", "a", large, "b", large)+"---\n"+object("ConfigMap", "badkey", "no/key", "x")+
		"---\n"+object("Secret", "dots", "..", "x"))
	manifest := strings.Replace(podtool("large", "Always", "sleep"), "spec:\n", "spec:\n  volumes: [{name: many, configMap: {name: many}}, {name: large, configMap: {name: large}}]\n", 1)
	n.Apply("pod.yaml", strings.Replace(manifest, "command:", "volumeMounts: [{name: many, mountPath: /many}, {name: large, mountPath: /large}], command:", 1))
	n.WaitPod("large", patience, node.Ready)
	look(t, n, "large", "main").is("/many/key-0", "0", "/many/key-9999", "9999")
	if got := strings.Fields(execIn(t, n, "large", "main", "/bin/sh", "-c", "ls /many | wc -l; sha256sum /large/text")); got[0] != "10000" || got[1] != fmt.Sprintf("%x", sha256.Sum256([]byte(large))) {
		t.Errorf("in the container: %q", got)
	}
	problem(t, n, "bad.yaml", "toolarge", "1048576")
	problem(t, n, "bad.yaml", "badkey", "no/key")
	problem(t, n, "bad.yaml", "dots", "..")
	noLeaks(t, n)
}
