package synthetic

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	imagespec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/davit-agent/davit/agent/hooks"
	"github.com/davit-agent/davit/agent/lifecycle"
	"github.com/davit-agent/davit/agent/pods"
	"github.com/davit-agent/davit/agent/pods/etc"
	"github.com/davit-agent/davit/agent/probes"
	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/fake"
	"github.com/davit-agent/davit/runtime/oci"
	"github.com/davit-agent/davit/runtime/sandbox"
	"github.com/davit-agent/davit/test/oracle/actor"
	"github.com/davit-agent/davit/test/oracle/golden"
)

// node is a machine with one pod on it, and the agent that runs there.
type node struct {
	t       *testing.T
	model   *fake.Node
	cfg     pods.Config
	changes chan string
	restart time.Duration // the agent is killed so often; 0: never

	mu      sync.Mutex
	log     bytes.Buffer
	want    *v1.Pod // nil: the source has none
	objects map[string]any
	changed uint64
	starts  map[string]*start // by container ID
	counts  map[string]int    // attempts by the actor's name
	seen    []golden.Observation
	sights  chan struct{}

	stop  context.CancelFunc
	done  chan struct{}
	agent *pods.Pods
}

// start is one start of a container.
type start struct {
	container *v1.Container
	attempt   actor.Attempt
	at        time.Time
}

func newNode(t *testing.T, facts oci.Node) *node {
	dir := t.TempDir()
	sysctls, err := sandbox.AllowSysctls(nil)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{
		t: t, changes: make(chan string, 64), sights: make(chan struct{}, 1),
		objects: map[string]any{}, starts: map[string]*start{}, counts: map[string]int{},
		cfg: pods.Config{
			StateDir: filepath.Join(dir, "state"), LogDir: filepath.Join(dir, "log"), NodeName: "n1",
			HostIPs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, BootID: "boot", MaxPods: 10,
			DNS: etc.DNS{ResolvConf: filepath.Join(dir, "resolv.conf")}, Node: facts,
			Reject: sysctls.Admit,
		},
	}
	n.model = fake.New(n)
	n.model.Sandboxes() // from the beginning: no container without one
	n.model.Programs = n.program
	for name, cfg := range map[string]imagespec.ImageConfig{
		"localhost/actor:1": {}, "localhost/actor-usr1:1": {StopSignal: "SIGUSR1"}, "localhost/actor-app:1": {User: "app"},
	} {
		cfg.Entrypoint = []string{"/bin/actor"}
		n.model.AddImage(&runtime.Image{Name: name, ID: "sha256:1", Config: cfg, Passwd: []byte("app:x:1000:1000::/:\n")})
	}
	return n
}

// run starts the agent; quit has it leave.
func (n *node) run() {
	n.t.Helper()
	rt := n.model.Runtime()
	log := slog.New(slog.NewTextHandler(n, &slog.HandlerOptions{Level: slog.LevelDebug}))
	wake := func(uid string) { n.agent.Wake(uid) }
	prober := probes.New(probes.Config{Exec: n, Dial: n, Wake: wake, Logger: log, Now: time.Now, Lookup: lookup})
	runner := hooks.New(hooks.Config{Exec: n, Dial: n, Wake: wake, Logger: log, Lookup: lookup})
	agent, err := pods.New(n.cfg, pods.Deps{
		Source: source{n}, Objects: objects{n}, Images: images{n, rt}, Probes: prober, Hooks: podHooks{runner},
		Runtime: rt, Watcher: rt, Sandboxes: n.model.Sandboxes(), Logs: logs{n.model.Logs()},
		Network: network{}, Volumes: volumes{n}, Cgroups: cgroups{}, Report: report{n}, Metrics: noMetrics{},
		Logger: log, Now: time.Now,
	})
	if err != nil {
		n.t.Fatal(err)
	}
	n.agent = agent
	ctx, stop := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	parts.Go(func() { prober.Run(ctx) })
	parts.Go(func() { runner.Run(ctx) })
	parts.Go(func() {
		if err := agent.Run(ctx); err != nil {
			n.Errorf("the agent ended: %v", err)
		}
	})
	n.done = make(chan struct{})
	n.stop = func() {
		stop()
		parts.Wait()
		rt.Close()
		close(n.done)
	}
}

func (n *node) quit() {
	if n.stop != nil {
		n.stop()
		<-n.done
		n.stop = nil
	}
}

// Helper and Errorf are the model's fake.TB.
func (n *node) Helper() {}

func (n *node) Errorf(format string, args ...any) { n.t.Errorf(format, args...) }

// Write takes the log.
func (n *node) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.log.Write(b)
}

// program is what the actor does that a container runs.
func (n *node) program(cfg *runtime.ContainerConfig) fake.Program {
	n.mu.Lock()
	defer n.mu.Unlock()
	args := cfg.Spec.Process.Args
	if len(args) == 0 || args[0] != "/bin/actor" {
		return fake.Program{Fail: fmt.Sprintf("exec: %q: no such file", args)}
	}
	if wd := cfg.Spec.Process.Cwd; wd == "/etc/passwd" {
		return fake.Program{Fail: "mkdir /etc/passwd: not a directory"}
	}
	p, err := actor.Parse(args[1:])
	if err != nil {
		n.t.Errorf("container %s: %v", cfg.Name, err)
		return fake.Program{}
	}
	a := *p.Attempt(n.counts[p.Name])
	n.counts[p.Name]++
	n.starts[cfg.ID] = &start{container: n.containerLocked(cfg.Name), attempt: a, at: time.Now()}
	n.leaveMessages(cfg, a)
	out := fake.Program{ExitCode: a.Code, OOM: a.OOM}
	if end, ends := a.End(); ends {
		out.ExitCode, out.RunFor = end.Code, end.At
		if end.At == 0 {
			out.RunFor = -1
		}
	}
	out.React = func(sig syscall.Signal) (time.Duration, int32, bool) {
		name := map[syscall.Signal]string{syscall.SIGTERM: "TERM", syscall.SIGUSR1: "USR1"}[sig]
		forever := a
		forever.Forever = true // its own end is a timer of its own
		end, ends := forever.End(actor.Sent{Signal: name})
		return end.At, end.Code, ends
	}
	return out
}

// leaveMessages writes what the actor says to its log and to its files.
func (n *node) leaveMessages(cfg *runtime.ContainerConfig, a actor.Attempt) {
	var text strings.Builder
	for _, line := range a.Say {
		fmt.Fprintf(&text, "%s stdout F %s\n", time.Now().UTC().Format(time.RFC3339Nano), line)
	}
	if err := os.MkdirAll(filepath.Dir(cfg.Log.Path), 0o755); err != nil {
		n.t.Error(err)
	}
	if err := os.WriteFile(cfg.Log.Path, []byte(text.String()), 0o600); err != nil {
		n.t.Error(err)
	}
	for _, m := range a.Messages {
		for _, mount := range cfg.Spec.Mounts {
			if mount.Destination != m.File {
				continue
			}
			if err := os.WriteFile(mount.Source, []byte(m.Text), 0o600); err != nil {
				n.t.Error(err)
			}
		}
	}
}

func (n *node) containerLocked(name string) *v1.Container {
	if n.want == nil {
		return nil
	}
	for _, list := range [][]v1.Container{n.want.Spec.InitContainers, n.want.Spec.Containers} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}

// Exec implements probes.Execer and hooks.Execer.
func (n *node) Exec(ctx context.Context, id string, command []string, limit int) (int, []byte, error) {
	n.mu.Lock()
	s := n.starts[id]
	n.mu.Unlock()
	if s == nil {
		return 0, nil, errors.New("container is not running")
	}
	if len(command) == 0 || command[0] != "/bin/actor" {
		return 0, nil, fmt.Errorf("exec: %q: no such file or directory", command)
	}
	answer := s.attempt.Exec(command[1:], time.Since(s.at))
	timer := time.NewTimer(answer.Takes)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return 0, nil, ctx.Err()
	}
	return answer.Code, []byte(answer.Output), nil
}

// Dial implements probes.Dialer and hooks.Dialer: who listens at the port of any
// container that runs answers.
func (n *node) Dial(ctx context.Context, _ string, addr netip.AddrPort) (net.Conn, error) {
	list, err := n.model.Runtime().List(ctx, "")
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range list {
		s := n.starts[c.ID]
		if s == nil || c.State != runtime.StateRunning {
			continue
		}
		if kind := s.attempt.Listens(int(addr.Port()), time.Since(s.at)); kind != "" {
			ours, theirs := net.Pipe()
			go serve(kind, theirs, s)
			return ours, nil
		}
	}
	return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(addr), Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
}

func lookup(context.Context, string) ([]netip.Addr, error) { return nil, errors.New("no such host") }

// note records how the pod is; nil: gone.
func (n *node) note(pod *v1.Pod) {
	n.mu.Lock()
	if len(n.seen) == 0 || n.seen[len(n.seen)-1].Pod != nil { // nobody sees what comes after that
		n.seen = append(n.seen, golden.Observation{At: time.Now(), Pod: pod})
	}
	n.mu.Unlock()
	select {
	case n.sights <- struct{}{}:
	default:
	}
}

func (n *node) last() *v1.Pod {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.seen) == 0 {
		return nil
	}
	return n.seen[len(n.seen)-1].Pod
}

// change changes what the source has of the pod.
func (n *node) change(f func(*v1.Pod)) {
	n.mu.Lock()
	pod := n.want.DeepCopy()
	f(pod)
	n.want = pod
	n.mu.Unlock()
	n.changes <- string(pod.UID)
}

type source struct{ *node }

func (s source) Get(uid string) (pods.Desired, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.want == nil || string(s.want.UID) != uid {
		return pods.Desired{}, false
	}
	return pods.Desired{Pod: s.want, Origin: "test"}, true
}

func (s source) List() []pods.Desired {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.want == nil {
		return nil
	}
	return []pods.Desired{{Pod: s.want, Origin: "test"}}
}

func (s source) Keep(uid, _, _, _ string) bool { _, ok := s.Get(uid); return ok }
func (s source) Changes() <-chan string        { return s.changes }

type objects struct{ *node }

func (o objects) ConfigMap(_, name string) (*v1.ConfigMap, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	cm, ok := o.objects["configmap "+name].(*v1.ConfigMap)
	return cm, ok
}

func (o objects) Secret(_, name string) (*v1.Secret, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s, ok := o.objects["secret "+name].(*v1.Secret)
	return s, ok
}

func (o objects) Generation() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.changed
}

func (objects) Synced() bool { return true }

// images are all on the node.
type images struct {
	*node
	rt *fake.Runtime
}

func (i images) Ensure(ctx context.Context, req pods.ImageRequest) (*runtime.Image, lifecycle.Result) {
	img, err := i.rt.Image(ctx, req.Container.Image)
	if err != nil {
		return nil, lifecycle.Result{Reason: "ErrImageNeverPull", Message: err.Error()}
	}
	return img, lifecycle.Result{}
}

func (images) Pulling(string) map[string]string { return nil }
func (images) Release(string)                   {}
func (images) Generation() uint64               { return 0 }

type podHooks struct{ *hooks.Runner }

func (h podHooks) Begin(r pods.HookRequest) {
	h.Runner.Begin(hooks.Request{
		UID: string(r.Pod.UID), ID: r.ID, Kind: r.Kind, Pod: r.Pod, Container: r.Container, PodIP: r.PodIP, Deadline: r.Deadline,
	})
}

type logs struct{ runtime.Logs }

func (logs) Unlink(string) error { return nil }

type network struct{}

func (network) Allocate(used func(netip.Addr) bool) ([]netip.Addr, error) {
	ip := netip.MustParseAddr("10.85.0.2")
	for used(ip) {
		ip = ip.Next()
	}
	return []netip.Addr{ip}, nil
}
func (network) Attach(context.Context, string, string, []netip.Addr) error { return nil }
func (network) Detach(context.Context, string) error                       { return nil }
func (network) Attached(context.Context) ([]string, error)                 { return nil, nil }

// volumes are empty; those of objects that there are not cannot be made.
type volumes struct{ *node }

func (v volumes) Setup(_ context.Context, pod *v1.Pod, dir string) (map[string]string, error) {
	out := map[string]string{}
	for _, x := range pod.Spec.Volumes {
		out[x.Name] = filepath.Join(dir, x.Name)
		if c := x.ConfigMap; c != nil && (c.Optional == nil || !*c.Optional) {
			if _, ok := objects(v).ConfigMap("", c.Name); !ok {
				return nil, fmt.Errorf("configmap %q not found", c.Name)
			}
		}
		if s := x.Secret; s != nil && (s.Optional == nil || !*s.Optional) {
			if _, ok := objects(v).Secret("", s.SecretName); !ok {
				return nil, fmt.Errorf("secret %q not found", s.SecretName)
			}
		}
	}
	return out, nil
}

func (volumes) SubPath(_ context.Context, r pods.SubPathRequest) (string, error) {
	return filepath.Join(r.HostPath, r.Path), nil
}
func (volumes) OverLimit(context.Context, *v1.Pod, string) (string, error) { return "", nil }
func (volumes) Teardown(context.Context, string) error                     { return nil }

type cgroups struct{}

func (cgroups) EnsurePod(pod *v1.Pod) (string, error) { return "/kubepods/" + string(pod.UID), nil }
func (cgroups) ContainerPath(pod, id string) string   { return pod + "/" + id }
func (cgroups) RemovePod(string) error                { return nil }
func (cgroups) Pods() ([]string, error)               { return nil, nil }
func (cgroups) SetQoS(int64) error                    { return nil }

type report struct{ *node }

func (r report) Set(pod *v1.Pod) { r.note(pod) }

// Delete has the API server delete the pod at once, as kubelet does then.
func (r report) Delete(string) {
	r.mu.Lock()
	r.want = nil
	r.mu.Unlock()
	r.note(nil)
}

type noMetrics struct{}

func (noMetrics) Phase(string, time.Duration) {}
func (noMetrics) Restarted()                  {}

// picture is what is known of the node, for messages.
func (n *node) picture() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	ids := slices.Sorted(maps.Keys(n.counts))
	return fmt.Sprintf("%s\nattempts of %s\n%s", n.model, strings.Join(ids, ", "), n.log.String())
}
