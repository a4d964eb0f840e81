package e2e

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/test/node"
	"github.com/davit-agent/davit/test/testbed"
	"github.com/davit-agent/davit/test/testbed/fuse"
)

// onHostPath is a pod that has a directory of the host at /dead and runs args.
func onHostPath(name, dir, mount string, args ...string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{name: dead, hostPath: {path: %q, type: Directory}}]
  containers:
  - {name: main, image: "%s", command: [%s], volumeMounts: [{name: dead, %s}]}
`, name, dir, node.Image, quoted(args), mount)
}

// explains waits until davit's explanation of a pod, and its status, have a text.
func explains(t *testing.T, n *node.Node, pod string, texts ...string) {
	t.Helper()
	testbed.Poll(t, patience, func() string {
		out, stderr, code := n.CLI("explain", "pod", pod)
		for _, text := range texts {
			if code != 0 || !strings.Contains(out, text) {
				return fmt.Sprintf("explain pod %s does not say %q: exit %d\n%s%s", pod, text, code, out, stderr)
			}
		}
		return ""
	})
	n.WaitPod(pod, patience, func(p *v1.Pod) string {
		if p == nil {
			return "not there"
		}
		for _, text := range texts {
			if !strings.Contains(node.Brief(p), text) {
				return fmt.Sprintf("its status does not say %q: %s", text, node.Brief(p))
			}
		}
		return ""
	})
}

// shimOf returns the parent of a process that is the first of a container.
func shimOf(t *testing.T, pid int) int {
	t.Helper()
	var ppid int
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(data), ") ")
	if err == nil {
		_, err = fmt.Sscanf(rest, "%1s %d", new(string), &ppid)
	}
	if err != nil || ppid < 2 {
		t.Fatalf("parent of process %d: %d, %v", pid, ppid, err)
	}
	return ppid
}

// lifeOfAnother has a pod live its whole life, a restart with it, in the time that
// this takes on a busy machine.
func lifeOfAnother(t *testing.T, n *node.Node, name string) {
	t.Helper()
	n.Apply(name+".yaml", podtool(name, "Always", "sleep"))
	n.WaitPod(name, patience, node.Ready)
	if out := execIn(t, n, name, "main", "/bin/echo", "hello"); out != "hello\n" {
		t.Errorf("exec in %s: %q", name, out)
	}
	if err := syscall.Kill(containerPid(t, n, name, "main"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	n.WaitPod(name, patience, func(p *v1.Pod) string {
		if why := node.Ready(p); why != "" {
			return why
		}
		if p.Status.ContainerStatuses[0].RestartCount != 1 {
			return "not restarted: " + node.Brief(p)
		}
		return ""
	})
	n.Withdraw(name + ".yaml")
	n.WaitPod(name, patience, node.Gone)
}

// What hangs in the kernel, in a dead file system or in a shim holds up its own
// pod only, which tells what it is and goes by itself when that is over; also if
// davit is killed meanwhile.
func TestTeardownHoldsUpNobodyElse(t *testing.T) {
	n := start(t, "")
	dead, gone, late := fuse.Mount(t, t.TempDir()), fuse.Mount(t, t.TempDir()), fuse.Mount(t, t.TempDir())
	n.Apply("reader.yaml", onHostPath("reader", dead.Dir, "mountPath: /dead", "/bin/cat", "/dead/hang"))
	n.Apply("holder.yaml", onHostPath("holder", gone.Dir, "mountPath: /dead, subPath: fine", "/bin/podtool", "sleep"))
	n.Apply("stopped.yaml", podtool("stopped", "Always", "sleep"))
	for _, pod := range []string{"reader", "holder", "stopped"} {
		n.WaitPod(pod, patience, node.Ready)
	}
	reader := containerPid(t, n, "reader", "main")
	testbed.Poll(t, patience, func() string {
		if at, _ := os.ReadFile(fmt.Sprintf("/proc/%d/wchan", reader)); !strings.Contains(string(at), "request_wait_answer") {
			return "the reader is in " + string(at)
		}
		return ""
	})
	shim := shimOf(t, containerPid(t, n, "stopped", "main"))
	if err := syscall.Kill(shim, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(shim, syscall.SIGCONT) })
	gone.Freeze()
	late.Freeze()
	n.Apply("late.yaml", onHostPath("late", late.Dir, "mountPath: /dead", "/bin/podtool", "sleep"))
	for _, pod := range []string{"reader", "holder", "stopped"} {
		n.Withdraw(pod + ".yaml")
	}
	// A file system that is dead is in nobody's way out.
	n.WaitPod("holder", patience, node.Gone)
	told := func(when string) {
		t.Helper()
		lifeOfAnother(t, n, "other-"+when)
		explains(t, n, "reader", "the container was killed at ", fmt.Sprintf("process %d (cat) is in uninterruptible sleep (D) in ", reader), "request_wait_answer")
		explains(t, n, "stopped", fmt.Sprintf("its shim (pid %d) does not answer and is in state T (stopped)", shim))
		explains(t, n, "late", "looking at "+late.Dir+", which does not answer")
	}
	told("before")
	n.Kill()
	n.Start()
	n.Await()
	told("after")
	n.Withdraw("late.yaml")
	n.WaitPod("late", patience, node.Gone)
	dead.Lift()
	n.WaitPod("reader", patience, node.Gone)
	if p := n.Pod("stopped"); p == nil {
		t.Error("the pod of the stopped shim went before that went on")
	}
	if err := syscall.Kill(shim, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	n.WaitPod("stopped", patience, node.Gone)
	noLeaks(t, n)
}
