package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/davit-agent/davit/agent/report"
	"github.com/davit-agent/davit/agent/server"
	"github.com/davit-agent/davit/agent/server/client"
	"github.com/davit-agent/davit/agent/server/wire"
	"github.com/davit-agent/davit/runtime"
)

// limit is generous: nothing here should take more than a second.
const limit = 30 * time.Second

// hostExec runs the command on the host: real pipes, real processes.
type hostExec struct {
	ids   chan string
	sizes chan runtime.WinSize
}

func (h hostExec) Exec(ctx context.Context, id string, cfg runtime.ExecConfig) (int, error) {
	h.ids <- id
	if cfg.Command[0] == "sizes" { // a terminal program that never reads its input
		for {
			select {
			case <-ctx.Done():
				return 0, ctx.Err()
			case s := <-cfg.Resize:
				h.sizes <- s
			}
		}
	}
	cmd := exec.CommandContext(ctx, cfg.Command[0], cfg.Command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = cfg.Stdin, cfg.Stdout, cfg.Stderr
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case errors.As(err, &exit):
		return exit.ExitCode(), nil
	default:
		return 0, err
	}
}

// logFunc is a LogStreamer.
type logFunc func(ctx context.Context, req server.LogRequest, out, errw io.Writer) error

func (f logFunc) Stream(ctx context.Context, req server.LogRequest, out, errw io.Writer) error {
	return f(ctx, req, out, errw)
}

// dialFunc is a Dialer.
type dialFunc func(ctx context.Context, uid string, port uint16) (net.Conn, error)

func (f dialFunc) Dial(ctx context.Context, uid string, port uint16) (net.Conn, error) {
	return f(ctx, uid, port)
}

type problems []wire.Problem

func (p problems) Problems() []wire.Problem { return p }

type fixture struct {
	*client.Client
	socket string
	ready  chan struct{} // closed: all pods were looked at
	table  *report.Table
	host   hostExec
	logs   atomic.Pointer[logFunc]
	dial   atomic.Pointer[dialFunc]
	leave  func() // ends the server and waits for it
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{
		socket: filepath.Join(t.TempDir(), "d.sock"),
		table:  report.NewTable(),
		host:   hostExec{ids: make(chan string, 100), sizes: make(chan runtime.WinSize, 100)},
	}
	if f.ready = make(chan struct{}); t.Name() != "TestBeforeReady" {
		close(f.ready)
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "davit_test", Help: "x"}))
	srv, err := server.New(server.Options{
		Socket: f.socket, LogDir: "/logs", Version: wire.Version{Version: "v9"},
		Pods: f.table, Ready: f.ready, Execer: f.host, Metrics: reg, Logger: slog.New(slog.DiscardHandler),
		Logs: logFunc(func(ctx context.Context, req server.LogRequest, out, errw io.Writer) error {
			return (*f.logs.Load())(ctx, req, out, errw)
		}),
		Dialer: dialFunc(func(ctx context.Context, uid string, port uint16) (net.Conn, error) {
			return (*f.dial.Load())(ctx, uid, port)
		}),
		Problems: problems{{File: "a.yaml", Line: 3, Field: "spec", Message: "bad"}},
		Health:   func() error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	left := false
	f.leave = func() {
		if left {
			return
		}
		left = true
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(limit):
			t.Error("the server does not leave")
		}
	}
	t.Cleanup(f.leave)
	f.Client = client.New(f.socket)
	return f
}

// webPod has two containers that run, an init container that is done, and one
// that waits.
func webPod() *v1.Pod {
	running := func(name string, attempt uint32) v1.ContainerStatus {
		return v1.ContainerStatus{Name: name, RestartCount: int32(attempt),
			ContainerID: "containerd://" + runtime.ContainerID("u1", name, attempt),
			State:       v1.ContainerState{Running: &v1.ContainerStateRunning{}}}
	}
	server := running("server", 2)
	server.LastTerminationState.Terminated = &v1.ContainerStateTerminated{
		ContainerID: "containerd://" + runtime.ContainerID("u1", "server", 1)}
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web-n1", UID: types.UID("u1")},
		Spec: v1.PodSpec{NodeName: "n1",
			InitContainers: []v1.Container{{Name: "init"}},
			Containers:     []v1.Container{{Name: "server"}, {Name: "writer"}, {Name: "slow"}}},
		Status: v1.PodStatus{Phase: v1.PodRunning,
			InitContainerStatuses: []v1.ContainerStatus{{Name: "init",
				ContainerID: "containerd://" + runtime.ContainerID("u1", "init", 0),
				State:       v1.ContainerState{Terminated: &v1.ContainerStateTerminated{ExitCode: 3}}}},
			ContainerStatuses: []v1.ContainerStatus{server, running("writer", 0), {Name: "slow",
				State: v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: "PodInitializing"}}}}},
	}
}

func wantErr(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("error %v, want one with %q", err, text)
	}
}

// What is asked before all pods were looked at is answered after that.
func TestBeforeReady(t *testing.T) {
	f := newFixture(t)
	if v, err := f.Version(t.Context()); err != nil || v.Version != "v9" {
		t.Errorf("version %v, %v", v, err)
	}
	got := make(chan error, 1)
	go func() {
		_, err := f.Pod(context.Background(), "default", "web")
		got <- err
	}()
	select {
	case err := <-got:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	f.table.Set(webPod())
	close(f.ready)
	if err := <-got; err != nil {
		t.Error(err)
	}
}

func TestReadOnlyCalls(t *testing.T) {
	f := newFixture(t)
	f.table.Set(webPod())
	other := webPod()
	other.Namespace, other.UID = "other", "u2"
	f.table.Set(other)
	ctx := t.Context()

	for ns, want := range map[string]int{"": 2, "default": 1, "none": 0} {
		list, err := f.Pods(ctx, ns)
		if err != nil || len(list.Items) != want || list.Kind != "PodList" {
			t.Errorf("namespace %q: %d pods, kind %q, error %v; want %d", ns, len(list.Items), list.Kind, err, want)
		}
	}
	for _, name := range []string{"web", "web-n1"} {
		if p, err := f.Pod(ctx, "default", name); err != nil || p.UID != "u1" || p.Kind != "Pod" {
			t.Errorf("pod %s: %v, %v", name, p, err)
		}
	}
	_, err := f.Pod(ctx, "default", "we")
	wantErr(t, err, `pods "we" not found in namespace "default"`)
	if v, err := f.Version(ctx); err != nil || v.Version != "v9" {
		t.Errorf("version %v, %v", v, err)
	}
	if p, err := f.Problems(ctx); err != nil || len(p) != 1 || p[0].Line != 3 {
		t.Errorf("problems %v, %v", p, err)
	}
}

func TestWatch(t *testing.T) {
	f := newFixture(t)
	f.table.Set(webPod())
	got := make(chan string, 10)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- f.Watch(ctx, "default", func(typ watch.EventType, p *v1.Pod) error {
			got <- fmt.Sprint(typ, " ", p.Kind, " ", p.Status.Phase)
			return nil
		})
	}()
	next := func(want string) {
		t.Helper()
		select {
		case s := <-got:
			if s != want {
				t.Fatalf("event %q, want %q", s, want)
			}
		case <-time.After(limit):
			t.Fatalf("no event, want %q", want)
		}
	}
	next("ADDED Pod Running")
	p := webPod()
	p.Status.Phase = v1.PodFailed
	f.table.Set(p)
	next("MODIFIED Pod Failed")
	f.table.Delete("u1")
	next("DELETED Pod Failed")
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("a watch that its reader ended: %v", err)
	}

	go func() {
		ended <- f.Watch(t.Context(), "", func(watch.EventType, *v1.Pod) error { got <- "x"; return nil })
	}()
	f.table.Set(webPod())
	next("x")
	f.leave()
	if err := <-ended; !errors.Is(err, client.ErrBrokeOff) {
		t.Errorf("a watch that the server ended: %v", err)
	}
}

func TestLogs(t *testing.T) {
	f := newFixture(t)
	f.table.Set(webPod())
	echo := logFunc(func(_ context.Context, req server.LogRequest, out, errw io.Writer) error {
		fmt.Fprintln(out, req.Path, req.Follow, req.Timestamps)
		fmt.Fprintln(errw, "and stderr")
		return nil
	})
	f.logs.Store(&echo)
	for _, c := range []struct {
		o                  client.LogOptions
		path, notice, fail string
	}{
		{o: client.LogOptions{}, path: "/logs/default_web-n1_u1/server/2.log false false", notice: `Defaulted container "server" out of: server, writer, slow, init (init)`},
		{o: client.LogOptions{Container: "server", Previous: true, Timestamps: true}, path: "/logs/default_web-n1_u1/server/1.log false true"},
		{o: client.LogOptions{Container: "writer", Follow: true}, path: "/logs/default_web-n1_u1/writer/0.log true false"},
		{o: client.LogOptions{Container: "init"}, path: "/logs/default_web-n1_u1/init/0.log false false"},
		{o: client.LogOptions{Container: "slow"}, fail: `container "slow" in pod "web-n1" is waiting to start: PodInitializing`},
		{o: client.LogOptions{Container: "writer", Previous: true}, fail: "previous terminated container"},
		{o: client.LogOptions{Container: "nope"}, fail: "container nope is not valid for pod web-n1, choose one of: [server writer slow] or one of the init containers: [init]"},
	} {
		var out bytes.Buffer
		notice := ""
		c.o.Namespace, c.o.Pod, c.o.Notice = "default", "web", func(s string) { notice = s }
		err := f.Logs(t.Context(), c.o, &out)
		if c.fail != "" {
			wantErr(t, err, c.fail)
			continue
		}
		if want := c.path + "\nand stderr\n"; err != nil || out.String() != want || notice != c.notice {
			t.Errorf("%+v: %q, notice %q, error %v; want %q, %q", c.o, out.String(), notice, err, want, c.notice)
		}
	}

	marked := webPod()
	marked.Annotations = map[string]string{"kubectl.kubernetes.io/default-container": "writer"}
	f.table.Set(marked)
	var out bytes.Buffer
	if err := f.Logs(t.Context(), client.LogOptions{Namespace: "default", Pod: "web"}, &out); err != nil || !strings.Contains(out.String(), "/writer/") {
		t.Errorf("marked default: %q, %v", out.String(), err)
	}
}

func TestLogErrors(t *testing.T) {
	f := newFixture(t)
	f.table.Set(webPod())
	o := client.LogOptions{Namespace: "default", Pod: "web", Container: "server"}
	early := logFunc(func(context.Context, server.LogRequest, io.Writer, io.Writer) error {
		return errors.New("no such file")
	})
	f.logs.Store(&early)
	wantErr(t, f.Logs(t.Context(), o, io.Discard), "no such file")

	late := logFunc(func(_ context.Context, _ server.LogRequest, out, _ io.Writer) error {
		io.WriteString(out, "half")
		return errors.New("disk\ngone")
	})
	f.logs.Store(&late)
	var out bytes.Buffer
	err := f.Logs(t.Context(), o, &out)
	if wantErr(t, err, "disk gone"); out.String() != "half" || !errors.Is(err, client.ErrBrokeOff) {
		t.Errorf("output %q, error %v", out.String(), err)
	}
}

// Leaving does not wait for followers, neither for one that waits nor for one
// whose reader has stopped reading.
func TestLeaveWithFollowers(t *testing.T) {
	f := newFixture(t)
	f.table.Set(webPod())
	began := make(chan struct{}, 2)
	flood := logFunc(func(ctx context.Context, req server.LogRequest, out, _ io.Writer) error {
		began <- struct{}{}
		if strings.Contains(req.Path, "writer") {
			<-ctx.Done()
			return ctx.Err()
		}
		for {
			if _, err := out.Write(make([]byte, 64<<10)); err != nil {
				return err
			}
		}
	})
	f.logs.Store(&flood)
	ended := make(chan error, 2)
	stuck, unstick := io.Pipe() // whoever writes to unstick blocks
	defer stuck.Close()
	for name, out := range map[string]io.Writer{"writer": io.Discard, "server": unstick} {
		go func() {
			ended <- f.Logs(context.Background(), client.LogOptions{Namespace: "default", Pod: "web", Container: name, Follow: true}, out)
		}()
	}
	<-began
	<-began
	f.leave()
	if err := <-ended; !errors.Is(err, client.ErrBrokeOff) {
		t.Errorf("follower ended with %v", err)
	}
}

func TestHealthAndMetrics(t *testing.T) {
	var sick atomic.Bool
	health := func() error {
		if sick.Load() {
			return errors.New("containerd is away")
		}
		return nil
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "davit_test", Help: "x"}))
	m, err := server.NewMetrics("127.0.0.1:0", reg, health, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	get := func(path string) (int, string) {
		resp, err := http.Get("http://" + m.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	if code, body := get("/healthz"); code != 200 || body != "ok\n" {
		t.Errorf("healthz: %d %q", code, body)
	}
	sick.Store(true)
	if code, body := get("/healthz"); code != 503 || !strings.Contains(body, "containerd is away") {
		t.Errorf("healthz of the sick: %d %q", code, body)
	}
	if code, body := get("/metrics"); code != 200 || !strings.Contains(body, "davit_test 0") {
		t.Errorf("metrics: %d %q", code, body)
	}
	if code, _ := get("/v1/pods"); code != 404 {
		t.Errorf("the metrics listener serves pods: %d", code)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestNotRunning(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.sock")
	for _, make := range []func(){func() {}, func() { os.WriteFile(path, nil, 0o600) }} {
		make()
		_, err := client.New(path).Version(t.Context())
		if !errors.Is(err, client.ErrNotRunning) || !strings.Contains(err.Error(), path) {
			t.Errorf("error %v", err)
		}
		_, err = client.New(path).Exec(t.Context(), client.ExecOptions{Namespace: "a", Pod: "b"})
		if !errors.Is(err, client.ErrNotRunning) {
			t.Errorf("error of exec %v", err)
		}
	}
}
