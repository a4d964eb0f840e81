package testbed

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
)

// Daemon is the Bed's containerd. Its methods fail the Bed's test if what they
// ask for does not happen.
type Daemon struct {
	Log string // file with everything it printed, over all restarts

	bed  *Bed
	bin  string
	cmd  *exec.Cmd
	done chan struct{}
}

// limit is how long the daemon may take to start or stop on a busy machine.
const limit = 60 * time.Second

func addressIn(dir string) string { return filepath.Join(dir, "ctrd", "sock") }

// config is containerd's; version 2 is read by 1.6, 1.7 and 2.x. What is
// disabled either needs a kernel or a directory of the host that a test must
// not touch (/opt/containerd, /run/nri, /etc/cni), or is of no use to davit.
const config = `version = 2
root = %[1]q
state = %[2]q
disabled_plugins = [
  "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime",
  "io.containerd.nri.v1.nri", "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.erofs",
  "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing",
]
[grpc]
  address = %[3]q
[ttrpc]
  address = %[4]q
[debug]
  level = "info"
`

func (d *Daemon) writeConfig(more string) error {
	dir := d.bed.Path("ctrd")
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return fmt.Errorf("making containerd's directory: %w", err)
	}
	text := fmt.Sprintf(config, filepath.Join(dir, "root"), filepath.Join(dir, "state"),
		d.bed.Address, d.bed.Address+".ttrpc") + more
	return os.WriteFile(filepath.Join(dir, "config.toml"), []byte(text), 0o644)
}

// Start starts the daemon and waits until it answers.
func (d *Daemon) Start() {
	d.bed.t.Helper()
	if d.cmd != nil {
		d.bed.t.Fatal("starting containerd: it runs already")
	}
	name := "containerd"
	path := os.Getenv("PATH")
	if d.bin != "" {
		name = filepath.Join(d.bin, "containerd")
		path = d.bin + ":" + path
	}
	out, err := os.OpenFile(d.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		d.bed.t.Fatalf("opening containerd's log: %v", err)
	}
	defer out.Close()
	cmd := d.bed.Command(name, "-c", d.bed.Path("ctrd", "config.toml"))
	cmd.Env = append(os.Environ(), "PATH="+path)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Dir = "/"
	// A group of its own: a Ctrl-C at the terminal is for the test, which then
	// cleans up.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		d.bed.t.Fatalf("starting containerd: %v", err)
	}
	d.cmd, d.done = cmd, make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(d.done)
	}()
	if err := d.await(); err != nil {
		d.bed.t.Fatalf("starting containerd: %v\n%s", err, tail(d.Log, 3000))
	}
}

// await waits until the daemon answers.
func (d *Daemon) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for {
		err := answers(ctx, d.bed.Address)
		if err == nil {
			return nil
		}
		select {
		case <-d.done:
			return fmt.Errorf("it ended: %s", d.cmd.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("it does not answer within %s: %w", limit, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func answers(ctx context.Context, address string) error {
	if _, err := os.Stat(address); err != nil {
		return err
	}
	c, err := containerd.New(address, containerd.WithTimeout(2*time.Second))
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err = c.Version(ctx)
	return err
}

// Pid returns the daemon's process id, 0 when it does not run.
func (d *Daemon) Pid() int {
	if d.cmd == nil {
		return 0
	}
	return d.cmd.Process.Pid
}

// Stop ends the daemon with SIGTERM; containers go on.
func (d *Daemon) Stop() {
	d.bed.t.Helper()
	if d.cmd == nil {
		d.bed.t.Fatal("stopping containerd: it does not run")
	}
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.done:
		d.cmd = nil
	case <-time.After(limit):
		d.bed.t.Fatalf("stopping containerd: it did not end within %s of SIGTERM", limit)
	}
}

// Kill ends the daemon with SIGKILL; containers go on.
func (d *Daemon) Kill() {
	d.bed.t.Helper()
	if d.cmd == nil {
		d.bed.t.Fatal("killing containerd: it does not run")
	}
	d.kill()
}

func (d *Daemon) kill() {
	if d.cmd == nil {
		return
	}
	_ = d.cmd.Process.Kill()
	<-d.done
	d.cmd = nil
}

// Restart stops the daemon with SIGTERM and starts it.
func (d *Daemon) Restart() {
	d.bed.t.Helper()
	d.Stop()
	d.Start()
}

// Pause stops the daemon with SIGSTOP: its socket stays, nobody answers.
func (d *Daemon) Pause() {
	d.bed.t.Helper()
	if d.cmd == nil {
		d.bed.t.Fatal("pausing containerd: it does not run")
	}
	if err := d.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		d.bed.t.Fatalf("pausing containerd: %v", err)
	}
}

// Continue ends a Pause.
func (d *Daemon) Continue() {
	d.bed.t.Helper()
	if d.cmd == nil {
		d.bed.t.Fatal("continuing containerd: it does not run")
	}
	if err := d.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		d.bed.t.Fatalf("continuing containerd: %v", err)
	}
}

// Version returns the daemon's version without a leading "v", as 1.6.20~ds1.
func (d *Daemon) Version() string {
	d.bed.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	v, err := d.bed.Client("default").Version(ctx)
	if err != nil {
		d.bed.t.Fatalf("asking containerd for its version: %v", err)
	}
	return strings.TrimPrefix(v.Version, "v")
}
