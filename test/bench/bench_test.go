//go:build bench

package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/test/node"
	"github.com/davit-agent/davit/test/testbed"
)

const (
	singles = 30  // starts one by one
	burst   = 50  // pods at once
	many    = 100 // pods for the idle figures
	window  = 20 * time.Second
)

func open(t testing.TB, path string) *os.File {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func manifest(name string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: main, image: "%s", command: [/bin/podtool, sleep]}
`, name, node.Image)
}

// watcher follows the pods as davit reports them.
type watcher struct {
	running chan string // names, as they become Running
	gone    chan string
}

func watch(t testing.TB, n *node.Node) *watcher {
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", n.Socket())
	}}}
	resp, err := c.Get("http://davit/v1/pods?watch=true")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	w := &watcher{running: make(chan string, 1000), gone: make(chan string, 1000)}
	go func() {
		lines := bufio.NewReader(resp.Body)
		seen := map[string]bool{}
		for {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				return
			}
			var e struct {
				Type   string
				Object v1.Pod
			}
			if json.Unmarshal(line, &e) != nil {
				continue
			}
			key := string(e.Object.UID)
			switch {
			case e.Type == "DELETED":
				delete(seen, key)
				w.gone <- e.Object.Name
			case e.Object.Status.Phase == v1.PodRunning && !seen[key]:
				seen[key] = true
				w.running <- e.Object.Name
			}
		}
	}()
	return w
}

func wait(t testing.TB, c chan string, n int) {
	for range n {
		select {
		case <-c:
		case <-time.After(5 * time.Minute):
			t.Fatal("nothing happens any more")
		}
	}
}

func percentile(d []time.Duration, p float64) time.Duration {
	d = slices.Clone(d)
	slices.Sort(d)
	return d[min(len(d)-1, int(p*float64(len(d))))].Round(100 * time.Microsecond)
}

func TestBench(t *testing.T) {
	bin := ""
	if os.Getenv("DAVIT_BENCH_CONTAINERD") == "2" {
		bin = testbed.BuildContainerd2(t)
	}
	bed := testbed.New(t, testbed.Options{Containerd: bin})
	runOnTmpfs(t, bed)
	n := node.Start(t, bed, node.Options{Level: "info"})
	f := newFloor(t, bed)
	w := watch(t, n)
	ready := bed.NSPath
	say := func(format string, args ...any) { fmt.Printf(format+"\n", args...) }
	say("\ncontainerd %s, %d starts one by one, %d at once", bed.Containerd.Version(), singles, burst)

	oneByOne(t, n, f, w, ready, say)
	atOnce(t, n, f, w, ready, say)
	metrics(t, n, say)
	if os.Getenv("DAVIT_BENCH_SHORT") == "" {
		idle(t, n, w, say)
	}
}

// runOnTmpfs has davit's runDir on a tmpfs, where it is on every node (/run); the
// records stay on the disk.
func runOnTmpfs(t *testing.T, bed *testbed.Bed) {
	t.Helper()
	dir := bed.Path("run")
	if err := os.MkdirAll(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0711"); err != nil {
		t.Fatalf("mounting a tmpfs on %s: %v", dir, err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
}

func oneByOne(t *testing.T, n *node.Node, f *floor, w *watcher, netns string, say func(string, ...any)) {
	var floors, davits, deletes []time.Duration
	for i := range singles + 3 {
		a := f.one(i, netns)
		name := fmt.Sprintf("one-%d", i)
		began := time.Now()
		n.Apply(name+".yaml", manifest(name))
		wait(t, w.running, 1)
		b := time.Since(began)
		began = time.Now()
		n.Withdraw(name + ".yaml")
		wait(t, w.gone, 1)
		if i >= 3 { // the first ones warm up
			floors, davits, deletes = append(floors, a), append(davits, b), append(deletes, time.Since(began))
		}
	}
	for _, p := range []float64{.5, .9, .99} {
		a, b := percentile(floors, p), percentile(davits, p)
		say("start      p%02.0f   floor %8v   davit %8v   davit-floor %8v", p*100, a, b, b-a)
	}
	say("delete     p50   davit %8v (grace 0)", percentile(deletes, .5))
}

func atOnce(t *testing.T, n *node.Node, f *floor, w *watcher, netns string, say func(string, ...any)) {
	var floors, davits, deletes []time.Duration
	var floorBusy, davitBusy, agent, daemon time.Duration
	for range 3 {
		b0 := busy(t)
		took, remove := f.burst(burst, netns)
		floorBusy += busy(t) - b0
		floors = append(floors, took)
		remove()
		b0, a0, d0 := busy(t), cpu(t, n.Pid()), cpu(t, n.Bed.Containerd.Pid())
		began := time.Now()
		for i := range burst {
			name := fmt.Sprintf("burst-%d", i)
			n.Apply(name+".yaml", manifest(name))
		}
		wait(t, w.running, burst)
		davits = append(davits, time.Since(began))
		davitBusy += busy(t) - b0
		agent += cpu(t, n.Pid()) - a0
		daemon += cpu(t, n.Bed.Containerd.Pid()) - d0
		began = time.Now()
		for i := range burst {
			n.Withdraw(fmt.Sprintf("burst-%d.yaml", i))
		}
		wait(t, w.gone, burst)
		deletes = append(deletes, time.Since(began))
	}
	a, b := percentile(floors, .5), percentile(davits, .5)
	say("%d at once       floor %8v   davit %8v   throughput %.2f of the floor's", burst, a, b, a.Seconds()/b.Seconds())
	per := func(d time.Duration) time.Duration { return (d / 3 / burst).Round(10 * time.Microsecond) }
	say("  CPU per pod    floor %v in all; davit %v in all, of that davit itself %v, containerd %v", per(floorBusy), per(davitBusy), per(agent), per(daemon))
	say("%d deleted       davit %8v", burst, percentile(deletes, .5))
}

func idle(t *testing.T, n *node.Node, w *watcher, say func(string, ...any)) {
	n.Restart() // what a burst left in the heap is not idle
	w = watch(t, n)
	time.Sleep(5 * time.Second)
	rest(t, n, 0, say)
	for i := range many {
		name := fmt.Sprintf("idle-%d", i)
		n.Apply(name+".yaml", manifest(name))
	}
	wait(t, w.running, many)
	time.Sleep(10 * time.Second)
	rest(t, n, many, say)
	shims(t, n, "podsPerShim 1", say)
	took := time.Now()
	n.Restart()
	say("restart with %d pods: all taken up after %v", many, time.Since(took).Round(time.Millisecond))
	for i := range many {
		n.Withdraw(fmt.Sprintf("idle-%d.yaml", i))
	}
	testbed.Poll(t, 5*time.Minute, func() string {
		if pods, err := n.PodList(); err != nil || len(pods) > 0 {
			return "pods are still there"
		}
		return ""
	})
}

// rest prints what davit costs while nothing happens.
func rest(t *testing.T, n *node.Node, pods int, say func(string, ...any)) {
	before := cpu(t, n.Pid())
	time.Sleep(window)
	used := cpu(t, n.Pid()) - before
	say("idle with %3d pods  RSS %5.1f MiB (anonymous %5.1f MiB)   CPU %.2f %% of a core",
		pods, field(t, n.Pid(), "status", "VmRSS")/1024, field(t, n.Pid(), "status", "RssAnon")/1024, 100*used.Seconds()/window.Seconds())
}

// cpu returns the processor time that a process has used, at a resolution of
// 10 ms; threads that have ended count.
func cpu(t *testing.T, pid int) time.Duration {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+2:]))
	u, _ := strconv.Atoi(f[11])
	s, _ := strconv.Atoi(f[12])
	return time.Duration(u+s) * 10 * time.Millisecond
}

// busy returns the processor time that the whole machine has used.
func busy(t *testing.T) time.Duration {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(data), "\n")
	f := strings.Fields(line)[1:]
	var ticks int
	for i, v := range f[:8] {
		if n, _ := strconv.Atoi(v); i != 3 && i != 4 { // all but idle and iowait
			ticks += n
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// field returns a value in KiB from a file of /proc/PID.
func field(t *testing.T, pid int, file, name string) float64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			v, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return v
		}
	}
	return 0
}

// shims prints what shims and the log pump take.
func shims(t *testing.T, n *node.Node, what string, say func(string, ...any)) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	var count int
	var shimPSS, shimRSS, pumpPSS, pumpRSS float64
	for _, d := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(d))
		line, _ := os.ReadFile(filepath.Join(d, "cmdline"))
		args := strings.Split(string(line), "\x00")
		switch {
		case strings.HasSuffix(args[0], "containerd-shim-runc-v2") && slices.Contains(args, n.Bed.Address):
			count++
			shimPSS += field(t, pid, "smaps_rollup", "Pss") / 1024
			shimRSS += field(t, pid, "status", "VmRSS") / 1024
		case strings.Contains(args[0], "davit-helper") && strings.Contains(string(line), n.Bed.Dir):
			pumpPSS += field(t, pid, "smaps_rollup", "Pss") / 1024
			pumpRSS += field(t, pid, "status", "VmRSS") / 1024
		}
	}
	say("%s, %d pods: %d shims, %.0f MiB PSS (%.0f MiB RSS); log pump %.1f MiB PSS (%.1f MiB RSS)",
		what, many, count, shimPSS, shimRSS, pumpPSS, pumpRSS)
}

// TestBenchPodsPerShim shows what sharing shims saves.
func TestBenchPodsPerShim(t *testing.T) {
	bed := testbed.New(t, testbed.Options{})
	n := node.Start(t, bed, node.Options{Level: "info",
		Config: fmt.Sprintf("containerd: {address: %s, namespace: davit, podsPerShim: 25}\n", bed.Address),
	})
	w := watch(t, n)
	began := time.Now()
	for i := range many {
		name := fmt.Sprintf("idle-%d", i)
		n.Apply(name+".yaml", manifest(name))
	}
	wait(t, w.running, many)
	say := func(format string, args ...any) { fmt.Printf(format+"\n", args...) }
	say("podsPerShim 25: %d pods running after %v", many, time.Since(began).Round(time.Millisecond))
	shims(t, n, "podsPerShim 25", say)
	for i := range many {
		n.Withdraw(fmt.Sprintf("idle-%d.yaml", i))
	}
	wait(t, w.gone, many)
}

// metrics prints davit's own figures for the phases of a start.
func metrics(t *testing.T, n *node.Node, say func(string, ...any)) {
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", n.Socket())
	}}}
	resp, err := c.Get("http://davit/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for s := bufio.NewScanner(resp.Body); s.Scan(); {
		if strings.HasPrefix(s.Text(), "davit_pod_start_duration_seconds_sum") || strings.HasPrefix(s.Text(), "davit_pod_start_duration_seconds_count") {
			say("  %s", s.Text())
		}
	}
}
