package containerd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	ctrd "github.com/containerd/containerd/v2/client"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/test/testbed"
)

const limit = 60 * time.Second

// pump is a log pump for tests: it reads the FIFOs into memory.
type pump struct {
	dir  string
	mu   sync.Mutex
	open map[string]*pumped
}

type pumped struct {
	stdout, stderr string
	out            bytes.Buffer
	mu             sync.Mutex
	holds          []*os.File
	copies         sync.WaitGroup
}

func newPump(t testing.TB, dir string) *pump {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return &pump{dir: dir, open: map[string]*pumped{}}
}

func (p *pump) Open(_ context.Context, s runtime.LogStream) (string, string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if x := p.open[s.ID]; x != nil {
		return x.stdout, x.stderr, nil
	}
	x := &pumped{}
	paths := []*string{&x.stdout}
	if !s.Terminal {
		paths = append(paths, &x.stderr)
	}
	for i, path := range paths {
		*path = filepath.Join(p.dir, fmt.Sprintf("%s.%d", s.ID, i))
		if err := unix.Mkfifo(*path, 0o600); err != nil {
			return "", "", err
		}
		r, err := os.OpenFile(*path, syscall.O_RDONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			return "", "", err
		}
		w, err := os.OpenFile(*path, syscall.O_WRONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			return "", "", err
		}
		x.holds = append(x.holds, w)
		x.copies.Go(func() {
			defer r.Close()
			buf := make([]byte, 4096)
			for {
				n, err := r.Read(buf)
				x.mu.Lock()
				x.out.Write(buf[:n])
				x.mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	p.open[s.ID] = x
	return x.stdout, x.stderr, nil
}

func (p *pump) Close(_ context.Context, id string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	x := p.open[id]
	if x == nil {
		return nil
	}
	for _, w := range x.holds {
		w.Close()
	}
	x.copies.Wait()
	delete(p.open, id)
	return errors.Join(os.Remove(x.stdout), func() error {
		if x.stderr == "" {
			return nil
		}
		return os.Remove(x.stderr)
	}())
}

func (p *pump) List(context.Context) ([]string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var ids []string
	for id := range p.open {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids, nil
}

func (p *pump) output(id string) string {
	p.mu.Lock()
	x := p.open[id]
	p.mu.Unlock()
	if x == nil {
		return ""
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.out.String()
}

// node is a Bed with an image and davit's client on it.
type node struct {
	*testbed.Bed
	t     testing.TB
	c     *Client
	cfg   Config
	pump  *pump
	image *runtime.Image
	stop  func()
}

// daemons are the directories of the containerds that tests of the daemon's
// own behaviour run on.
func daemons(t *testing.T) map[string]string {
	return map[string]string{"1.6": "", "2.x": testbed.BuildContainerd2(t)}
}

func onEachDaemon(t *testing.T, f func(t *testing.T, n *node)) {
	for name, bin := range daemons(t) {
		t.Run(name, func(t *testing.T) { f(t, newNode(t, bin, nil)) })
	}
}

func newNode(t testing.TB, bin string, change func(*Config)) *node {
	t.Helper()
	bed := testbed.New(t, testbed.Options{Containerd: bin})
	n := &node{Bed: bed, t: t, pump: newPump(t, bed.Path("logs"))}
	n.cfg = Config{Address: bed.Address, RunDir: bed.Path("run"), Logs: n.pump, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
	if change != nil {
		change(&n.cfg)
	}
	n.image = n.load("example.com/tool:1")
	bed.CgroupParent()
	n.Baseline()
	n.begin()
	t.Cleanup(func() { n.stop() })
	return n
}

// begin starts a client, as davit does when it starts.
func (n *node) begin(known ...runtime.ContainerRef) {
	n.t.Helper()
	c, err := New(n.cfg)
	if err != nil {
		n.t.Fatal(err)
	}
	c.Adopt(known)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Run(ctx) }()
	n.c = c
	n.stop = sync.OnceFunc(func() { cancel(); <-done; _ = c.Close() })
}

// load imports an image past davit, as Image does not come into these tests.
func (n *node) load(name string) *runtime.Image {
	n.t.Helper()
	ctx := context.Background()
	cl := n.Client("davit")
	f, err := os.Open(testbed.Archive(n.t, n.Dir, testbed.ImageSpec{Name: name}))
	if err != nil {
		n.t.Fatal(err)
	}
	defer f.Close()
	if _, err := cl.Import(ctx, f); err != nil {
		n.t.Fatal(err)
	}
	img, err := cl.GetImage(ctx, name)
	if err != nil {
		n.t.Fatal(err)
	}
	if err := img.Unpack(ctx, "overlayfs"); err != nil {
		n.t.Fatal(err)
	}
	return imageOf(n.t, ctx, img)
}

func imageOf(t testing.TB, ctx context.Context, img ctrd.Image) *runtime.Image {
	t.Helper()
	diffIDs, err := img.RootFS(ctx)
	if err != nil {
		t.Fatal(err)
	}
	desc, err := img.Config(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return &runtime.Image{Name: img.Name(), ID: desc.Digest.String(), Snapshot: chainID(diffIDs), Config: imagespec.ImageConfig{}}
}

// config makes the configuration of a container that runs args.
func (n *node) config(pod, name string, attempt uint32, args ...string) *runtime.ContainerConfig {
	pod += "-" + n.ID // runc's state of all containerds of a machine is in one place
	id := runtime.ContainerID(pod, name, attempt)
	return &runtime.ContainerConfig{
		ContainerRef: runtime.ContainerRef{Pod: runtime.PodRef{UID: pod, Namespace: "default", Name: "p-" + pod}, Name: name, Attempt: attempt, ID: id},
		Image:        n.image,
		Spec:         n.spec(id, args...),
		Log:          runtime.LogStream{Path: n.Path("log-" + id[:8])},
	}
}

func (n *node) spec(id string, args ...string) *specs.Spec {
	caps := []string{"CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SETUID", "CAP_SETGID"}
	return &specs.Spec{
		Version: "1.0.2",
		Process: &specs.Process{
			Args: args, Cwd: "/", Env: []string{"PATH=/bin"}, NoNewPrivileges: true,
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
}

func (n *node) create(cfg *runtime.ContainerConfig) {
	n.t.Helper()
	if err := n.c.Create(n.t.Context(), cfg); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) start(cfg *runtime.ContainerConfig) {
	n.t.Helper()
	if err := n.c.Start(n.t.Context(), cfg.ID); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) run(pod, name string, attempt uint32, args ...string) *runtime.ContainerConfig {
	n.t.Helper()
	cfg := n.config(pod, name, attempt, args...)
	n.create(cfg)
	n.start(cfg)
	return cfg
}

func (n *node) delete(ids ...string) {
	n.t.Helper()
	for _, id := range ids {
		if err := n.c.Delete(context.Background(), id); err != nil {
			n.t.Fatal(err)
		}
	}
}

func (n *node) get(id string) *runtime.Container {
	n.t.Helper()
	list, err := n.c.List(context.Background(), "")
	if err != nil && !errors.Is(err, runtime.ErrUnavailable) { // what is in the list is true all the same
		n.t.Fatal(err)
	}
	for i := range list {
		if list[i].ID == id {
			return &list[i]
		}
	}
	return nil
}

// await waits until a container is in a state.
func (n *node) await(id string, want runtime.State) *runtime.Container {
	n.t.Helper()
	var c *runtime.Container
	testbed.Poll(n.t, limit, func() string {
		if c = n.get(id); c != nil && c.State == want {
			return ""
		}
		got, _ := json.Marshal(c)
		return fmt.Sprintf("container is %s, want %s", got, want)
	})
	return c
}

func (n *node) noLeak() {
	n.t.Helper()
	if leaks := n.LeakCheck(); len(leaks) > 0 {
		n.t.Errorf("left behind:\n%s", joinLines(leaks))
	}
	for _, dir := range []string{n.c.marks.Dir, n.Path("run", "exec"), n.c.stdinDir(), n.pump.dir} {
		files, _ := os.ReadDir(dir)
		for _, f := range files {
			n.t.Errorf("left behind: %s/%s", dir, f.Name())
		}
	}
	if left := n.c.groups.Members(); left > 0 {
		n.t.Errorf("left behind: %d members of shim groups", left)
	}
	if left := n.c.table.States(); len(left) > 0 {
		n.t.Errorf("left behind: table entries %v", left)
	}
}

func joinLines(lines []string) string {
	var b bytes.Buffer
	for _, l := range lines {
		_, _ = io.WriteString(&b, "  "+l+"\n")
	}
	return b.String()
}

func memoryLimit(bytes int64) *specs.LinuxResources {
	return &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &bytes}}
}

// startDaemon starts containerd and waits until davit has noticed.
func (n *node) startDaemon() {
	n.t.Helper()
	n.Containerd.Start()
	testbed.Poll(n.t, limit, func() string {
		if err := n.c.Ready(context.Background()); err != nil {
			return err.Error()
		}
		return ""
	})
}
