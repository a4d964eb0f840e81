package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/davit-agent/davit/agent/report"
	"github.com/davit-agent/davit/agent/server"
	"github.com/davit-agent/davit/agent/server/wire"
	"github.com/davit-agent/davit/runtime"
)

// TestMain lets the test binary be davit, so that exit codes and terminals are
// tested as they are.
func TestMain(m *testing.M) {
	if os.Getenv("DAVIT_TEST_MAIN") != "" {
		main()
	}
	os.Exit(m.Run())
}

type hostExec struct{}

func (hostExec) Exec(ctx context.Context, _ string, cfg runtime.ExecConfig) (int, error) {
	if cfg.TTY {
		size := <-cfg.Resize
		fmt.Fprintf(cfg.Stdout, "%dx%d", size.Width, size.Height)
	}
	cmd := exec.CommandContext(ctx, cfg.Command[0], cfg.Command[1:]...)
	cmd.Stdout, cmd.Stderr = cfg.Stdout, cfg.Stderr
	if cfg.Stdin != nil { // like a runtime, the end of the process does not wait for input
		stdin, err := cmd.StdinPipe()
		if err != nil {
			return 0, err
		}
		go func() {
			io.Copy(stdin, cfg.Stdin)
			stdin.Close()
		}()
	}
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

type hostLogs struct{}

func (hostLogs) Stream(_ context.Context, req server.LogRequest, out, _ io.Writer) error {
	_, err := fmt.Fprintln(out, req.Path)
	return err
}

type someProblems []wire.Problem

func (p someProblems) Problems() []wire.Problem { return p }

// serve runs a server with two pods and returns its socket.
func serve(t *testing.T, problems ...wire.Problem) (string, *report.Table) {
	t.Helper()
	table := report.NewTable()
	table.Set(pod("default", "web-n1", "1"))
	table.Set(pod("other", "db-n1", "2"))
	path := filepath.Join(t.TempDir(), "d.sock")
	srv, err := server.New(server.Options{Socket: path, LogDir: "/logs", Pods: table, Execer: hostExec{}, Logs: hostLogs{},
		Version: wire.Version{Version: "v9", Go: "go9", Node: "n1"}, Problems: someProblems(problems),
		Metrics: prometheus.NewRegistry(), Health: func() error { return nil }, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return path, table
}

func pod(ns, name, n string) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, UID: types.UID("u" + n)},
		Spec:       v1.PodSpec{NodeName: "n1", Containers: []v1.Container{{Name: "main"}}},
		Status: v1.PodStatus{Phase: v1.PodRunning, ContainerStatuses: []v1.ContainerStatus{{
			Name: "main", Ready: true, ContainerID: "containerd://" + runtime.ContainerID("u"+n, "main", 3),
			State: v1.ContainerState{Running: &v1.ContainerStateRunning{}}}}},
	}
}

// lines returns the lines of r one by one.
func lines(r io.Reader) func() string {
	s := bufio.NewScanner(r)
	return func() string {
		s.Scan()
		return s.Text()
	}
}

// davit runs the command line as a process of its own.
func davit(t *testing.T, socket, stdin string, args ...string) (out, errText string, code int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(os.Environ(), "DAVIT_TEST_MAIN=1", "DAVIT_SOCKET="+socket)
	var o, e bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &o, &e
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return o.String(), e.String(), cmd.ProcessState.ExitCode()
}

func TestCommands(t *testing.T) {
	socket, _ := serve(t)
	for _, c := range []struct {
		args      string
		stdin     string
		code      int
		out, errs string // the whole, but for ERR: a part
	}{
		{args: "get pods", out: "NAME     READY   STATUS    RESTARTS   AGE\nweb-n1   1/1     Running   0          <unknown>\n"},
		{args: "get pods -A -o name", out: "pod/web-n1\npod/db-n1\n"},
		{args: "get po web -n default -o name", out: "pod/web-n1\n"},
		{args: "get pods -n none", errs: "No resources found in none namespace."},
		{args: "get pods db", code: 1, errs: `error: pods "db" not found in namespace "default"`},
		{args: "get pods -o xml", code: 2, errs: "-o xml: there are"},
		{args: "nonsense", code: 2, errs: `unknown command "nonsense"`},
		{args: "logs", code: 2, errs: "logs takes POD [CONTAINER], or -l SELECTOR"},
		{args: "logs web", out: "/logs/default_web-n1_u1/main/3.log\n"},
		{args: "logs web main", out: "/logs/default_web-n1_u1/main/3.log\n"},
		{args: "logs web main -c other", code: 2, errs: "two containers are named"},
		{args: "logs web -c nope", code: 1, errs: "container nope is not valid for pod web-n1, choose one of: [main]"},
		{args: "exec web", code: 2, errs: "exec takes POD -- COMMAND"},
		{args: "exec web true", code: 2, errs: "exec takes POD -- COMMAND"},
		{args: "exec web -- false", code: 1},
		{args: "exec web -i -- cat", stdin: "in and out", out: "in and out"},
		{args: "exec web -- cat", stdin: "not passed on"},
		{args: "exec -it web -- cat", stdin: "no terminal", out: "no terminal", errs: "Unable to use a TTY - input is not a terminal"},
		{args: "exec web --no-such-flag -- cat", code: 2, errs: "unknown flag"},
		{args: "get problems"},
	} {
		out, errs, code := davit(t, socket, c.stdin, strings.Fields(c.args)...)
		if code != c.code || out != c.out || !strings.Contains(errs, c.errs) || c.errs == "" && errs != "" {
			t.Errorf("davit %s: code %d, out %q, err %q; want %d, %q, %q", c.args, code, out, errs, c.code, c.out, c.errs)
		}
	}
	if out, errs, code := davit(t, socket, "", "exec", "web", "--", "sh", "-c", "echo o; echo e >&2; exit 42"); out != "o\n" || errs != "e\n" || code != 42 {
		t.Errorf("exec: %q, %q, %d", out, errs, code)
	}
	if out, _, _ := davit(t, socket, "", "version"); !strings.Contains(out, "running: v9 (go9) on node n1") {
		t.Errorf("version: %q", out)
	}
}

func TestObjects(t *testing.T) {
	socket, _ := serve(t)
	out, _, _ := davit(t, socket, "", "get", "pods", "-A", "-o", "json")
	var list v1.PodList
	if err := json.Unmarshal([]byte(out), &list); err != nil || list.Kind != "PodList" || list.APIVersion != "v1" || len(list.Items) != 2 || list.Items[0].Kind != "Pod" {
		t.Errorf("json: %v: %s", err, out)
	}
	out, _, _ = davit(t, socket, "", "get", "pods", "web", "-o", "yaml")
	var p v1.Pod
	if err := yaml.UnmarshalStrict([]byte(out), &p); err != nil || p.Kind != "Pod" || p.Name != "web-n1" {
		t.Errorf("yaml: %v: %s", err, out)
	}
}

func TestProblems(t *testing.T) {
	socket, _ := serve(t,
		wire.Problem{File: "/m/a.yaml", Line: 7, Object: "Pod/default/x", Field: "spec.image", Message: "unknown field"},
		wire.Problem{File: "/m/b.yaml", Message: "permission denied"})
	out, _, _ := davit(t, socket, "", "get", "problems")
	if want := "/m/a.yaml:7: Pod/default/x: spec.image: unknown field\n/m/b.yaml: permission denied\n"; out != want {
		t.Errorf("got %q, want %q", out, want)
	}
	if _, errs, _ := davit(t, socket, "", "get", "pods"); !strings.Contains(errs, "2 problem(s) in the manifests") {
		t.Errorf("get pods does not tell: %q", errs)
	}
}

func TestNotRunning(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "none")
	for _, args := range []string{"get pods", "logs x", "exec x -- y", "get problems"} {
		_, errs, code := davit(t, socket, "", strings.Fields(args)...)
		if code != 1 || !strings.Contains(errs, "davit is not running at "+socket) || !strings.Contains(errs, "--socket") {
			t.Errorf("davit %s: code %d, %q", args, code, errs)
		}
	}
	if out, _, code := davit(t, socket, "", "version"); code != 0 || !strings.Contains(out, "running: none at") {
		t.Errorf("version: code %d, %q", code, out)
	}
}

// A watch prints what is new, and not what only looks different inside.
func TestWatch(t *testing.T) {
	socket, table := serve(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "get", "pods", "-w", "--socket", socket)
	cmd.Env = append(os.Environ(), "DAVIT_TEST_MAIN=1")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer time.AfterFunc(time.Minute, func() { cmd.Process.Kill() }).Stop()
	next := lines(stdout)
	for _, want := range []string{"NAME", "web-n1   1/1     Running"} {
		if got := next(); !strings.HasPrefix(got, want) {
			t.Fatalf("line %q, want %q", got, want)
		}
	}
	same := pod("default", "web-n1", "1")
	same.Status.Message = "nothing that a table shows"
	table.Set(same)
	ended := pod("default", "web-n1", "1")
	ended.Status.ContainerStatuses[0].State = v1.ContainerState{Terminated: &v1.ContainerStateTerminated{Reason: "Completed"}}
	table.Set(ended)
	if got := next(); !strings.HasPrefix(got, "web-n1   0/1     Completed") {
		t.Errorf("line %q", got)
	}
	cmd.Process.Signal(os.Interrupt)
	if err := cmd.Wait(); err != nil {
		t.Errorf("a watch that was interrupted: %v", err)
	}
}

// With a terminal the command gets its size, and its output comes raw.
func TestTerminal(t *testing.T) {
	socket, _ := serve(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	line := fmt.Sprintf("stty cols 77 rows 11; DAVIT_TEST_MAIN=1 %s --socket %s exec -it web -- sh -c 'exit 5'; echo code=$?; stty -a | head -n 1", self, socket)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "script", "-qec", line, "/dev/null")
	keyboard, err := cmd.StdinPipe() // one that nobody types on
	if err != nil {
		t.Fatal(err)
	}
	defer keyboard.Close()
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "77x11") || !strings.Contains(string(out), "code=5") {
		t.Errorf("error %v, output %q", err, out)
	}
}

func TestCompletion(t *testing.T) {
	socket, _ := serve(t)
	if out, _, _ := davit(t, socket, "", "__complete", "logs", ""); !strings.HasPrefix(out, "web-n1\n") {
		t.Errorf("completion: %q", out)
	}
}
