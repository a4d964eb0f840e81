package pods

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	imagespec "github.com/opencontainers/image-spec/specs-go/v1"
	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/lifecycle"
	"github.com/davit-agent/davit/agent/pods/etc"
	"github.com/davit-agent/davit/agent/pods/record"
	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/fake"
)

const toolImage = "example.com/tool:1"

var toolConfig = imagespec.ImageConfig{Entrypoint: []string{"podtool"}}

// world is a node with everything that Pods drives, as strict models: what no
// caller may do is a complaint. It outlives the processes that work on it.
type world struct {
	node *fake.Node
	cfg  Config
	boot int
	pool int // addresses that can be given out

	mu         sync.Mutex
	complaints []string
	faults     []*fault
	refs       map[string]runtime.ContainerRef // by ID: every container that was made
	forgotten  map[string]bool                 // UIDs whose record went, or was about to: a new life may follow
	attached   map[string][]netip.Addr         // by UID
	mounted    map[string]bool                 // UIDs with volumes
	cgroups    map[string]bool                 // UIDs
	milli      int64                           // of the burstable pods
	reported   map[string]*v1.Pod              // by UID
	blocked    map[string]bool                 // UIDs whose records could not be written at some time
	wanted     map[string]Desired              // by UID
	synced     bool
	configMaps map[string]*v1.ConfigMap // by namespace/name
	objectsGen uint64
	overLimit  map[string]string // by UID
	setups     map[string]int    // of volumes, by UID
	registry   registry
	log        strings.Builder

	a *process
}

// process is davit's, from its start to its end.
type process struct {
	w       *world
	p       *Pods
	rt      *fake.Runtime
	changes chan string
	cancel  context.CancelFunc
	done    chan error
	dead    atomic.Bool // nothing that it does takes effect any more
	doctors *doctors
}

// fault hits one call of a dependency.
type fault struct {
	op    string // "*" is any
	nth   int    // which call from now on; 0 is every
	err   error
	after bool          // it takes effect all the same
	kill  bool          // the process dies in it
	hang  bool          // it takes until its context ends
	wait  chan struct{} // it takes until this is closed
}

func newWorld(t testing.TB) *world {
	dir := t.TempDir()
	w := &world{
		pool: 8, synced: true,
		refs: map[string]runtime.ContainerRef{}, forgotten: map[string]bool{}, attached: map[string][]netip.Addr{},
		setups: map[string]int{}, mounted: map[string]bool{}, cgroups: map[string]bool{}, reported: map[string]*v1.Pod{},
		blocked: map[string]bool{}, wanted: map[string]Desired{},
		cfg: Config{
			StateDir: filepath.Join(dir, "state"), LogDir: filepath.Join(dir, "log"), NodeName: "n1",
			HostIPs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, BootID: "boot0", MaxPods: 100,
			DNS: etc.DNS{ResolvConf: filepath.Join(dir, "resolv.conf")},
		},
	}
	w.node = fake.New(w)
	w.node.Sandboxes() // from the beginning: no container without one
	w.node.AddImage(&runtime.Image{Name: toolImage, ID: "sha256:1", Config: toolConfig})
	return w
}

// bubble runs f in a bubble of fake time and fails t for every complaint.
func bubble(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer func() {
			w.stop()
			if w.finish(t); t.Failed() {
				t.Logf("%s\n%s", w.picture(), w.log.String())
			}
		}()
		f(t, w)
	})
}

func (w *world) finish(t testing.TB) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.complaints {
		t.Error(c)
	}
}

// Helper and Errorf are the fake node's fake.TB.
func (w *world) Helper() {}

func (w *world) Errorf(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	// A manifest that comes back has the UID that it had, so its pod begins
	// with attempt 0 again; within one life an ID is never used twice.
	if strings.Contains(format, "ran before and is made again") {
		uid, _, _ := strings.Cut(fmt.Sprint(args[0]), "/")
		if w.forgotten[uid] {
			return
		}
	}
	w.complaints = append(w.complaints, fmt.Sprintf(format, args...))
}

func (w *world) complainLocked(format string, args ...any) {
	w.complaints = append(w.complaints, fmt.Sprintf("impossible: "+format, args...))
}

// Write takes the log.
func (w *world) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(b)
}

// start starts a process; there must be none.
func (w *world) start(t testing.TB) {
	t.Helper()
	a := &process{w: w, rt: w.node.Runtime(), changes: make(chan string, 64), done: make(chan error, 1)}
	a.doctors = newDoctors(a)
	cfg := w.cfg
	if cfg.Reject == nil {
		cfg.Reject = func(*v1.Pod) (string, string) { return "", "" }
	}
	cfg.BootID = fmt.Sprintf("boot%d", w.boot)
	p, err := New(cfg, Deps{
		Probes: probes{a.doctors}, Hooks: hooks{a.doctors},
		Source: source{a}, Objects: objects{a}, Images: &images{a: a, pull: map[string]map[string]string{}}, Runtime: containers{a.rt, a}, Watcher: a.rt, Sandboxes: sandboxes{a},
		Logs: streams{w.node.Logs(), a}, Network: network{a}, Volumes: volumes{a}, Cgroups: cgroups{a},
		Report: report{a}, Metrics: noMetrics{}, Now: time.Now,
		Logger: slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	a.p, a.cancel = p, cancel
	w.mu.Lock()
	w.a, w.reported = a, map[string]*v1.Pod{}
	w.mu.Unlock()
	go func() { a.done <- p.Run(ctx) }()
}

// stop ends the process, if there is one, as its context's end does.
func (w *world) stop() {
	a := w.a
	if a == nil {
		return
	}
	a.cancel()
	if err := <-a.done; err != nil {
		w.Errorf("Run returned %v", err)
	}
	a.rt.Close()
	w.a = nil
}

// restart is kill -9 and a new start.
func (w *world) restart(t testing.TB) {
	t.Helper()
	w.a.dead.Store(true)
	w.stop()
	w.start(t)
}

// reboot restarts the machine.
func (w *world) reboot(t testing.TB) {
	t.Helper()
	w.a.dead.Store(true)
	w.stop()
	w.node.Reboot()
	w.mu.Lock()
	w.boot++
	clear(w.attached)
	clear(w.mounted)
	clear(w.cgroups)
	w.milli = 0
	w.mu.Unlock()
	w.start(t)
}

func (w *world) fail(f fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = append(w.faults, &f)
}

func (w *world) heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = nil
}

func (w *world) dueLocked(op string) (due *fault) {
	w.faults = slices.DeleteFunc(w.faults, func(f *fault) bool {
		if f.op != op && f.op != "*" {
			return false
		}
		if f.nth == 0 {
			due = f
			return false
		}
		if f.nth--; f.nth > 0 || due != nil {
			f.nth = max(f.nth, 1)
			return false
		}
		due = f
		return true
	})
	return due
}

var errDead = errors.New("the process is dead")

// call is every call of a dependency.
func (a *process) call(ctx context.Context, op string, do func() error) error {
	if a.dead.Load() {
		return errDead
	}
	a.w.mu.Lock()
	f := a.w.dueLocked(op)
	a.w.mu.Unlock()
	if f == nil {
		return do()
	}
	if f.hang {
		<-ctx.Done()
		return ctx.Err()
	}
	if f.wait != nil {
		<-f.wait
		return do()
	}
	if f.after {
		_ = do()
	}
	if f.kill {
		a.dead.Store(true)
		a.cancel()
		return errDead
	}
	return f.err
}

// want delivers a pod in place of what has its name.
func (w *world) want(pods ...*v1.Pod) {
	for _, pod := range pods {
		w.mu.Lock()
		for uid, d := range w.wanted {
			if d.Pod.Name == pod.Name {
				delete(w.wanted, uid)
				defer w.tell(uid)
			}
		}
		w.wanted[string(pod.UID)] = Desired{Pod: pod, Origin: "/manifests/" + pod.Name + ".yaml"}
		w.mu.Unlock()
		w.tell(string(pod.UID))
	}
}

func (w *world) unwant(uids ...string) {
	for _, uid := range uids {
		w.mu.Lock()
		delete(w.wanted, uid)
		w.mu.Unlock()
		w.tell(uid)
	}
}

func (w *world) unwantAll() {
	w.mu.Lock()
	clear(w.wanted)
	w.mu.Unlock()
	w.tell("")
}

func (w *world) sync(synced bool) {
	w.mu.Lock()
	w.synced = synced
	w.mu.Unlock()
	w.tell("")
}

func (w *world) tell(uid string) {
	if w.a == nil {
		return
	}
	if len(w.a.changes) == cap(w.a.changes)-1 {
		uid = ""
	}
	select {
	case w.a.changes <- uid:
	default:
	}
}

func (w *world) recordDir(uid string) string { return filepath.Join(w.cfg.StateDir, "pods", uid) }

func (w *world) recorded(uid string) bool {
	_, err := os.Stat(filepath.Join(w.recordDir(uid), record.SpecFile))
	return err == nil
}

// facts returns what a crash would leave of a pod's facts.
func (w *world) facts(uid string) (f lifecycle.Facts) {
	if data, err := os.ReadFile(filepath.Join(w.recordDir(uid), record.FactsFile)); err == nil {
		if err := json.Unmarshal(data, &f); err != nil {
			w.Errorf("facts of %s: %v", uid, err)
		}
	}
	return f
}

// block has every write of a pod's record fail; a deletion needs none.
func (w *world) block(uid string) {
	w.mu.Lock()
	w.blocked[uid] = true
	w.mu.Unlock()
	synctest.Wait() // no write is under way
	for _, f := range []string{record.SpecFile, record.FactsFile} {
		if err := os.MkdirAll(filepath.Join(w.recordDir(uid), "."+f+".tmp"), 0o700); err != nil {
			w.Errorf("%v", err)
		}
	}
}

func (w *world) unblock(uid string) {
	for _, f := range []string{record.SpecFile, record.FactsFile} {
		_ = os.Remove(filepath.Join(w.recordDir(uid), "."+f+".tmp"))
	}
	_ = os.Remove(w.recordDir(uid)) // if block made it
}

// container is one on the node, as it is drawn there.
type container struct{ id, uid, name, state string }

func (c container) running() bool { return strings.HasPrefix(c.state, "running") }

// containers are those of a pod, or all for "".
func (w *world) containers(uid string) (out []container) {
	for line := range strings.Lines(w.node.String()) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "container ")
		if !ok {
			continue
		}
		ref, state, _ := strings.Cut(rest, " ")
		parts := strings.Split(ref, "/")
		var attempt uint32
		_, _ = fmt.Sscan(parts[2], &attempt)
		if uid == "" || parts[0] == uid {
			out = append(out, container{runtime.ContainerID(parts[0], parts[1], attempt), parts[0], parts[1], state})
		}
	}
	return out
}

// running returns the IDs of what runs of a pod, or of all.
func (w *world) running(uid string) []string {
	var ids []string
	for _, c := range w.containers(uid) {
		if c.running() {
			ids = append(ids, c.id)
		}
	}
	slices.Sort(ids)
	return ids
}

// status is what is reported of a pod; nil if nothing is.
func (w *world) status(uid string) *v1.PodStatus {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.reported[uid]; p != nil {
		return &p.Status
	}
	return nil
}

func (w *world) phase(uid string) v1.PodPhase {
	if s := w.status(uid); s != nil {
		return s.Phase
	}
	return ""
}

func (w *world) picture() string {
	left := strings.Join(w.leftOf(""), "\n")
	w.mu.Lock()
	defer w.mu.Unlock()
	for uid, p := range w.reported {
		b, _ := json.Marshal(p.Status)
		left += fmt.Sprintf("\nreported %s: %s", uid, b)
	}
	return left
}

// await waits until ok, for an hour at most.
func (w *world) await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for range 3600 {
		synctest.Wait()
		if ok() {
			return
		}
		time.Sleep(time.Second)
	}
	t.Fatalf("%s: not within an hour", what)
}

func (w *world) awaitPhase(t testing.TB, uid string, phase v1.PodPhase) {
	t.Helper()
	w.await(t, uid+" is "+string(phase), func() bool { return w.phase(uid) == phase })
}

func (w *world) awaitGone(t testing.TB, uid string) {
	t.Helper()
	w.await(t, uid+" is gone", func() bool { return len(w.leftOf(uid)) == 0 && w.status(uid) == nil })
}
