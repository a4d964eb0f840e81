//go:build bench

package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/oci"
	"golang.org/x/sys/unix"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/containerd"
	"github.com/davit-agent/davit/runtime/enter"
	"github.com/davit-agent/davit/runtime/helper"
	"github.com/davit-agent/davit/test/testbed"
)

const (
	probes      = 100 // containers, each with an exec probe of a period of 1 s
	probeRounds = 5
	atATime     = 8 // probes that run at the same time: a hundred are spread over their second
)

// noLogs is for containers without a log.
type noLogs struct{}

func (noLogs) Open(context.Context, runtime.LogStream) (string, string, error) { return "", "", nil }
func (noLogs) Close(context.Context, string) error                             { return nil }
func (noLogs) List(context.Context) ([]string, error)                          { return nil, nil }

// TestBenchProbes runs the same hundred exec probes in three ways and counts the
// processor time of all that they need: the command, whoever starts it, and (the
// daemon's way) containerd and the shims. A hundred at a period of 1 s by runc are
// more than two cores can do, so rounds are counted, not seconds.
func TestBenchProbes(t *testing.T) {
	bin := ""
	if os.Getenv("DAVIT_BENCH_CONTAINERD") == "2" {
		bin = testbed.BuildContainerd2(t)
	}
	bed := testbed.New(t, testbed.Options{Containerd: bin})
	f := newFloor(t, bed)
	ids := make([]string, probes)
	for i := range ids {
		ids[i] = fmt.Sprintf("probe-%s-%d", bed.ID, i)
		f.spec = oci.Compose(f.own(ids[i], bed.NSPath), func(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
			score := 500
			s.Process.OOMScoreAdj = &score
			return nil
		})
		remove, err := f.start(ids[i], bed.NSPath)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(remove)
	}
	rt, err := containerd.New(containerd.Config{Address: bed.Address, Namespace: "floor", RunDir: bed.Path("exec"), Logs: noLogs{}})
	if err != nil {
		t.Fatal(err)
	}
	defer rt.Close()
	program, err := helper.Install(bed.Path("helper"))
	if err != nil {
		t.Fatal(err)
	}
	long := &countedWay{Client: rt}
	e, err := enter.New(enter.Config{Fallback: long, Specs: rt, Helper: program, Dir: bed.Path("enter"), CgroupParent: bed.CgroupParent()})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	command := []string{"cat", "/etc/passwd"}
	ways := []struct {
		name string
		run  func(id string) error
	}{
		{"bare runc exec", func(id string) error {
			return exec.Command("runc", append([]string{"--root", "/run/containerd/runc/floor", "exec", id}, command...)...).Run()
		}},
		{"containerd's exec", func(id string) error {
			_, err := rt.Exec(context.Background(), id, runtime.ExecConfig{Command: command, Stdout: &strings.Builder{}})
			return err
		}},
		{"davit", func(id string) error {
			code, out, err := e.Exec(context.Background(), id, command, 10<<10)
			if err == nil && (code != 0 || len(out) == 0) {
				err = fmt.Errorf("code %d, output %q", code, out)
			}
			return err
		}},
	}
	used, took := make([]time.Duration, len(ways)), make([]time.Duration, len(ways))
	for round := range probeRounds + 1 {
		for i, w := range ways {
			c0, began := allCPU(t, bed), time.Now()
			everyProbe(t, ids, w.run)
			if round > 0 { // the first warms up, and davit learns of the containers
				used[i] += allCPU(t, bed) - c0
				took[i] += time.Since(began)
			}
		}
	}
	fmt.Printf("\n%d exec probes, period 1 s, containerd %s:\n", probes, bed.Containerd.Version())
	for i, w := range ways {
		per := used[i] / (probes * probeRounds)
		fmt.Printf("  %-18s CPU per probe %8v   of a core %4.0f %%   of runc's %5.1f %%   the hundred took %v\n", w.name,
			per.Round(10*time.Microsecond), 100*per.Seconds()*probes, 100*used[i].Seconds()/used[0].Seconds(), (took[i] / probeRounds).Round(time.Millisecond))
	}
	if long.calls > 0 {
		t.Errorf("%d of davit's went the long way", long.calls)
	}
}

// countedWay is the long way.
type countedWay struct {
	*containerd.Client
	mu    sync.Mutex
	calls int
}

func (c *countedWay) Exec(ctx context.Context, id string, cfg runtime.ExecConfig) (int, error) {
	c.mu.Lock()
	c.calls++
	c.mu.Unlock()
	return c.Client.Exec(ctx, id, cfg)
}

func everyProbe(t *testing.T, ids []string, run func(id string) error) {
	t.Helper()
	var wg sync.WaitGroup
	slots := make(chan struct{}, atATime)
	for _, id := range ids {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := run(id); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// allCPU is the processor time of this process, of containerd and its shims, and of
// all that they started and waited for.
func allCPU(t *testing.T, bed *testbed.Bed) time.Duration {
	t.Helper()
	var sum time.Duration
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if err := unix.Getrusage(who, &u); err != nil {
			t.Fatal(err)
		}
		sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	sum += family(bed.Containerd.Pid())
	dirs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range dirs {
		line, _ := os.ReadFile(file)
		if strings.Contains(string(line), "containerd-shim-runc-v2") && strings.Contains(string(line), bed.Address) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			sum += family(pid)
		}
	}
	return sum
}

// family is what a process and its children that have ended used.
func family(pid int) time.Duration {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+2:]))
	var ticks int
	for _, i := range []int{11, 12, 13, 14} {
		n, _ := strconv.Atoi(f[i])
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
