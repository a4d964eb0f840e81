package runtimetest_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/containerd"
	"github.com/davit-agent/davit/runtime/runtimetest"
	"github.com/davit-agent/davit/test/testbed"
)

// TestContainerd holds the containerd client to the contract, on the containerds
// that davit supports.
func TestContainerd(t *testing.T) {
	for name, bin := range map[string]string{"1.6": "", "2.x": testbed.BuildContainerd2(t)} {
		t.Run(name, func(t *testing.T) {
			runtimetest.Run(t, func(t *testing.T) runtimetest.Harness { return newReal(t, bin) })
		})
	}
}

const image = "example.com/tool:1"

// real is a Bed with an agent's runtime on it.
type real struct {
	t    *testing.T
	bed  *testbed.Bed
	logs *drain
	c    *containerd.Client
	end  func()
}

func newReal(t *testing.T, bin string) *real {
	bed := testbed.New(t, testbed.Options{Containerd: bin})
	h := &real{t: t, bed: bed, logs: &drain{dir: t.TempDir(), open: map[string][]*os.File{}}}
	h.begin()
	t.Cleanup(func() { h.end() })
	images := t.TempDir()
	testbed.Archive(t, images, testbed.ImageSpec{Name: image})
	results, err := h.c.Preload(t.Context(), images)
	if err != nil || results[0].Err != nil {
		t.Fatalf("preloading: %v, %v", results, err)
	}
	bed.CgroupParent()
	bed.Baseline()
	return h
}

func (h *real) begin() {
	h.t.Helper()
	c, err := containerd.New(containerd.Config{Address: h.bed.Address, Namespace: h.bed.Namespace,
		RunDir: h.bed.Path("run"), Logs: h.logs})
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = c.Run(ctx) })
	h.c, h.end = c, func() { cancel(); wg.Wait(); _ = c.Close() }
}

func (h *real) Runtime() runtime.Runtime { return h.c }
func (h *real) StopAgent()               { h.end() }
func (h *real) StartAgent()              { h.begin() }
func (h *real) StopDaemon()              { h.bed.Containerd.Kill() }
func (h *real) StartDaemon()             { h.bed.Containerd.Start() }
func (h *real) Image() string            { return image }
func (h *real) Leaks() []string          { return h.bed.LeakCheck() }

// Heeds looks for the sign that podtool gives when its handlers are in place:
// it ignores SIGUSR2.
func (h *real) Heeds(c runtime.Container) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.Pid))
	if err != nil {
		h.t.Fatalf("reading what container %s does at signals: %v", c.Name, err)
	}
	for line := range strings.Lines(string(status)) {
		if set, is := strings.CutPrefix(line, "SigIgn:"); is {
			mask, err := strconv.ParseUint(strings.TrimSpace(set), 16, 64)
			if err != nil {
				h.t.Fatal(err)
			}
			return mask>>(syscall.SIGUSR2-1)&1 != 0
		}
	}
	return false
}

func (h *real) Kill(c runtime.Container) {
	h.t.Helper()
	fd, err := unix.PidfdOpen(int(c.Pid), 0)
	if err != nil {
		h.t.Fatalf("opening the process of container %s: %v", c.Name, err)
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, unix.SIGTERM, nil, 0); err != nil {
		h.t.Fatalf("signalling the process of container %s: %v", c.Name, err)
	}
	testbed.Poll(h.t, time.Minute, func() string {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		if n == 1 && err == nil {
			return ""
		}
		return fmt.Sprintf("container %s does not end of SIGTERM (%v)", c.Name, err)
	})
}

func (h *real) Config(ref runtime.ContainerRef, img *runtime.Image, args []string) *runtime.ContainerConfig {
	return &runtime.ContainerConfig{
		ContainerRef: ref, Image: img, Log: runtime.LogStream{Path: h.bed.Path("log-" + ref.ID[:8])},
		Spec: &specs.Spec{
			Version: "1.0.2",
			Process: &specs.Process{Args: args, Cwd: "/", Env: []string{"PATH=/bin"}},
			Root:    &specs.Root{},
			Mounts: []specs.Mount{
				{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
				{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "mode=755", "size=65536k"}},
				{Destination: "/dev/pts", Type: "devpts", Source: "devpts",
					Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}},
			},
			Linux: &specs.Linux{
				CgroupsPath: h.bed.CgroupParent() + "/" + ref.ID[:16],
				Namespaces: []specs.LinuxNamespace{{Type: specs.PIDNamespace}, {Type: specs.MountNamespace},
					{Type: specs.IPCNamespace}, {Type: specs.UTSNamespace}, {Type: specs.NetworkNamespace}},
			},
		},
	}
}

// drain is a log pump that throws everything away.
type drain struct {
	dir  string
	mu   sync.Mutex
	open map[string][]*os.File
}

func (d *drain) paths(s runtime.LogStream) (stdout, stderr string) {
	stdout = filepath.Join(d.dir, s.ID[:16]+".out")
	if !s.Terminal {
		stderr = filepath.Join(d.dir, s.ID[:16]+".err")
	}
	return stdout, stderr
}

func (d *drain) Open(_ context.Context, s runtime.LogStream) (stdout, stderr string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	stdout, stderr = d.paths(s)
	if d.open[s.ID] != nil {
		return stdout, stderr, nil
	}
	for _, path := range []string{stdout, stderr} {
		if path == "" {
			continue
		}
		if err := unix.Mkfifo(path, 0o600); err != nil {
			return "", "", err
		}
		// Open for writing too, so that reading does not end between writers.
		f, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0)
		if err != nil {
			return "", "", err
		}
		d.open[s.ID] = append(d.open[s.ID], f)
		go func() { _, _ = io.Copy(io.Discard, f) }()
	}
	return stdout, stderr, nil
}

func (d *drain) Close(_ context.Context, id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.open[id] {
		_ = f.Close()
		_ = os.Remove(f.Name())
	}
	delete(d.open, id)
	return nil
}

func (d *drain) List(context.Context) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var ids []string
	for id := range d.open {
		ids = append(ids, id)
	}
	return ids, nil
}
