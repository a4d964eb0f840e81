package logs_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/davit-agent/davit/runtime"
)

// A real container, by containerd and its shim, writes numbered lines at full
// speed while the pump is away for a while: nothing is lost. Then the pump is
// killed over and over: what that loses is bounded, and nothing is doubled.
func TestShim(t *testing.T) { shim(t, 1_500_000, 2*time.Second, 4) }

func shim(t *testing.T, lines int, away time.Duration, kills int) {
	const width = 100
	b := newBench(t)
	d := startContainerd(t)
	pump := b.pump(b.helper)

	began := time.Now()
	wait := d.run(b, "away", 1, lines, width)
	time.Sleep(200 * time.Millisecond)
	b.end(pump, syscall.SIGTERM)
	time.Sleep(away)
	pump = b.pump(b.helper)
	wait()
	took := time.Since(began) - away
	must(t, b.client.Close(t.Context(), "away"))
	t.Logf("pump away for %v: %d lines of %d bytes in %v besides: %.0f lines/s, %.1f MB/s", away, lines, width,
		took, float64(lines)/took.Seconds(), float64(lines*width)/took.Seconds()/1e6)
	b.count("away", width).want(t, "pump away", lines)

	wait = d.run(b, "kill", 1, lines, width)
	for range kills {
		time.Sleep(100 * time.Millisecond)
		b.end(pump, syscall.SIGKILL)
		pump = b.pump(b.helper)
	}
	wait()
	must(t, b.client.Close(t.Context(), "kill"))
	b.count("kill", width).wantKills(t, kills, lines)

	// Short-lived ones that end while no pump is there: the client holds the
	// FIFOs, so it can go away as well as it comes back before the end.
	b.end(pump, syscall.SIGTERM)
	for i := range 3 {
		d.run(b, fmt.Sprint("short", i), 1, 500, width)()
	}
	b.pump(b.helper)
	for i := range 3 {
		id := fmt.Sprint("short", i)
		must(t, b.client.Close(t.Context(), id))
		b.count(id, width).want(t, id, 500)
	}
}

// The pump with many idle containers is small.
func TestIdleMemory(t *testing.T) {
	b := newBench(t)
	pump := b.pump(b.helper)
	t.Logf("no container: %s", rss(t, pump.Process.Pid))
	for i := range 100 {
		stdout, stderr := b.open(fmt.Sprint("idle", i), 0)
		shimEnd(t, stdout).WriteString("hello\n")
		shimEnd(t, stderr).WriteString("hello\n")
	}
	time.Sleep(time.Second)
	t.Logf("100 idle containers: %s", rss(t, pump.Process.Pid))
	stdout, stderr := b.open("busy", 10<<20)
	const lines, width = 2_000_000, 100
	began := time.Now()
	must(t, writer(t, stdout, stderr, 1, lines, width).Wait())
	took := time.Since(began)
	t.Logf("and one busy: %s, %.0f lines/s, %.1f MB/s", rss(t, pump.Process.Pid),
		float64(lines)/took.Seconds(), float64(lines*width)/took.Seconds()/1e6)
	var kib int
	for line := range strings.Lines(rss(t, pump.Process.Pid)) {
		fmt.Sscanf(line, "VmRSS: %d kB", &kib)
	}
	if kib == 0 || kib > 24<<10 {
		t.Errorf("RSS is %d KiB, want at most 24 MiB", kib)
	}
}

func rss(t *testing.T, pid int) string {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	var out []string
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "VmRSS") || strings.HasPrefix(line, "RssAnon") {
			out = append(out, strings.Join(strings.Fields(line), " "))
		}
	}
	return strings.Join(out, "\n")
}

// daemon is a private containerd in a network namespace of its own.
type daemon struct {
	t      *testing.T
	client *containerd.Client
	root   string
}

const testNS = "davit-logs-test"

func startContainerd(t *testing.T) *daemon {
	t.Helper()
	root, err := os.MkdirTemp("", "davit-logs-ctrd-")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(root)) })
	address := filepath.Join(root, "c.sock")
	config := fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [%q]\n[grpc]\naddress = %q\n",
		root+"/root", root+"/state", "io.containerd.grpc.v1.cri", address)
	must(t, os.WriteFile(root+"/config.toml", []byte(config), 0o600))
	cmd := exec.Command("containerd", "-c", root+"/config.toml", "-l", "warn")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	var out strings.Builder
	cmd.Stderr = &out
	cmd.WaitDelay = time.Second
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(out.String())
		}
	})
	t.Cleanup(func() {
		v2, _ := filepath.Glob("/sys/fs/cgroup/" + testNS)
		v1, _ := filepath.Glob("/sys/fs/cgroup/*/" + testNS)
		for _, name := range append(v1, v2...) {
			must(t, os.Remove(name))
		}
	})
	d := &daemon{t: t, root: root}
	eventually(t, "containerd answers", func() bool {
		d.client, err = containerd.New(address, containerd.WithTimeout(time.Second))
		if err != nil {
			return false
		}
		_, err := d.client.Version(t.Context())
		if err != nil {
			d.client.Close()
		}
		return err == nil
	})
	t.Cleanup(func() { d.client.Close() })
	return d
}

// pipes has a task write into FIFOs that somebody else reads.
type pipes cio.Config

func (p pipes) Config() cio.Config { return cio.Config(p) }
func (p pipes) Cancel()            {}
func (p pipes) Wait()              {}
func (p pipes) Close() error       { return nil }

// run starts a container that runs the writer; wait waits for its end and
// deletes it, as the runtime does before it closes the log stream.
func (d *daemon) run(b *bench, id string, args ...any) (wait func()) {
	t := d.t
	t.Helper()
	program, err := buildWriter()
	must(t, err)
	root := filepath.Join(d.root, "rootfs")
	must(t, os.MkdirAll(root+"/proc", 0o755))
	must(t, exec.Command("cp", program, root+"/writer").Run())
	stdout, stderr, err := b.client.Open(t.Context(), runtime.LogStream{ID: id, Path: b.path(id), MaxFiles: 100000})
	must(t, err)
	ctx := namespaces.WithNamespace(context.Background(), testNS)
	spec := &specs.Spec{
		Version: "1.0.2",
		Root:    &specs.Root{Path: root, Readonly: true},
		Process: &specs.Process{Args: []string{"/writer"}, Cwd: "/"},
		Linux: &specs.Linux{
			CgroupsPath: "/" + testNS + "/" + id,
			Namespaces:  []specs.LinuxNamespace{{Type: "pid"}, {Type: "mount"}, {Type: "network"}, {Type: "ipc"}},
		},
		Mounts: []specs.Mount{{Destination: "/proc", Type: "proc", Source: "proc"}},
	}
	for _, a := range args {
		spec.Process.Args = append(spec.Process.Args, fmt.Sprint(a))
	}
	c, err := d.client.NewContainer(ctx, "davit-logs-"+id, containerd.WithSpec(spec),
		containerd.WithRuntime("io.containerd.runc.v2", nil))
	must(t, err)
	t.Cleanup(func() { _ = c.Delete(ctx) })
	task, err := c.NewTask(ctx, func(string) (cio.IO, error) {
		return pipes{Stdout: stdout, Stderr: stderr}, nil
	})
	must(t, err)
	deleted := false
	t.Cleanup(func() {
		if !deleted {
			_, _ = task.Delete(ctx, containerd.WithProcessKill)
		}
	})
	exit, err := task.Wait(ctx)
	must(t, err)
	must(t, task.Start(ctx))
	return func() {
		t.Helper()
		select {
		case s := <-exit:
			if s.ExitCode() != 0 || s.Error() != nil {
				t.Fatalf("container %s: exit code %d, %v", id, s.ExitCode(), s.Error())
			}
		case <-time.After(5 * limit):
			t.Fatalf("container %s does not end", id)
		}
		_, err := task.Delete(ctx)
		must(t, err)
		deleted = true
		must(t, c.Delete(ctx))
	}
}
