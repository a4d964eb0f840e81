package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/test/node"
	"github.com/davit-agent/davit/test/testbed"
)

// waiting is for WaitPod: the only container waits for reason, and the message
// has what.
func waiting(reason, what string) func(*v1.Pod) string {
	return func(p *v1.Pod) string {
		if p == nil || len(p.Status.ContainerStatuses) == 0 {
			return "not there"
		}
		w := p.Status.ContainerStatuses[0].State.Waiting
		if w == nil || w.Reason != reason || !strings.Contains(w.Message, what) {
			return fmt.Sprintf("not waiting for %s with %q: %s", reason, what, node.Brief(p))
		}
		return ""
	}
}

func TestImageThatIsNotThere(t *testing.T) {
	n := start(t, "")
	n.Apply("pull.yaml", strings.ReplaceAll(podtool("pull", "Always", "sleep"), node.Image, "localhost/absent:1"))
	n.Apply("never.yaml", strings.ReplaceAll(podtool("never", "Always", "sleep"), `image: "`+node.Image+`"`, `image: "localhost/absent:1", imagePullPolicy: Never`))
	n.Apply("name.yaml", strings.ReplaceAll(podtool("name", "Always", "sleep"), node.Image, "NOT/A:valid:name"))
	n.WaitPod("pull", patience, waiting("ErrImagePull", `failed to pull and unpack image "localhost/absent:1": `))
	n.WaitPod("pull", patience, waiting("ImagePullBackOff", `Back-off pulling image "localhost/absent:1": ErrImagePull: failed to pull and unpack image`))
	n.WaitPod("never", patience, waiting("ErrImageNeverPull", "localhost/absent:1"))
	n.WaitPod("name", patience, waiting("InvalidImageName", "NOT/A:valid:name"))

	// The archive comes, and the pods start.
	testbed.Archive(t, n.Images, testbed.ImageSpec{Name: "localhost/absent:1", File: "absent.tar"})
	n.WaitPod("never", patience, node.Ready)
	n.WaitPod("pull", patience, node.Ready)
	for _, f := range []string{"pull", "never", "name"} {
		n.Withdraw(f + ".yaml")
		n.WaitPod(f, patience, node.Gone)
	}
	noLeaks(t, n)
}

func TestCommandThatIsNotThere(t *testing.T) {
	n := start(t, "")
	n.Apply("nocmd.yaml", strings.Replace(podtool("nocmd", "Never"), "/bin/podtool", "/no/such/program", 1))
	p := n.WaitPod("nocmd", patience, node.Phase(v1.PodFailed))
	if end := terminated(p); end == nil || end.ExitCode != 128 || end.Reason != "StartError" || !strings.Contains(end.Message, "/no/such/program") {
		t.Errorf("reported %+v", end)
	}
	n.Withdraw("nocmd.yaml")
	n.WaitPod("nocmd", patience, node.Gone)
	noLeaks(t, n)
}

func TestCorruptArchive(t *testing.T) {
	n := node.New(t, testbed.New(t, testbed.Options{}), node.Options{})
	testbed.Archive(t, n.Images, testbed.ImageSpec{Name: node.Image})
	if err := os.WriteFile(filepath.Join(n.Images, "corrupt.tar"), []byte("this is no archive"), 0o644); err != nil {
		t.Fatal(err)
	}
	n.Apply("a.yaml", podtool("a", "Always", "sleep"))
	n.Start()
	n.Await()
	n.WaitPod("a", patience, node.Ready)
	testbed.Poll(t, patience, func() string { return logHas(n, "corrupt.tar") })
}

// logHas says "" once a line of davit's log has all of what.
func logHas(n *node.Node, what ...string) string {
	out, err := os.ReadFile(n.Log)
	if err != nil {
		return err.Error()
	}
next:
	for line := range strings.Lines(string(out)) {
		for _, w := range what {
			if !strings.Contains(line, w) {
				continue next
			}
		}
		return ""
	}
	return fmt.Sprintf("no log line has %q", what)
}

func TestAddressesRunOut(t *testing.T) {
	n := start(t, "network: {podCIDRs: [10.85.0.0/29]}\n")
	const many = 8
	for i := range many {
		n.Apply(fmt.Sprintf("p%d.yaml", i), podtool(fmt.Sprintf("p%d", i), "Always", "sleep"))
	}
	var without string
	testbed.Poll(t, patience, func() string {
		pods, err := n.PodList()
		if err != nil {
			return err.Error()
		}
		ready, seen := 0, map[string]bool{}
		without = ""
		for _, p := range pods {
			if node.Ready(&p) == "" {
				ready++
				if seen[p.Status.PodIP] {
					t.Fatalf("two pods have %s", p.Status.PodIP)
				}
				seen[p.Status.PodIP] = true
			} else if strings.Contains(node.Brief(&p), "10.85.0.0/29") {
				without = strings.TrimSuffix(p.Name, "-"+node.Name)
			}
		}
		if ready < 4 || ready == many || without == "" {
			return fmt.Sprintf("%d of %d ready, one says it has no address: %q", ready, many, without)
		}
		return ""
	})
	// One goes, and the one that waited gets the address.
	for i := range many {
		if name := fmt.Sprintf("p%d", i); node.Ready(n.Pod(name)) == "" {
			n.Withdraw(name + ".yaml")
			n.WaitPod(name, patience, node.Gone)
			break
		}
	}
	testbed.Poll(t, patience, func() string {
		pods, _ := n.PodList()
		ready := 0
		for _, p := range pods {
			if node.Ready(&p) == "" {
				ready++
			}
		}
		if ready < 5 && len(pods) >= 5 {
			return fmt.Sprintf("%d ready", ready)
		}
		return ""
	})
}

func TestContainerdGoesAway(t *testing.T) {
	n := node.New(t, testbed.New(t, testbed.Options{NoContainerd: true}), node.Options{})
	testbed.Archive(t, n.Images, testbed.ImageSpec{Name: node.Image})
	n.Apply("a.yaml", podtool("a", "Always", "sleep"))
	n.Start()
	n.Await() // davit answers without containerd
	n.Bed.Containerd.Start()
	before := ids(n.WaitPod("a", patience, node.Ready))

	n.Bed.Containerd.Stop()
	n.Apply("b.yaml", podtool("b", "Always", "sleep"))
	time.Sleep(2 * time.Second)
	if now := ids(n.Pod("a")); now != before {
		t.Errorf("containerd is away and the pod is not what it was:\n%s\n%s", before, now)
	}
	n.Bed.Containerd.Start()
	n.WaitPod("b", patience, node.Ready)
	if now := ids(n.Pod("a")); now != before {
		t.Errorf("containerd came back and the pod is not what it was:\n%s\n%s", before, now)
	}
	for _, f := range []string{"a", "b"} {
		n.Withdraw(f + ".yaml")
		n.WaitPod(f, patience, node.Gone)
	}
}

// On a full disk nothing new starts, with the reason told; what runs goes on,
// and deleting works.
func TestFullDisk(t *testing.T) {
	bed := testbed.New(t, testbed.Options{})
	state := bed.Path("state")
	if err := os.Mkdir(state, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("davit-test", state, "tmpfs", 0, "size=16m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(state, syscall.MNT_DETACH) })
	n := node.Start(t, bed, node.Options{})
	n.Apply("old.yaml", podtool("old", "Always", "sleep"))
	old := ids(n.WaitPod("old", patience, node.Ready))
	fill := filepath.Join(state, "fill")
	if f, err := os.Create(fill); err == nil {
		for {
			if _, err := f.Write(make([]byte, 4096)); err != nil {
				break
			}
		}
		f.Close()
	}
	n.Apply("new.yaml", podtool("new", "Always", "sleep"))
	n.WaitPod("new", patience, func(p *v1.Pod) string {
		if p == nil || !strings.Contains(node.Brief(p), "no space left") {
			return "does not say that the disk is full"
		}
		return ""
	})
	if now := ids(n.Pod("old")); now != old {
		t.Errorf("the old pod was touched:\n%s\n%s", old, now)
	}
	n.Withdraw("old.yaml")
	n.WaitPod("old", patience, node.Gone)
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	n.WaitPod("new", patience, node.Ready)
}

func TestReadOnlyStateDir(t *testing.T) {
	bed := testbed.New(t, testbed.Options{})
	state := bed.Path("state")
	if err := os.Mkdir(state, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("davit-test", state, "tmpfs", syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(state, syscall.MNT_DETACH) })
	n := node.New(t, bed, node.Options{})
	code, out := runToEnd(t, n)
	if code != 1 || !strings.Contains(out, "stateDir") || !strings.Contains(out, state) || !strings.Contains(out, "read-only") {
		t.Errorf("exit %d:\n%s", code, out)
	}
	_ = syscall.Unmount(state, syscall.MNT_DETACH)
}

// runToEnd runs davit, which is expected to end by itself.
func runToEnd(t *testing.T, n *node.Node) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := n.Bed.Command(n.Binary, "run", "--config", n.Config)
	timer := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer timer()
	out, _ := cmd.CombinedOutput()
	return cmd.ProcessState.ExitCode(), string(out)
}

func TestTwoAgentsOnOneStateDir(t *testing.T) {
	n := start(t, "")
	n.Apply("a.yaml", podtool("a", "Always", "sleep"))
	before := ids(n.WaitPod("a", patience, node.Ready))
	code, out := runToEnd(t, n)
	if code != 1 || !strings.Contains(out, "in use by process") {
		t.Errorf("the second agent: exit %d:\n%s", code, out)
	}
	if now := ids(n.Pod("a")); now != before {
		t.Errorf("the second agent touched a pod:\n%s\n%s", before, now)
	}
}

func TestConfigTypo(t *testing.T) {
	n := node.New(t, testbed.New(t, testbed.Options{NoContainerd: true}), node.Options{})
	good, err := os.ReadFile(n.Config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(n.Config, append(good, "maxPodz: 3\n"...), 0o644); err != nil {
		t.Fatal(err)
	}
	code, out := runToEnd(t, n)
	if code == 0 || !strings.Contains(out, "maxPodz") || !strings.Contains(out, "maxPods") || !strings.Contains(out, "config.yaml:") {
		t.Errorf("exit %d:\n%s", code, out)
	}
	if err := os.WriteFile(n.Config, good, 0o644); err != nil {
		t.Fatal(err)
	}
}
