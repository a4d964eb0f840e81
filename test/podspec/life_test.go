package podspec

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/hooks"
	"github.com/davit-agent/davit/agent/lifecycle"
	"github.com/davit-agent/davit/agent/probes"
	"github.com/davit-agent/davit/runtime"
)

// seeLife shows a pod's life of five minutes: what is decided, probed, hooked
// and reported, and when. Time is that of a bubble.
func seeLife(t *testing.T, pod *v1.Pod, _ *objects) string {
	var out string
	synctest.Test(t, func(*testing.T) {
		l := &life{pod: pod, wake: make(chan struct{}, 1), began: time.Now()}
		out = l.live()
	})
	return out
}

// life is one pod on a model of a node, driven as agent/pods does it.
type life struct {
	pod    *v1.Pod
	facts  lifecycle.Facts
	prober *probes.Prober
	runner *hooks.Runner
	began  time.Time
	wake   chan struct{}
	conns  *inbox // of what listens
	setUp  bool

	mu    sync.Mutex
	lines []string
	conts []*process
	last  string // status
}

// process is an attempt of a container. Its command is its script:
// [exit, CODE, SECONDS] ends, [stubborn] ignores every signal but SIGKILL, all
// others run until they are told to end.
type process struct {
	runtime.Container
	script []string
}

func (l *life) logf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf("%8.3f ", time.Since(l.began).Seconds())+fmt.Sprintf(format, args...))
}

func (l *life) stir(string) {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *life) live() string {
	ctx, cancel := context.WithCancel(context.Background())
	quiet := slog.New(slog.DiscardHandler)
	lookup := func(_ context.Context, host string) ([]netip.Addr, error) {
		l.logf("looks up %s", host)
		return []netip.Addr{netip.MustParseAddr("192.0.2.200")}, nil
	}
	l.prober = probes.New(probes.Config{Exec: l, Dial: l, Wake: l.stir, Logger: quiet, Now: time.Now, Lookup: lookup})
	l.runner = hooks.New(hooks.Config{Exec: l, Dial: l, Wake: l.stir, Logger: quiet, Lookup: lookup})
	var wg sync.WaitGroup
	wg.Go(func() { l.prober.Run(ctx) })
	wg.Go(func() { l.runner.Run(ctx) })
	l.conns = &inbox{in: make(chan net.Conn), end: make(chan struct{})}
	server := &http.Server{Handler: l, Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	wg.Go(func() { _ = server.Serve(l.conns) })
	l.facts = lifecycle.Accept(l.pod, "boot", time.Now())
	l.facts.HostIPs = []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	if !l.pod.Spec.HostNetwork {
		l.facts.PodIPs = []netip.Addr{podIP}
	}
	end := l.began.Add(5*time.Minute + 345*time.Millisecond) // nothing else is at that time
	for time.Now().Before(end) {
		synctest.Wait() // all that happens at this time is to be seen at once
		again, progress := l.turn()
		if progress {
			continue
		}
		wait := time.Until(end)
		if !again.IsZero() {
			wait = min(wait, max(time.Until(again), time.Millisecond))
		}
		select {
		case <-l.wake:
		case <-time.After(wait):
		}
	}
	l.mu.Lock()
	lines := l.lines
	l.mu.Unlock()
	cancel()
	_ = server.Close()
	wg.Wait()
	slices.Sort(lines) // what happens at one time happens in any order
	return strings.Join(lines, "\n")
}

// turn is one of a worker's.
func (l *life) turn() (again time.Time, progress bool) {
	uid, now := string(l.pod.UID), time.Now()
	seen := lifecycle.Seen{BootID: "boot", Sandbox: l.setUp, Health: l.prober.Health(uid), Hooks: l.runner.Seen(uid)}
	l.mu.Lock()
	for _, c := range l.conts {
		seen.Containers = append(seen.Containers, c.Container)
	}
	l.mu.Unlock()
	l.facts = lifecycle.Observe(l.pod, l.facts, seen, now)
	in := lifecycle.Input{Pod: l.pod, Facts: l.facts, Seen: seen, Now: now}
	plan := lifecycle.Decide(in)
	for _, s := range plan.Steps {
		l.logf("%s %s/%d %s %s %s", s.Op, s.Container, s.Attempt, s.Signal, s.Hook, s.Why)
		result := l.do(s)
		l.facts = lifecycle.Apply(l.pod, l.facts, s, result, time.Now())
		if result.Reason != "" {
			l.logf("failed: %s", result.Message)
			break
		}
	}
	l.prober.Set(l.pod, podIP, lifecycle.Probings(l.pod, l.facts))
	in.Facts, in.Now = l.facts, time.Now()
	status := lifecycle.Status(in)
	l.facts.Conditions = status.Conditions
	if text, err := json.Marshal(status); err == nil && string(text) != l.last {
		l.last = string(text)
		l.logf("status %s", text)
	}
	return plan.Again, len(plan.Steps) > 0
}

// do carries out a step on the model.
func (l *life) do(s lifecycle.Step) lifecycle.Result {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.container(s.Container)
	i := slices.IndexFunc(l.conts, func(c *process) bool { return c.ID == s.ID })
	switch s.Op {
	case lifecycle.OpSetup:
		l.setUp = true
	case lifecycle.OpTeardown:
		l.setUp = false
	case lifecycle.OpCreate:
		l.conts = append(l.conts, &process{script: c.Command, Container: runtime.Container{
			ContainerRef: runtime.ContainerRef{Pod: runtime.PodRef{UID: string(l.pod.UID)}, Name: s.Container, Attempt: s.Attempt, ID: s.ID},
			State:        runtime.StateCreated, CreatedAt: time.Now(), ImageName: image.Name, ImageID: image.ID,
		}})
		return lifecycle.Result{Image: image.Name, ImageID: image.ID}
	case lifecycle.OpStart:
		p := l.conts[i]
		p.State, p.Pid, p.StartedAt = runtime.StateRunning, 1, time.Now()
		if len(p.script) == 3 && p.script[0] == "exit" {
			code, _ := strconv.Atoi(p.script[1])
			seconds, _ := strconv.Atoi(p.script[2])
			time.AfterFunc(time.Duration(seconds)*time.Second, func() { l.exit(p, int32(code)) })
		}
	case lifecycle.OpHook:
		l.runner.Begin(hooks.Request{UID: string(l.pod.UID), ID: s.ID, Kind: s.Hook, Pod: l.pod, Container: c, PodIP: podIP, Deadline: s.Deadline})
	case lifecycle.OpSignal:
		p := l.conts[i]
		if s.Signal == "SIGKILL" {
			time.AfterFunc(0, func() { l.exit(p, 137) })
		} else if len(p.script) == 0 || p.script[0] != "stubborn" {
			time.AfterFunc(time.Second, func() { l.exit(p, 143) })
		}
	case lifecycle.OpRemove:
		l.conts = slices.Delete(l.conts, i, i+1)
		l.runner.Release(string(l.pod.UID), s.ID)
	}
	return lifecycle.Result{}
}

func (l *life) exit(p *process, code int32) {
	l.mu.Lock()
	if p.State == runtime.StateRunning {
		p.State, p.Pid, p.Exit = runtime.StateExited, 0, &runtime.Exit{Code: code, At: time.Now()}
	}
	l.mu.Unlock()
	l.stir("")
}

func (l *life) container(name string) *v1.Container {
	for _, c := range containers(l.pod) {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Exec is a command in a container: [fail ...] fails, [slow ...] takes 3 s,
// [worn ...] fails after a minute of the pod's life.
func (l *life) Exec(ctx context.Context, _ string, command []string, _ int) (int, []byte, error) {
	l.logf("exec %q", command)
	switch {
	case command[0] == "fail", command[0] == "worn" && time.Since(l.began) > time.Minute:
		return 1, []byte("no"), nil
	case command[0] == "slow":
		select {
		case <-ctx.Done():
			return 137, nil, ctx.Err()
		case <-time.After(3 * time.Second):
		}
	}
	return 0, nil, nil
}

// Dial is a connection to what listens everywhere: it answers HTTP and gRPC, and
// hangs up on TLS.
func (l *life) Dial(_ context.Context, _ string, addr netip.AddrPort) (net.Conn, error) {
	l.logf("dials %s", addr)
	ours, theirs := net.Pipe()
	go func() {
		c := &peeked{Conn: theirs, r: bufio.NewReader(theirs)}
		first, err := c.r.Peek(1)
		if err == nil && first[0] != 0x16 {
			select {
			case l.conns.in <- c:
				return
			case <-l.conns.end:
			}
		}
		if err == nil && first[0] == 0x16 {
			l.logf("%s is asked for TLS", addr) // what follows is random
		}
		_ = theirs.Close()
	}()
	return ours, nil
}

// peeked is a connection of which something was read beforehand.
type peeked struct {
	net.Conn
	r *bufio.Reader
}

func (p *peeked) Read(b []byte) (int, error) { return p.r.Read(b) }

// inbox is a listener to which connections are handed.
type inbox struct {
	in  chan net.Conn
	end chan struct{}
}

func (i *inbox) Accept() (net.Conn, error) {
	select {
	case c := <-i.in:
		return c, nil
	case <-i.end:
		return nil, net.ErrClosed
	}
}

func (i *inbox) Close() error {
	close(i.end)
	return nil
}

func (i *inbox) Addr() net.Addr { return &net.TCPAddr{} }

// ServeHTTP answers 500 below /fail, and as a gRPC health service that always
// serves. A gRPC message has five bytes before it.
func (l *life) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Content-Type") == "application/grpc" {
		body, _ := io.ReadAll(r.Body)
		l.logf("gRPC %s %s %q", r.Host, r.URL.Path, body)
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status")
		_, _ = w.Write([]byte{0, 0, 0, 0, 2, 8, 1})
		w.Header().Set("Grpc-Status", "0")
		return
	}
	l.logf("%s %s %s %v", r.Method, r.Host, r.URL, r.Header)
	if strings.HasPrefix(r.URL.Path, "/fail") {
		w.WriteHeader(http.StatusInternalServerError)
	}
}
