package testbed

import (
	"bufio"
	"context"
	"net"
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
	"github.com/containerd/containerd/v2/pkg/oci"
)

// runContainer starts a container in the Bed as any containerd client would.
func runContainer(t *testing.T, b *Bed, args ...string) (context.Context, containerd.Task) {
	t.Helper()
	return runInGroup(t, b, "x", args...)
}

// runInGroup starts it in a group of its shim's.
func runInGroup(t *testing.T, b *Bed, group string, args ...string) (context.Context, containerd.Task) {
	t.Helper()
	ctx := namespaces.WithNamespace(t.Context(), b.Namespace)
	c := b.Client(b.Namespace)
	f, err := os.Open(Archive(t, b.Dir, ImageSpec{Name: "example.com/tool:1", Entrypoint: []string{"/bin/podtool"}}))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := c.Import(ctx, f); err != nil {
		t.Fatal(err)
	}
	img, err := c.GetImage(ctx, "example.com/tool:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := img.Unpack(ctx, "overlayfs"); err != nil {
		t.Fatal(err)
	}
	x, err := c.NewContainer(ctx, "x", containerd.WithNewSnapshot("x", img),
		containerd.WithNewSpec(oci.WithImageConfigArgs(img, args), oci.WithCgroup(b.CgroupParent()+"/x"),
			oci.WithAnnotations(map[string]string{"io.containerd.runc.v2.group": group})))
	if err != nil {
		t.Fatal(err)
	}
	task, err := x.NewTask(ctx, cio.NullIO)
	if err != nil {
		t.Fatal(err)
	}
	if err := task.Start(ctx); err != nil {
		t.Fatal(err)
	}
	return ctx, task
}

// gone fails the test if anything of a Bed is there.
func gone(t *testing.T, id, dir string) {
	t.Helper()
	if _, err := os.Lstat(dir); !os.IsNotExist(err) {
		t.Errorf("directory %s is still there: %v", dir, err)
	}
	pins, _ := filepath.Glob(netnsDir + "/dv-" + id + "*")
	if len(pins) > 0 {
		t.Errorf("namespaces are still there: %v", pins)
	}
	if dirs := cgroupDirs(id); len(dirs) > 0 {
		t.Errorf("cgroups are still there: %v", dirs)
	}
	if _, err := os.Stat(shimAddress(dir, "davit-"+id, "x")); err == nil {
		t.Error("the shim's socket is still there")
	}
	if left := runcStates(id, dir); len(left) > 0 {
		t.Errorf("runc's state is still there: %v", left)
	}
	if left := processes(id, dir); len(left) > 0 {
		t.Errorf("processes are still there: %v", left)
	}
	if points, err := mountsBelow(dir); err != nil || len(points) > 0 {
		t.Errorf("mounts are still there: %v, %v", points, err)
	}
}

func TestBedIsANodeAndGoesWithoutTrace(t *testing.T) {
	t.Run("1.6", func(t *testing.T) { testNode(t, "") })
	t.Run("2.x", func(t *testing.T) { testNode(t, BuildContainerd2(t)) })
}

func testNode(t *testing.T, bin string) {
	var id, dir string
	var sockets []string
	ok := t.Run("bed", func(t *testing.T) {
		b := New(t, Options{Containerd: bin})
		id, dir = b.ID, b.Dir
		if got := b.LeakCheck(); len(got) > 0 {
			t.Errorf("a fresh bed leaks: %v", got)
		}
		if out := b.Run("ip", "route", "get", "198.51.100.1"); !strings.Contains(out, "via 192.0.2.1") {
			t.Errorf("no default route: %s", out)
		}
		b.Run("busybox", "ping", "-c1", "-W5", "192.0.2.1")
		b.Run("busybox", "ping", "-6", "-c1", "-W5", "2001:db8::1")
		if err := b.Command("busybox", "ping", "-c1", "-W1", "198.51.100.1").Run(); err == nil {
			t.Error("a packet found a way out of the wire")
		}
		_, task := runContainer(t, b, "sleep")
		sockets = shimSockets(b.ID, b.Dir)
		if len(sockets) == 0 {
			t.Error("the shim's socket was not found")
		}
		leaks := strings.Join(b.inventory(), "\n")
		for _, want := range []string{"container x ", "task x ", "active snapshot x ", "containerd-shim", "runc state ", "mount " + b.Dir, "cgroup "} {
			if !strings.Contains(leaks, want) {
				t.Errorf("the inventory has not %q:\n%s", want, leaks)
			}
		}
		// A container whose shim was killed is the hardest to find.
		for _, p := range processes(b.ID, b.Dir) {
			if p.name == "containerd-shim" {
				proc, _ := os.FindProcess(p.pid)
				_ = proc.Kill()
			}
		}
		if _, err := os.Stat(procFile(int(task.Pid()), "stat")); err != nil {
			t.Errorf("the container ended with its shim: %v", err)
		}
	})
	if !ok {
		return
	}
	gone(t, id, dir)
	for _, s := range sockets {
		if _, err := os.Stat(s); err == nil {
			t.Errorf("socket %s is still there", s)
		}
	}
}

// TestSocketsOfDeadShimsGo kills the shim of a group and deletes its container,
// so that no process and no bundle tells of the shim's socket any more.
func TestSocketsOfDeadShimsGo(t *testing.T) {
	for name, bin := range map[string]string{"1.6": "", "2.x": BuildContainerd2(t)} {
		var socket, other string
		t.Cleanup(func() { os.Remove(other) })
		ok := t.Run(name, func(t *testing.T) {
			b := New(t, Options{Containerd: bin})
			ctx, task := runInGroup(t, b, "a-group", "sleep")
			socket = shimAddress(b.Dir, b.Namespace, "a-group")
			other = shimAddress("/nobody", b.Namespace, "a-group")
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: other})
			if err != nil {
				t.Fatal(err)
			}
			l.SetUnlinkOnClose(false)
			l.Close() // as dead as that of the shim, and another daemon's
			for _, p := range processes(b.ID, b.Dir) {
				if p.name == "containerd-shim" {
					proc, _ := os.FindProcess(p.pid)
					_ = proc.Kill()
				}
			}
			_, _ = task.Delete(ctx, containerd.WithProcessKill)
			Poll(t, limit, func() string {
				if left, _ := filepath.Glob(b.Path("ctrd/state/io.containerd.runtime.v2.task/*/*")); len(left) > 0 {
					return "bundles are there: " + strings.Join(left, " ")
				}
				return ""
			})
			x, err := b.Client(b.Namespace).LoadContainer(ctx, "x")
			if err != nil {
				t.Fatal(err)
			}
			if err := x.Delete(ctx, containerd.WithSnapshotCleanup); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(socket); err != nil {
				t.Fatalf("the daemon removes sockets of dead shims: %v", err)
			}
		})
		if !ok {
			continue
		}
		if _, err := os.Stat(socket); err == nil {
			t.Errorf("%s: socket %s is still there", name, socket)
		}
		if _, err := os.Stat(other); err != nil {
			t.Errorf("%s: another daemon's socket: %v", name, err)
		}
	}
}

func TestDaemonGoesAndComes(t *testing.T) {
	var b *Bed
	t.Cleanup(func() { gone(t, b.ID, b.Dir) })
	b = New(t, Options{})
	first := b.Containerd.Pid()
	ctx, task := runContainer(t, b, "exit", "42", "2s")
	exited, err := task.Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	b.Containerd.Kill()
	b.Containerd.Start()
	b.Containerd.Restart()
	if b.Containerd.Pid() == first {
		t.Error("the daemon did not restart")
	}
	b.Containerd.Pause()
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := answers(short, b.Address); err == nil {
		t.Error("a paused daemon answers")
	}
	b.Containerd.Continue()
	if v := b.Containerd.Version(); !strings.HasPrefix(v, "1.") && !strings.HasPrefix(v, "2.") {
		t.Errorf("Version() = %q", v)
	}
	<-exited // the stream broke or the container ended; either is an answer
}

// TestKilledTestIsSweptUp starts this test binary again, lets it make a Bed
// with a container in it, kills it, and sweeps.
func TestKilledTestIsSweptUp(t *testing.T) {
	if os.Getenv("TESTBED_CHILD") != "" {
		b := New(t, Options{})
		runContainer(t, b, "sleep")
		os.Stdout.WriteString("\nbed " + b.ID + " " + b.Dir + "\n")
		select {}
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledTestIsSweptUp$", "-test.v")
	cmd.Env = append(os.Environ(), "TESTBED_CHILD=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	var id, dir string
	for s := bufio.NewScanner(out); id == "" && s.Scan(); {
		if f := strings.Fields(s.Text()); len(f) == 3 && f[0] == "bed" {
			id, dir = f[1], f[2]
		}
	}
	if id == "" {
		t.Fatal("the child made no bed")
	}
	if err := Sweep(); err != nil {
		t.Errorf("sweeping: %v", err)
	}
	if len(processes(id, dir)) == 0 {
		t.Error("Sweep took the bed of a living process")
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if err := Sweep(); err != nil {
		t.Errorf("sweeping: %v", err)
	}
	gone(t, id, dir)
}

func TestIDOf(t *testing.T) {
	for dir, want := range map[string]string{
		"/tmp/dv-123-0a1b2c": "0a1b2c", "/tmp/dv-123-0a1b2": "", "/tmp/dv-x-0a1b2c": "",
		"/tmp/dv-oci123": "", "/tmp/dv-123-0A1B2C": "",
	} {
		if got := idOf(dir); got != want {
			t.Errorf("idOf(%q) = %q, want %q", dir, got, want)
		}
	}
}
