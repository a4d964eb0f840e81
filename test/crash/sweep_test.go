//go:build long

package crash

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/test/node"
	"github.com/davit-agent/davit/test/testbed"
)

var (
	seed  = flag.Uint64("seed", uint64(time.Now().UnixNano()), "of the random moments")
	kills = flag.Int("kills", number(os.Getenv("KILLS"), 50), "how often each victim is killed; KILLS in the environment")
)

func number(s string, def int) int {
	if n, err := strconv.Atoi(s); err == nil {
		return n
	}
	return def
}

const patience = 2 * time.Minute

// ops are all kinds of steps; a sweep of the agent must have hit each.
var ops = []string{"setup", "create", "start", "signal", "remove", "teardown", "forget"}

// sweep is one run.
type sweep struct {
	t    *testing.T
	n    *node.Node
	rng  *rand.Rand
	want map[string]string // pods that are desired: name -> manifest
	next int
	runs string         // directory: each start of a container appends a line to a file of its own
	hit  map[string]int // step that was under way -> kills
}

func newSweep(t *testing.T, containerd string) *sweep {
	t.Logf("seed %d (go test -tags long ./test/crash -run %s -args -seed %d)", *seed, t.Name(), *seed)
	bed := testbed.New(t, testbed.Options{Containerd: containerd})
	n := node.Start(t, bed, node.Options{})
	s := &sweep{t: t, n: n, rng: rand.New(rand.NewPCG(*seed, 1)), want: map[string]string{}, runs: bed.Path("runs"), hit: map[string]int{}}
	if err := os.Mkdir(s.runs, 0o777); err != nil {
		t.Fatal(err)
	}
	return s
}

// manifest is a pod whose containers note each of their starts in s.runs. kind:
// stays (never ends), ends (Never, ends by itself), stubborn (ignores SIGTERM),
// stages (an init container, a sidecar and a main container).
func (s *sweep) manifest(name, kind string) string {
	note := func(c string) string { return fmt.Sprintf("echo x >>/runs/%s.%s; ", name, c) }
	container := func(c, script, extra string) string {
		return fmt.Sprintf("  - {name: %s, image: %q, command: [/bin/busybox, sh, -c, %q], volumeMounts: [{name: runs, mountPath: /runs}]%s}\n",
			c, node.Image, note(c)+script, extra)
	}
	policy, inits, mains := "Always", "", container("main", "exec /bin/podtool sleep", "")
	switch kind {
	case "ends":
		policy, mains = "Never", container("main", "sleep 0.3; exit 7", "")
	case "stubborn":
		mains = container("main", "exec /bin/podtool ignore-term", "")
	case "stages":
		inits = "  initContainers:\n" + container("first", "exit 0", "") + container("side", "exec /bin/podtool sleep", ", restartPolicy: Always")
		mains += container("second", "exec /bin/podtool sleep", "")
	}
	return fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  restartPolicy: %s
  terminationGracePeriodSeconds: 1
  volumes: [{name: runs, hostPath: {path: %s}}]
%s  containers:
%s`, name, policy, s.runs, inits, mains)
}

// churn makes one random change to the desired set.
func (s *sweep) churn() {
	names := slices.Sorted(func(yield func(string) bool) {
		for n := range s.want {
			if !yield(n) {
				return
			}
		}
	})
	if len(names) > 0 && (len(names) >= 8 || s.rng.IntN(2) == 0) {
		name := names[s.rng.IntN(len(names))]
		delete(s.want, name)
		s.n.Withdraw(name + ".yaml")
		return
	}
	kinds := []string{"stays", "ends", "stubborn", "stages"}
	kind := kinds[s.rng.IntN(len(kinds))]
	name := fmt.Sprintf("%s-%d", kind, s.next)
	s.next++
	s.want[name] = s.manifest(name, kind)
	s.n.Apply(name+".yaml", s.want[name])
}

// steady starts the pods that must live through everything and returns what
// must not change of them.
func (s *sweep) steady() map[string]string {
	ids := map[string]string{}
	for i := range 3 {
		name := fmt.Sprintf("steady-%d", i)
		s.n.Apply(name+".yaml", s.manifest(name, []string{"stays", "stages", "stubborn"}[i]))
		ids[name] = identity(s.n.WaitPod(name, patience, node.Ready))
	}
	return ids
}

// identity is what a restart would change.
func identity(p *v1.Pod) string {
	if p == nil {
		return "gone"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %v", p.UID, p.Status.PodIPs)
	for _, c := range append(slices.Clone(p.Status.InitContainerStatuses), p.Status.ContainerStatuses...) {
		fmt.Fprintf(&b, " %s:%d:%s", c.Name, c.RestartCount, c.ContainerID)
	}
	return b.String()
}

// settled waits until exactly the desired set is there, as it should be.
func (s *sweep) settled(steady map[string]string) {
	s.t.Helper()
	testbed.Poll(s.t, 5*time.Minute, func() string {
		pods, err := s.n.PodList()
		if err != nil {
			return err.Error()
		}
		for name := range s.want {
			p := find(pods, name)
			ok := node.Ready
			if strings.HasPrefix(name, "ends") {
				ok = node.Phase(v1.PodFailed)
			}
			if why := ok(p); why != "" {
				return name + ": " + why
			}
		}
		if extra := len(pods) - len(s.want) - len(steady); extra != 0 {
			return fmt.Sprintf("%d pods too many", extra)
		}
		return ""
	})
	for name, want := range steady {
		if got := identity(s.n.Pod(name)); got != want {
			s.t.Errorf("%s was restarted:\n  %s\n  %s", name, want, got)
		}
	}
}

func find(pods []v1.Pod, name string) *v1.Pod {
	for i := range pods {
		if pods[i].Name == name+"-"+node.Name {
			return &pods[i]
		}
	}
	return nil
}

// ranOnce checks that no container was started twice: nothing here ever fails
// but by the sweep. lost are the ends that containerd's own windows explain.
func (s *sweep) ranOnce() {
	s.t.Helper()
	files, _ := filepath.Glob(filepath.Join(s.runs, "*"))
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			s.t.Fatal(err)
		}
		if n := bytes.Count(data, []byte("\n")); n > 1 {
			s.t.Errorf("container %s was started %d times", filepath.Base(f), n)
		}
	}
}

// end withdraws everything and looks for leaks.
func (s *sweep) end(steady map[string]string) {
	s.t.Helper()
	for name := range s.want {
		s.n.Withdraw(name + ".yaml")
	}
	for name := range steady {
		s.n.Withdraw(name + ".yaml")
	}
	testbed.Poll(s.t, 5*time.Minute, func() string {
		pods, err := s.n.PodList()
		if err != nil {
			return err.Error()
		}
		if len(pods) > 0 {
			return "still there: " + pods[0].Name + " " + node.Brief(&pods[0])
		}
		return ""
	})
	for _, dir := range []string{filepath.Join(s.n.StateDir, "pods"), s.n.LogDir, filepath.Join(s.n.RunDir, "ns"), filepath.Join(s.n.RunDir, "shm")} {
		entries, err := os.ReadDir(dir)
		if err != nil && !os.IsNotExist(err) {
			s.t.Error(err)
		}
		for _, e := range entries {
			s.t.Errorf("leaked: %s", filepath.Join(dir, e.Name()))
		}
	}
	if err := s.n.Stop(); err != nil {
		s.t.Errorf("davit ended with %v", err)
	}
	if out, err := s.n.Bed.Command(s.n.Binary, "cleanup", "--config", s.n.Config).CombinedOutput(); err != nil {
		s.t.Errorf("davit cleanup: %v\n%s", err, out)
	}
	for _, item := range s.n.Bed.LeakCheck() {
		s.t.Errorf("leaked: %s", item)
	}
}

var stepLine = regexp.MustCompile(`msg="?(step begins|step done|step failed)"?.* step=(\w+)`)

// underWay returns the steps that had begun and not ended in what davit logged
// from offset on.
func (s *sweep) underWay(offset int64) []string {
	f, err := os.Open(s.n.Log)
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		s.t.Fatal(err)
	}
	data, _ := io.ReadAll(f)
	open := map[string]int{}
	for line := range strings.Lines(string(data)) {
		m := stepLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		if m[1] == "step begins" {
			open[m[2]]++
		} else {
			open[m[2]]--
		}
	}
	var out []string
	for op, n := range open {
		if n > 0 {
			out = append(out, op)
		}
	}
	slices.Sort(out)
	return out
}

func (s *sweep) logSize() int64 {
	info, err := os.Stat(s.n.Log)
	if err != nil {
		s.t.Fatal(err)
	}
	return info.Size()
}

// moment waits for a random time, or until a step of the kind that was hit
// least is under way.
func (s *sweep) moment(i int, offset int64) {
	if i%2 == 0 {
		time.Sleep(time.Duration(s.rng.IntN(800)) * time.Millisecond)
		return
	}
	least := slices.MinFunc(ops, func(a, b string) int { return s.hit[a] - s.hit[b] })
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(500 * time.Microsecond) {
		if slices.Contains(s.underWay(offset), least) {
			return
		}
	}
}

func TestLongKillAgent(t *testing.T) {
	s := newSweep(t, "")
	steady := s.steady()
	for i := range *kills {
		offset := s.logSize()
		for range 1 + s.rng.IntN(3) {
			s.churn()
		}
		s.moment(i, offset)
		s.n.Kill()
		for _, op := range s.underWay(offset) {
			s.hit[op]++
		}
		s.n.Start()
		s.n.Await()
	}
	s.everyKind()
	s.settled(steady)
	s.ranOnce()
	s.end(steady)
}

// everyKind tells which kinds of steps the kills hit; enough of them hit all.
func (s *sweep) everyKind() {
	s.t.Helper()
	s.t.Logf("kills during steps: %v", s.hit)
	for _, op := range ops {
		if s.hit[op] == 0 && *kills >= 50 {
			s.t.Errorf("no kill hit a step %q", op)
		}
	}
}

func TestLongKillContainerd(t *testing.T) {
	t.Run("containerd of Debian", func(t *testing.T) { killContainerd(t, "", *kills) })
	t.Run("containerd 2", func(t *testing.T) { killContainerd(t, testbed.BuildContainerd2(t), *kills) })
}

func killContainerd(t *testing.T, bin string, kills int) {
	s := newSweep(t, bin)
	steady := s.steady()
	for i := range kills {
		offset := s.logSize()
		for range 1 + s.rng.IntN(3) {
			s.churn()
		}
		s.moment(i, offset)
		for _, op := range s.underWay(offset) { // afterwards it has failed at once
			s.hit[op]++
		}
		s.n.Bed.Containerd.Kill()
		time.Sleep(time.Duration(s.rng.IntN(200)) * time.Millisecond)
		s.n.Bed.Containerd.Start()
	}
	s.everyKind()
	s.settled(steady)
	s.end(steady)
}

func TestLongKillPump(t *testing.T) {
	s := newSweep(t, "")
	steady := s.steady()
	var pid int
	for i := range *kills {
		killed := pid
		testbed.Poll(t, time.Minute, func() string { // looking takes longer than a step
			if pid = s.pump(); pid == 0 || pid == killed {
				return "the log pump is not back"
			}
			return ""
		})
		pump, err := os.FindProcess(pid)
		if err != nil {
			t.Fatal(err)
		}
		offset := s.logSize()
		for range 1 + s.rng.IntN(3) {
			s.churn()
		}
		s.moment(i, offset)
		for _, op := range s.underWay(offset) {
			s.hit[op]++
		}
		if err := pump.Kill(); err != nil {
			t.Errorf("kill %d: the log pump ended by itself: %v", i, err)
		}
	}
	s.everyKind()
	s.settled(steady)
	s.ranOnce()
	s.end(steady)
}

// pump returns the pid of the node's log pump, 0 if it does not run.
func (s *sweep) pump() int {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		line, _ := os.ReadFile(filepath.Join(d, "cmdline"))
		args := strings.Split(string(line), "\x00")
		if strings.Contains(args[0], "davit-helper") && slices.Contains(args, "logs") && strings.Contains(string(line), s.n.Bed.Dir) {
			pid, _ := strconv.Atoi(filepath.Base(d))
			return pid
		}
	}
	return 0
}

// TestKillShim: a shim that dies takes its containers along; the pod is
// restarted, once, and others do not notice.
func TestLongKillShim(t *testing.T) {
	s := newSweep(t, "")
	steady := s.steady()
	for range 10 {
		s.churn()
	}
	s.settled(steady)
	s.n.Apply("victim.yaml", s.manifest("victim", "stays"))
	victim := s.n.WaitPod("victim", patience, node.Ready)
	out, err := exec.Command("sh", "-c", "grep -l "+string(victim.UID)+" /proc/[0-9]*/cgroup").Output()
	if err != nil {
		t.Fatal(err)
	}
	pid := strings.Split(string(out), "/")[2]
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		t.Fatal(err)
	}
	ppid, _ := strconv.Atoi(regexp.MustCompile(`PPid:\s+(\d+)`).FindStringSubmatch(string(status))[1])
	p, _ := os.FindProcess(ppid)
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	s.n.WaitPod("victim", patience, func(p *v1.Pod) string {
		if why := node.Ready(p); why != "" {
			return why
		}
		if p.Status.ContainerStatuses[0].RestartCount == 0 {
			return "not restarted"
		}
		return ""
	})
	s.settledBeside(steady, "victim")
	s.want["victim"] = ""
	s.end(steady)
}

func (s *sweep) settledBeside(steady map[string]string, other string) {
	s.want[other] = ""
	s.settled(steady)
	delete(s.want, other)
}
