package probes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/davit-agent/davit/agent/lifecycle"
)

// ward is a prober with all that is around it; commands are answered by exec.
type ward struct {
	*Prober
	exec func(ctx context.Context, id string, command []string, limit int) (int, []byte, error)
	dial func(ctx context.Context, uid string, addr netip.AddrPort) (net.Conn, error)

	mu     sync.Mutex
	wakes  []string
	events []string
	counts map[string]int
	log    bytes.Buffer
}

func (w *ward) Exec(ctx context.Context, id string, command []string, limit int) (int, []byte, error) {
	return w.exec(ctx, id, command, limit)
}

func (w *ward) Dial(ctx context.Context, uid string, addr netip.AddrPort) (net.Conn, error) {
	return w.dial(ctx, uid, addr)
}

func (w *ward) Event(pod *v1.Pod, container, eventType, reason, message string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, fmt.Sprintf("%s/%s %s %s %s", pod.Name, container, eventType, reason, message))
}

func (w *ward) Probed(kind, result string, _ time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[kind+" "+result]++
}

// told returns the events since the last call.
func (w *ward) told() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer func() { w.events = nil }()
	return w.events
}

func (w *ward) woken() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer func() { w.wakes = nil }()
	return len(w.wakes)
}

// Write keeps what is logged.
func (w *ward) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(p)
}

// newWard runs a prober until the test ends.
func newWard(t testing.TB) *ward {
	w := &ward{counts: map[string]int{}}
	w.exec = func(context.Context, string, []string, int) (int, []byte, error) {
		t.Error("a command was run")
		return 0, nil, nil
	}
	w.dial = func(ctx context.Context, uid string, addr netip.AddrPort) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", addr.String())
	}
	w.Prober = New(Config{
		Exec: w, Dial: w, Events: w, Metrics: w, Now: time.Now,
		Logger: slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Wake: func(uid string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.wakes = append(w.wakes, uid)
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return w
}

var ip = netip.MustParseAddr("10.1.2.3")

func podOf(containers ...v1.Container) *v1.Pod {
	return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "u"}, Spec: v1.PodSpec{Containers: containers}}
}

func execProbe(text string, command ...string) *v1.Probe {
	p := spec(text)
	p.Exec = &v1.ExecAction{Command: command}
	return p
}

func one(p lifecycle.Probing) []lifecycle.Probing { return []lifecycle.Probing{p} }

// begin is a new attempt of container c.
func begin(id string) lifecycle.Probing {
	return lifecycle.Probing{Container: "c", ID: id, StartedAt: time.Now()}
}

// after sleeps and returns the health of container c of pod u.
func (w *ward) after(d time.Duration) string {
	time.Sleep(d)
	synctest.Wait()
	return show(w.Health("u")["c"])
}

// script answers commands in turn, the last for ever, and notes when they came.
type script struct {
	mu      sync.Mutex
	answers string
	times   []time.Duration
	began   time.Time
}

func (s *script) exec(context.Context, string, []string, int) (int, []byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.times = append(s.times, time.Since(s.began))
	a := s.answers[0]
	if len(s.answers) > 1 {
		s.answers = s.answers[1:]
	}
	switch a {
	case '+':
		return 0, nil, nil
	case '-':
		return 1, []byte("sick"), nil
	}
	return 0, nil, errors.New("no such file")
}

func TestRhythm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWard(t)
		s := &script{answers: "-+---+", began: time.Now()}
		w.exec = s.exec
		pod := podOf(v1.Container{Name: "c", ReadinessProbe: execProbe("5/10/1/2", "x")})
		first := begin("a")
		w.Set(pod, ip, one(first))
		for _, step := range []struct {
			at   int // seconds
			want string
		}{{4, "S"}, {6, "S"}, {14, "S"}, {16, "SR"}, {26, "SR"}, {34, "SR"}, {36, "S"}, {54, "S"}, {56, "SR"}} {
			if got := w.after(time.Until(s.began.Add(time.Duration(step.at) * time.Second))); got != step.want {
				t.Errorf("after %d s: %q, want %q", step.at, got, step.want)
			}
			// Equal desires change nothing, and do not disturb the rhythm.
			w.Set(pod, ip, one(first))
			turned := w.pods["u"].attempts["c"].turned
			w.Set(pod, ip, one(first))
			if w.pods["u"].attempts["c"].turned != turned {
				t.Error("an equal desire is work")
			}
			w.Set(pod.DeepCopy(), ip, one(lifecycle.Probing{Container: "c", ID: "a", StartedAt: first.StartedAt, Started: true, Ready: step.want == "SR"}))
		}
		if want := []time.Duration{5e9, 15e9, 25e9, 35e9, 45e9, 55e9}; !slices.Equal(s.times, want) {
			t.Errorf("probed at %v, want %v", s.times, want)
		}
		if n := w.woken(); n != 3 {
			t.Errorf("woken %d times, want 3", n)
		}
		if got, want := w.told(), slices.Repeat([]string{"p/c Warning Unhealthy Readiness probe failed: sick"}, 4); !slices.Equal(got, want) {
			t.Errorf("events %q", got)
		}
		if got := fmt.Sprint(w.counts); got != "map[Readiness failed:4 Readiness successful:2]" {
			t.Errorf("counted %s", got)
		}
		if strings.Contains(w.log.String(), "sick") {
			t.Errorf("what the container wrote is in the log: %s", w.log.String())
		}
	})
}

func TestStartupThenTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWard(t)
		scripts := map[string]*script{}
		for name, answers := range map[string]string{"s": "--+", "l": "+++-", "r": "+"} {
			scripts[name] = &script{answers: answers, began: time.Now()}
		}
		w.exec = func(ctx context.Context, id string, command []string, limit int) (int, []byte, error) {
			if id != "a" || limit != 10240 {
				t.Errorf("command in %q, limit %d", id, limit)
			}
			return scripts[command[0]].exec(ctx, id, command, limit)
		}
		pod := podOf(v1.Container{Name: "c", StartupProbe: execProbe("0/3/1/5", "s"),
			LivenessProbe: execProbe("0/10/1/2", "l"), ReadinessProbe: execProbe("0/4/1/1", "r")})
		w.Set(pod, ip, one(begin("a")))
		if got := w.after(5 * time.Second); got != "" {
			t.Errorf("before it has started: %q", got)
		}
		if got := w.after(1 * time.Second); got != "SR" {
			t.Errorf("once started: %q", got)
		}
		if got := w.after(40 * time.Second); got != "SRFl" {
			t.Errorf("in the end: %q", got)
		}
		want := lifecycle.Unhealthy{Probe: "liveness", Message: "Liveness probe failed: sick", At: time.Now()}
		if f := w.Health("u")["c"].Failed; f == nil || f.Probe != want.Probe || f.Message != want.Message || !f.At.Equal(want.At) {
			t.Errorf("failed: %+v, want %+v", f, want)
		}
		time.Sleep(100 * time.Second)
		synctest.Wait()
		for name, want := range map[string][]time.Duration{"s": {0, 3e9, 6e9}, "l": {6e9, 16e9, 26e9, 36e9, 46e9}} {
			if got := scripts[name].times; !slices.Equal(got, want) {
				t.Errorf("%s was probed at %v, want %v", name, got, want)
			}
		}
		if n := len(scripts["r"].times); n != 36 { // 6, 10, ..., 146
			t.Errorf("readiness was probed %d times", n)
		}
		// The next attempt begins anew.
		scripts["s"].answers, scripts["l"].answers = "+", "+"
		w.exec = func(_ context.Context, id string, _ []string, _ int) (int, []byte, error) {
			if id != "b" {
				t.Errorf("the old attempt is probed")
			}
			return 0, nil, nil
		}
		w.Set(pod, ip, one(begin("b")))
		if h := w.Health("u")["c"]; h.ID != "b" || show(h) != "" {
			t.Errorf("the new attempt has %+v", h)
		}
		if got := w.after(time.Second); got != "SR" {
			t.Errorf("the new attempt: %q", got)
		}
	})
}

// Stopping leaves readiness alone; an answer that is under way then counts for
// nothing.
func TestStopping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWard(t)
		var mu sync.Mutex
		asked := map[string]int{}
		w.exec = func(ctx context.Context, id string, command []string, limit int) (int, []byte, error) {
			mu.Lock()
			asked[command[0]]++
			n := asked["r"]
			mu.Unlock()
			if command[0] == "l" {
				time.Sleep(2 * time.Second)
				return 1, nil, nil
			}
			return n / 4, nil, nil
		}
		live := execProbe("3/10/1/1", "l")
		live.TimeoutSeconds = 5
		pod := podOf(v1.Container{Name: "c", LivenessProbe: live, ReadinessProbe: execProbe("0/2/1/1", "r")},
			v1.Container{Name: "d", LivenessProbe: execProbe("30/10/1/1", "never")})
		p := begin("a")
		set := func() {
			other := p
			other.Container, other.ID = "d", "b"
			w.Set(pod, ip, []lifecycle.Probing{p, other})
		}
		set()
		if got := w.after(4 * time.Second); got != "SR" {
			t.Errorf("before: %q", got)
		}
		p.Stopping = true
		set()
		if got := w.after(1500 * time.Millisecond); got != "SR" {
			t.Errorf("while stopping: %q", got)
		}
		if got := w.after(60 * time.Second); got != "S" {
			t.Errorf("unready while stopping: %q", got)
		}
		mu.Lock()
		defer mu.Unlock()
		if asked["l"] != 1 || asked["r"] < 30 || asked["never"] != 0 {
			t.Errorf("asked %v", asked)
		}
		w.Set(pod, ip, nil)
		if got := w.Health("u"); len(got) != 0 {
			t.Errorf("after it ended: %v", got)
		}
	})
}

// An agent that begins anew goes on from what is recorded, and spreads what it
// has to probe over the period.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWard(t)
		began := time.Now()
		var mu sync.Mutex
		first := map[string]time.Duration{}
		w.exec = func(_ context.Context, id string, command []string, _ int) (int, []byte, error) {
			if command[0] == "s" {
				t.Error("a second startup phase")
			}
			mu.Lock()
			defer mu.Unlock()
			if _, ok := first[id+command[0]]; !ok {
				first[id+command[0]] = time.Since(began)
			}
			return 0, nil, nil
		}
		const pods = 300
		for i := range pods {
			pod := podOf(v1.Container{Name: "c", StartupProbe: execProbe("0/1/1/1", "s"),
				LivenessProbe: execProbe("7/10/1/1", "l"), ReadinessProbe: execProbe("0/10/1/1", "r")})
			pod.UID = types.UID(fmt.Sprint("u", i))
			w.Set(pod, ip, one(lifecycle.Probing{Container: "c", ID: fmt.Sprint(i), StartedAt: began.Add(-time.Hour), Started: true, Ready: i%2 == 0}))
			if got, want := show(w.Health(string(pod.UID))["c"]), []string{"SR", "S"}[i%2]; got != want {
				t.Fatalf("pod %d begins with %q, want %q", i, got, want)
			}
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if len(first) != 2*pods {
			t.Errorf("%d probes in the first period, want %d", len(first), 2*pods)
		}
		perSecond := [11]int{}
		for _, d := range first {
			perSecond[d/time.Second]++
		}
		for s, n := range perSecond[:10] {
			if n < 2*pods/10/4 || n > 2*pods/10*3 {
				t.Errorf("%d probes in second %d: %v", n, s, perSecond)
			}
		}
		if n := w.woken(); n != pods/2 {
			t.Errorf("woken %d times, want %d: who was ready stays so", n, pods/2)
		}
	})
}

// Nothing of a pod goes on after Forget, nothing at all after Run, not even
// what is under way.
func TestLeaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWard(t)
		var mu sync.Mutex
		under := map[string]bool{}
		w.exec = func(ctx context.Context, id string, _ []string, _ int) (int, []byte, error) {
			mu.Lock()
			under[id] = true
			mu.Unlock()
			<-ctx.Done()
			mu.Lock()
			delete(under, id)
			mu.Unlock()
			return 1, nil, ctx.Err()
		}
		slow := execProbe("0/10/1/1", "l")
		slow.TimeoutSeconds = 1000
		one := func(uid, id string) {
			pod := podOf(v1.Container{Name: "c", LivenessProbe: slow})
			pod.UID = types.UID("u" + uid)
			w.Set(pod, ip, []lifecycle.Probing{begin(id)})
		}
		one("1", "a")
		one("2", "b")
		synctest.Wait()
		if len(under) != 2 {
			t.Fatalf("under way: %v", under)
		}
		w.Forget("u1")
		synctest.Wait()
		if got := slices.Collect(maps.Keys(under)); !slices.Equal(got, []string{"b"}) {
			t.Errorf("under way after one was forgotten: %v", got)
		}
		if w.Health("u1") != nil || w.Health("u2") == nil {
			t.Errorf("health %v, %v", w.Health("u1"), w.Health("u2"))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		w.Run(ctx) // returns, as all probes end
		one("3", "c")
		synctest.Wait()
		if len(under) != 0 || w.Health("u3") != nil {
			t.Errorf("after leaving: %v, %v", under, w.Health("u3"))
		}
		if got := w.told(); len(got) != 0 || w.woken() != 0 {
			t.Errorf("told of what was cut: %q", got)
		}
	})
}

// A timeout is a failure, and what cannot be run is none; both are told.
func TestExec(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWard(t)
		var commands [][]string
		w.exec = func(ctx context.Context, _ string, command []string, _ int) (int, []byte, error) {
			commands = append(commands, command)
			switch command[0] {
			case "hangs":
				<-ctx.Done()
				return 0, nil, fmt.Errorf("killing it: %w", ctx.Err())
			case "hangs and is killed":
				<-ctx.Done()
				return 137, []byte("half a"), nil
			case "fails":
				return 2, []byte("no\xff" + strings.Repeat("x", 20000)), nil
			case "missing":
				return 0, nil, errors.New("executable file not found in $PATH")
			}
			return 0, []byte("fine"), nil
		}
		s := subject{pod: podOf(), container: &v1.Container{Name: "c", Env: []v1.EnvVar{
			{Name: "A", Value: "1"}, {Name: "B", ValueFrom: &v1.EnvVarSource{}}}}, id: "a", kind: liveness}
		for _, c := range []struct {
			command []string
			found   outcome
			message string
			ran     int
		}{
			{[]string{"ok"}, healthy, "", 1},
			{[]string{"hangs", "on"}, unhealthy, `Liveness probe failed: command timed out: "hangs on" timed out after 2s`, 1},
			{[]string{"hangs and is killed"}, unhealthy, `Liveness probe failed: command timed out: "hangs and is killed" timed out after 2s`, 1},
			{[]string{"fails"}, unhealthy, "Liveness probe failed: no\uFFFD" + strings.Repeat("x", 10237), 1},
			{[]string{"missing"}, errored, "Liveness probe errored and resulted in unknown state: executable file not found in $PATH", 3},
		} {
			commands = nil
			s.spec = execProbe("0/1/1/1", c.command...)
			s.spec.TimeoutSeconds = 2
			found, message := w.probe(t.Context(), s)
			if found != c.found || message != c.message {
				t.Errorf("%v: %v %q, want %v %q", c.command, found, message, c.found, c.message)
			}
			if len(commands) != c.ran {
				t.Errorf("%v: run %d times, want %d", c.command, len(commands), c.ran)
			}
			var want []string
			if c.message != "" {
				want = []string{"p/c Warning Unhealthy " + c.message}
			}
			if got := w.told(); !slices.Equal(got, want) {
				t.Errorf("%v: events %q, want %q", c.command, got, want)
			}
		}
		s.spec = execProbe("0/1/1/1", "$(A)", "-$(B)-", "$(C)", "$$(A)")
		w.probe(t.Context(), s)
		if got := commands[len(commands)-1]; !slices.Equal(got, []string{"1", "--", "$(C)", "$(A)"}) {
			t.Errorf("expanded to %q", got)
		}
		s.spec = &v1.Probe{}
		if found, message := w.probe(t.Context(), s); found != errored || !strings.Contains(message, "missing probe handler for p_ns(u):c") {
			t.Errorf("no handler: %v %q", found, message)
		}
	})
}

// What is not in the pod is not probed, and does not disturb what is.
func TestUnknownContainer(t *testing.T) {
	w := newWard(t)
	w.exec = func(context.Context, string, []string, int) (int, []byte, error) { return 0, nil, nil }
	w.Set(podOf(v1.Container{Name: "c"}), ip, []lifecycle.Probing{begin("a"), {Container: "other", ID: "b"}})
	if got := w.Health("u"); len(got) != 1 || show(got["c"]) != "SR" {
		t.Errorf("health %v", got)
	}
	if !strings.Contains(w.log.String(), "container=other") {
		t.Errorf("log: %s", w.log.String())
	}
}
