// Package node runs davit itself in a testbed: the real binary, with a private
// containerd, in a network namespace without a way out. It is what the
// end-to-end, crash and upgrade tests and the benchmarks are written on.
package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/test/testbed"
)

// Name is the node name that every Node has.
const Name = "n1"

// Options say how davit is run.
type Options struct {
	Binary string // "" builds this tree's
	Config string // YAML that is merged over the defaults, key by top-level key
	Level  string // of davit's log; "" is debug
	NoWait bool   // Start does not wait until davit answers
}

// Node is a davit that runs in a Bed.
type Node struct {
	Bed       *testbed.Bed
	Binary    string
	Manifests string // directory
	Images    string // directory of archives
	StateDir  string
	RunDir    string
	LogDir    string
	Config    string // file
	level     string
	Log       string // file with davit's stderr, all runs

	t    testing.TB
	cmd  *exec.Cmd
	done chan error
	http *http.Client
}

// New prepares a node without starting it. Images holds podtool's image,
// localhost/test:1, from the start.
func New(t testing.TB, bed *testbed.Bed, o Options) *Node {
	t.Helper()
	n := &Node{
		Bed: bed, t: t, Binary: o.Binary, level: o.Level,
		Manifests: bed.Path("manifests"), Images: bed.Path("images"),
		StateDir: bed.Path("state"), RunDir: bed.Path("run"), LogDir: bed.Path("pods"),
		Config: bed.Path("config.yaml"), Log: bed.Path("davit.log"),
	}
	if n.level == "" {
		n.level = "debug"
	}
	if n.Binary == "" {
		n.Binary = Build(t)
	}
	for _, d := range []string{n.Manifests, n.Images} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	n.writeConfig(o.Config)
	n.http = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", n.Socket())
		},
	}}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("davit's log ends with:\n%s", tail(n.Log, 12000))
		}
		n.Kill()
		n.cleanup()
	})
	return n
}

// Start makes a node with podtool's image and starts davit on it.
func Start(t testing.TB, bed *testbed.Bed, o Options) *Node {
	t.Helper()
	n := New(t, bed, o)
	testbed.Archive(t, n.Images, testbed.ImageSpec{Name: Image})
	n.Start()
	if !o.NoWait {
		n.Await()
	}
	return n
}

// Image is the reference of podtool's image.
const Image = "localhost/test:1"

func (n *Node) writeConfig(extra string) {
	n.t.Helper()
	addrs := "[" + n.Bed.Addr4.String() + ", \"" + n.Bed.Addr6.String() + "\"]"
	base := map[string]string{
		"nodeName":   Name,
		"nodeIPs":    addrs,
		"stateDir":   n.StateDir,
		"runDir":     n.RunDir,
		"logDir":     n.LogDir,
		"containerd": fmt.Sprintf("{address: %s, namespace: davit}", n.Bed.Address),
		"cgroup":     fmt.Sprintf("{driver: cgroupfs, root: /%s}", strings.TrimPrefix(n.Bed.CgroupParent(), "/")),
		"metrics":    `{address: "127.0.0.1:9153"}`,
		"images":     fmt.Sprintf("{preload: %s}", n.Images),
		"source":     fmt.Sprintf("{manifests: %s}", n.Manifests),
		"network":    "{podCIDRs: [10.85.0.0/24, \"fd85::/64\"]}",
	}
	order := []string{"nodeName", "nodeIPs", "stateDir", "runDir", "logDir", "containerd", "cgroup", "images", "source", "network", "metrics"}
	var b strings.Builder
	for _, k := range order {
		if !strings.HasPrefix(extra, k+":") && !strings.Contains(extra, "\n"+k+":") {
			fmt.Fprintf(&b, "%s: %s\n", k, base[k])
		}
	}
	b.WriteString(extra)
	if err := os.WriteFile(n.Config, []byte(b.String()), 0o644); err != nil {
		n.t.Fatal(err)
	}
}

// Socket is the path of the local API.
func (n *Node) Socket() string { return filepath.Join(n.RunDir, "davit.sock") }

// Start starts davit; it must not run.
func (n *Node) Start() {
	n.t.Helper()
	log, err := os.OpenFile(n.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		n.t.Fatal(err)
	}
	defer log.Close()
	n.cmd = n.Bed.Command(n.Binary, "run", "--config", n.Config, "--log-level", n.level)
	n.cmd.Stdout, n.cmd.Stderr = log, log
	if err := n.cmd.Start(); err != nil {
		n.t.Fatalf("starting davit: %v", err)
	}
	cmd, done := n.cmd, make(chan error, 1)
	n.done = done
	go func() { done <- cmd.Wait() }()
}

// Await waits until davit answers.
func (n *Node) Await() {
	n.t.Helper()
	testbed.Poll(n.t, time.Minute, func() string {
		select {
		case err := <-n.done:
			n.done <- err
			n.t.Fatalf("davit ended: %v\n%s", err, tail(n.Log, 4000))
		default:
		}
		if _, err := n.PodList(); err != nil {
			return err.Error()
		}
		return ""
	})
}

// Pid is davit's, 0 if it does not run.
func (n *Node) Pid() int {
	if n.cmd == nil || n.cmd.Process == nil {
		return 0
	}
	return n.cmd.Process.Pid
}

// Signal sends davit a signal.
func (n *Node) Signal(sig syscall.Signal) {
	if n.cmd != nil {
		_ = n.cmd.Process.Signal(sig)
	}
}

// Kill ends davit as kill -9 does.
func (n *Node) Kill() {
	if n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Signal(syscall.SIGCONT)
	_ = n.cmd.Process.Kill()
	<-n.done
	n.cmd = nil
}

// Stop ends davit by SIGTERM and returns how it ended.
func (n *Node) Stop() error {
	n.t.Helper()
	_ = n.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-n.done:
		n.cmd = nil
		return err
	case <-time.After(time.Minute):
		n.t.Fatalf("davit does not leave after SIGTERM\n%s", tail(n.Log, 4000))
		return nil
	}
}

// Restart stops davit, starts it again and waits until it answers.
func (n *Node) Restart() {
	n.t.Helper()
	if err := n.Stop(); err != nil {
		n.t.Errorf("davit ended with %v", err)
	}
	n.Start()
	n.Await()
}

// cleanup removes what davit made, as an administrator would. A davit that made
// no stateDir has made nothing; then there may be no containerd to ask either.
func (n *Node) cleanup() {
	if _, err := os.Stat(n.StateDir); errors.Is(err, fs.ErrNotExist) {
		return
	}
	out, err := n.Bed.Command(n.Binary, "cleanup", "--config", n.Config).CombinedOutput()
	if err != nil && !n.t.Failed() {
		n.t.Errorf("davit cleanup: %v\n%s", err, out)
	}
}

// CLI runs a davit subcommand against the node.
func (n *Node) CLI(args ...string) (stdout, stderr string, code int) {
	var o, e bytes.Buffer
	cmd := exec.Command(n.Binary, append([]string{"--socket", n.Socket()}, args...)...)
	cmd.Stdout, cmd.Stderr = &o, &e
	err := cmd.Run()
	code = cmd.ProcessState.ExitCode()
	if err != nil && code < 0 {
		e.WriteString(err.Error())
	}
	return o.String(), e.String(), code
}

// Apply writes a manifest, atomically, as file name.
func (n *Node) Apply(name, manifest string) {
	n.t.Helper()
	tmp := filepath.Join(n.Bed.Dir, ".manifest")
	if err := os.WriteFile(tmp, []byte(manifest), 0o644); err != nil {
		n.t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(n.Manifests, name)); err != nil {
		n.t.Fatal(err)
	}
}

// Withdraw removes a manifest.
func (n *Node) Withdraw(name string) {
	n.t.Helper()
	if err := os.Remove(filepath.Join(n.Manifests, name)); err != nil {
		n.t.Fatal(err)
	}
}

// PodList returns the pods as davit reports them.
func (n *Node) PodList() ([]v1.Pod, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://davit/v1/pods", nil)
	if err != nil {
		return nil, err
	}
	resp, err := n.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("davit answers %s", resp.Status)
	}
	var list v1.PodList
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		return nil, err
	}
	return list.Items, nil
}

// Pod returns the pod with that manifest name, nil if there is none.
func (n *Node) Pod(name string) *v1.Pod {
	pods, err := n.PodList()
	if err != nil {
		return nil
	}
	for i := range pods {
		if pods[i].Name == name || pods[i].Name == name+"-"+Name {
			return &pods[i]
		}
	}
	return nil
}

// WaitPod waits until ok says "" of the pod (nil if there is none).
func (n *Node) WaitPod(name string, limit time.Duration, ok func(*v1.Pod) string) *v1.Pod {
	n.t.Helper()
	var pod *v1.Pod
	testbed.Poll(n.t, limit, func() string {
		pod = n.Pod(name)
		why := ok(pod)
		if why != "" {
			why = "pod " + name + ": " + why
		}
		return why
	})
	return pod
}

// Ready is for WaitPod: Running, and the condition Ready is true.
func Ready(p *v1.Pod) string {
	if p == nil {
		return "not there"
	}
	for _, c := range p.Status.Conditions {
		if c.Type == v1.PodReady && c.Status == v1.ConditionTrue && p.Status.Phase == v1.PodRunning {
			return ""
		}
	}
	return "not ready: " + Brief(p)
}

// Phase is for WaitPod.
func Phase(phase v1.PodPhase) func(*v1.Pod) string {
	return func(p *v1.Pod) string {
		if p == nil {
			return "not there"
		}
		if p.Status.Phase != phase {
			return "not " + string(phase) + ": " + Brief(p)
		}
		return ""
	}
}

// Gone is for WaitPod.
func Gone(p *v1.Pod) string {
	if p != nil {
		return "still there: " + Brief(p)
	}
	return ""
}

// Brief says in a line how a pod is.
func Brief(p *v1.Pod) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s", p.Status.Phase, p.Status.Reason, p.Status.Message)
	for _, c := range append(append([]v1.ContainerStatus{}, p.Status.InitContainerStatuses...), p.Status.ContainerStatuses...) {
		fmt.Fprintf(&b, "; %s restarts=%d", c.Name, c.RestartCount)
		switch s := c.State; {
		case s.Running != nil:
			b.WriteString(" running")
		case s.Waiting != nil:
			fmt.Fprintf(&b, " waiting %s %q", s.Waiting.Reason, s.Waiting.Message)
		case s.Terminated != nil:
			fmt.Fprintf(&b, " terminated %s %d %q", s.Terminated.Reason, s.Terminated.ExitCode, s.Terminated.Message)
		}
	}
	return b.String()
}

func tail(file string, n int) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-n):])
}
