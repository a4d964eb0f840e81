package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/davit-agent/davit/test/oracle/actor"
)

// The test binary is the actor when it is called as that.
func TestMain(m *testing.M) {
	if os.Getenv("ACTOR") != "" {
		main()
	}
	os.Exit(m.Run())
}

// command runs the actor as a process of its own.
func command(t *testing.T, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), "ACTOR=1")
	return cmd
}

// The real one does what the model foretells.
func TestEnds(t *testing.T) {
	cmd := command(t, "wait", "100ms", "exit", "5")
	began := time.Now()
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != 5 || time.Since(began) < 100*time.Millisecond {
		t.Errorf("ended after %v with %v", time.Since(began), err)
	}
	cmd = command(t, "hook", "100ms", "3", "say", "done")
	out, _ := cmd.Output()
	if cmd.ProcessState.ExitCode() != 3 || string(out) != "done\n" {
		t.Errorf("hook: %d, %q", cmd.ProcessState.ExitCode(), out)
	}
	cmd = command(t, "dance")
	_ = cmd.Run()
	if cmd.ProcessState.ExitCode() != 2 {
		t.Errorf("nonsense ends with %d", cmd.ProcessState.ExitCode())
	}
}

func TestSignals(t *testing.T) {
	for _, c := range []struct {
		args []string
		send []os.Signal
		code int
	}{
		{[]string{"say", "up", "run"}, []os.Signal{sigTerm}, 0},
		{[]string{"say", "up", "on-term", "50ms", "7", "run"}, []os.Signal{sigTerm}, 7},
		{[]string{"say", "up", "ignore-term", "on-usr1", "0s", "4", "run"}, []os.Signal{sigTerm, sigUsr1}, 4},
	} {
		cmd := command(t, c.args...)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 16)); err != nil {
			t.Fatal(err)
		}
		for _, s := range c.send {
			if err := cmd.Process.Signal(s); err != nil {
				t.Error(err)
			}
		}
		_ = cmd.Wait()
		if got := cmd.ProcessState.ExitCode(); got != c.code {
			t.Errorf("%v after %v: exit code %d, want %d", c.args, c.send, got, c.code)
		}
	}
}

// freePort returns a port of loopback that nobody has.
func freePort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func TestServers(t *testing.T) {
	a := &actor.Attempt{Answers: map[string]actor.Schedule{"live": {}, "started": {{From: time.Hour}}}}
	began := time.Now()
	for _, kind := range []string{"http", "https"} {
		s := actor.Server{Kind: kind, Port: freePort(t)}
		if err := serve(a, s, began); err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: noVerify()}}
		for path, want := range map[string]int{"/ready": 200, "/live": 503, "/redirect/ready": 200, "/x": 404} {
			r, err := client.Get(fmt.Sprintf("%s://127.0.0.1:%d%s", kind, s.Port, path))
			if err != nil {
				t.Fatal(err)
			}
			_ = r.Body.Close()
			if r.StatusCode != want {
				t.Errorf("%s %s: %d, want %d", kind, path, r.StatusCode, want)
			}
		}
	}
	s := actor.Server{Kind: "grpc", Port: freePort(t)}
	if err := serve(a, s, began); err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(fmt.Sprintf("127.0.0.1:%d", s.Port), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for service, want := range map[string]string{"": "SERVING", "ready": "SERVING", "live": "NOT_SERVING", "x": "UNKNOWN"} {
		r, err := grpc_health_v1.NewHealthClient(conn).Check(context.Background(), &grpc_health_v1.HealthCheckRequest{Service: service})
		if got := r.GetStatus().String(); got != want || (err != nil) != (want == "UNKNOWN") {
			t.Errorf("service %q: %s, %v; want %s", service, got, err, want)
		}
	}
}

func TestListenWhileReady(t *testing.T) {
	port := freePort(t)
	a := &actor.Attempt{
		Servers: []actor.Server{{Kind: "tcp", Port: port}},
		Answers: map[string]actor.Schedule{"ready": {{To: time.Second}}},
	}
	if err := serve(a, a.Servers[0], time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, up := range []bool{true, false} {
		for i := 0; ; i++ {
			c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err == nil {
				_ = c.Close()
			}
			if (err == nil) == up {
				break
			}
			if i == 600 {
				t.Fatalf("listens: %v, want %v", !up, up)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
}
