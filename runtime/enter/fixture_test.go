package enter

import (
	"context"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/image-spec/identity"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/containerd"
	"github.com/davit-agent/davit/runtime/helper/helpertest"
	"github.com/davit-agent/davit/test/testbed"
)

const limit = time.Minute

// noLogs is for containers without a log.
type noLogs struct{}

func (noLogs) Open(context.Context, runtime.LogStream) (string, string, error) { return "", "", nil }
func (noLogs) Close(context.Context, string) error                             { return nil }
func (noLogs) List(context.Context) ([]string, error)                          { return nil, nil }

// long is the long way, and tells how often it was gone.
type long struct {
	*containerd.Client
	mu    sync.Mutex
	calls int
}

func (l *long) Exec(ctx context.Context, id string, cfg runtime.ExecConfig) (int, error) {
	l.mu.Lock()
	l.calls++
	l.mu.Unlock()
	return l.Client.Exec(ctx, id, cfg)
}

func (l *long) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.calls
}

// node is a containerd with an image, davit's client of it, and an Enterer.
type node struct {
	*testbed.Bed
	t     testing.TB
	long  *long
	e     *Enterer
	image *runtime.Image
}

func onEachDaemon(t *testing.T, f func(t *testing.T, n *node)) {
	t.Run("1.6", func(t *testing.T) { f(t, newNode(t, "")) })
	t.Run("2.x", func(t *testing.T) { f(t, newNode(t, testbed.BuildContainerd2(t))) })
}

func newNode(t testing.TB, bin string) *node {
	t.Helper()
	bed := testbed.New(t, testbed.Options{Containerd: bin})
	n := &node{Bed: bed, t: t}
	logger := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	c, err := containerd.New(containerd.Config{Address: bed.Address, Namespace: bed.Namespace, RunDir: bed.Path("run"), Logs: noLogs{}, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done; _ = c.Close() })
	n.long = &long{Client: c}
	n.image = n.load("example.com/tool:1")
	bed.CgroupParent()
	bed.Baseline()
	program, err := os.ReadFile(builtHelper(t))
	must(t, err)
	helper := bed.Path("helper") // one of its own: nobody else runs it
	must(t, os.WriteFile(helper, program, 0o555))
	n.e, err = New(Config{Fallback: n.long, Specs: c, Helper: helper, Dir: bed.Path("enter"), CgroupParent: bed.CgroupParent(), Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.e.Close() })
	return n
}

func (n *node) load(name string) *runtime.Image { return n.loadWith(name, nil) }

// loadWith loads an image that has a program /bin/attacker, unless that is nil.
func (n *node) loadWith(name string, attacker []byte) *runtime.Image {
	n.t.Helper()
	var files map[string]testbed.File
	if attacker != nil {
		files = map[string]testbed.File{"/bin/attacker": {Data: attacker, Mode: 0o755}}
	}
	ctx := context.Background()
	cl := n.Client(n.Namespace)
	f, err := os.Open(testbed.Archive(n.t, n.Dir, testbed.ImageSpec{Name: name, Files: files}))
	must(n.t, err)
	defer f.Close()
	_, err = cl.Import(ctx, f)
	must(n.t, err)
	img, err := cl.GetImage(ctx, name)
	must(n.t, err)
	must(n.t, img.Unpack(ctx, "overlayfs"))
	diffIDs, err := img.RootFS(ctx)
	must(n.t, err)
	desc, err := img.Config(ctx)
	must(n.t, err)
	return &runtime.Image{Name: name, ID: desc.Digest.String(), Snapshot: identity.ChainID(diffIDs).String(), Config: imagespec.ImageConfig{}}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// run runs a container that sleeps, or what change makes of it.
func (n *node) run(name string, change func(*specs.Spec)) string {
	n.t.Helper()
	pod := "pod-" + n.ID
	id := runtime.ContainerID(pod, name, 0)
	score := 500
	caps := []string{"CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_SETGID", "CAP_DAC_OVERRIDE"}
	spec := &specs.Spec{
		Version: "1.0.2",
		Process: &specs.Process{
			Args: []string{"podtool", "sleep"}, Cwd: "/", Env: []string{"PATH=/bin:/sbin", "WHO=me"}, NoNewPrivileges: true, OOMScoreAdj: &score,
			Capabilities: &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps},
		},
		Hostname: "h",
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
			{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}},
		},
		Linux: &specs.Linux{
			CgroupsPath: n.CgroupParent() + "/" + id[:16],
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace}, {Type: specs.MountNamespace}, {Type: specs.IPCNamespace}, {Type: specs.UTSNamespace},
				{Type: specs.NetworkNamespace, Path: n.NSPath},
			},
		},
	}
	if change != nil {
		change(spec)
	}
	ref := runtime.ContainerRef{Pod: runtime.PodRef{UID: pod, Namespace: "default", Name: pod}, Name: name, ID: id}
	must(n.t, n.long.Create(n.t.Context(), &runtime.ContainerConfig{ContainerRef: ref, Image: n.image, Spec: spec}))
	n.t.Cleanup(func() {
		if err := n.long.Delete(context.Background(), id); err != nil {
			n.t.Error(err)
		}
	})
	must(n.t, n.long.Start(n.t.Context(), id))
	return id
}

// both runs a command in both ways and returns code and output of each.
func (n *node) both(id string, command ...string) (short, far string, codes [2]int) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), limit)
	defer cancel()
	before := n.long.count()
	code, out, err := n.e.Exec(ctx, id, command, 1<<20)
	must(n.t, err)
	if n.long.count() != before {
		n.t.Errorf("%q went the long way", command)
	}
	far1, out2, err := n.e.longWay(ctx, id, command, 1<<20)
	must(n.t, err)
	return string(out), string(out2), [2]int{code, far1}
}

func (n *node) exec(id string, command ...string) (int, string) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), limit)
	defer cancel()
	code, out, err := n.e.Exec(ctx, id, command, 1<<20)
	must(n.t, err)
	return code, strings.TrimSpace(string(out))
}

// builtHelper is the helper program: DAVIT_TEST_HELPER names one for a machine that
// has no Go.
func builtHelper(t testing.TB) string {
	t.Helper()
	if name := os.Getenv("DAVIT_TEST_HELPER"); name != "" {
		return name
	}
	return helpertest.Build(t)
}

func itoa(n int) string { return strconv.Itoa(n) }

func atoi(t testing.TB, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	must(t, err)
	return n
}
