package runtimetest

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/davit-agent/davit/runtime"
)

// Run holds the implementation that newHarness makes to the contract.
func Run(t *testing.T, newHarness func(t *testing.T) Harness) {
	for _, c := range []struct {
		name string
		test func(*suite)
	}{
		{"Image", testImage},
		{"Life", testLife},
		{"Exits", testExits},
		{"StartFails", testStartFails},
		{"NotFound", testNotFound},
		{"DeleteInEveryState", testDelete},
		{"ListOrder", testListOrder},
		{"CancelledContext", testCancelled},
		{"Events", testEvents},
		{"Exec", testExec},
		{"ExecTerminal", testExecTerminal},
		{"ExecCancelled", testExecCancelled},
		{"DaemonAway", testDaemonAway},
		{"AgentRestarts", testAgentRestarts},
		{"AdoptWithDaemonAway", testAdoptAway},
		{"NeverStartedOverRestart", testNeverStarted},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &suite{newHarness(t), t}
			c.test(s)
			if !t.Failed() {
				s.noLeaks()
			}
		})
	}
}

func testImage(s *suite) {
	img, err := s.Runtime().Image(s.t.Context(), s.Image())
	if err != nil {
		s.t.Fatal(err)
	}
	if img.Name == "" || img.ID == "" {
		s.t.Errorf("image is %+v", img)
	}
	for want, names := range map[error][]string{
		runtime.ErrImageNotFound:    {"example.com/not/there:1", "nowhere"},
		runtime.ErrInvalidImageName: {"", "example.com/UPPER", "a b"},
	} {
		for _, name := range names {
			if _, err := s.Runtime().Image(s.t.Context(), name); !errors.Is(err, want) {
				s.t.Errorf("image %q: %v, want %v", name, err, want)
			}
		}
	}
}

// testLife follows one container through all states, each call made twice.
func testLife(s *suite) {
	r := ref("u1", "web", 3)
	cfg := s.config(r, Program{})
	ctx, rt := s.t.Context(), s.Runtime()
	twice := func(what string, f func() error) {
		s.t.Helper()
		for range 2 {
			if err := f(); err != nil {
				s.t.Fatalf("%s: %v", what, err)
			}
		}
	}
	twice("create", func() error { return rt.Create(ctx, cfg) })
	c := s.state(r.ID, runtime.StateCreated)
	if c.ContainerRef != r || c.ImageName != cfg.Image.Name || c.ImageID != cfg.Image.Identity() || c.CreatedAt.IsZero() {
		s.t.Errorf("created container is %+v", c)
	}
	twice("start", func() error { return rt.Start(ctx, r.ID) })
	running := s.state(r.ID, runtime.StateRunning)
	if running.CreatedAt != c.CreatedAt || running.ContainerRef != r {
		s.t.Errorf("running container is %+v, was %+v", running, c)
	}
	twice("create of what runs", func() error { return rt.Create(ctx, cfg) })
	if again := s.ready(r.ID); again.Pid != running.Pid {
		s.t.Errorf("pid %d became %d", running.Pid, again.Pid)
	}
	s.signal(r.ID, syscall.SIGTERM)
	gone := s.exited(r.ID, 0)
	if gone.Exit.OOMKilled {
		s.t.Error("it is said to be killed for its memory")
	}
	twice("signal to what has ended", func() error { return rt.Signal(ctx, r.ID, syscall.SIGKILL) })
	twice("create of what has ended", func() error { return rt.Create(ctx, cfg) })
	if err := rt.Start(ctx, r.ID); !errors.Is(err, runtime.ErrExited) {
		s.t.Errorf("start of what has ended: %v, want ErrExited", err)
	}
	if again := s.exited(r.ID, 0); !again.Exit.At.Equal(gone.Exit.At) {
		s.t.Errorf("the exit moved from %v to %v", gone.Exit.At, again.Exit.At)
	}
	twice("delete", func() error { return rt.Delete(ctx, r.ID) })
	if c := s.find(r.ID); c != nil {
		s.t.Errorf("after its deletion List shows %+v", c)
	}
}

func testExits(s *suite) {
	soon := 100 * time.Millisecond
	ids := map[string]int32{
		s.run(ref("u1", "zero", 0), Program{RunFor: soon}):                   0,
		s.run(ref("u1", "answer", 0), Program{RunFor: soon, ExitCode: 42}):   42,
		s.run(ref("u2", "highest", 0), Program{RunFor: soon, ExitCode: 255}): 255,
	}
	killed := s.run(ref("u2", "killed", 0), Program{IgnoreTERM: true})
	s.ready(killed)
	s.signal(killed, syscall.SIGTERM)
	for id, code := range ids {
		s.exited(id, code)
	}
	s.state(killed, runtime.StateRunning) // TERM did nothing
	s.signal(killed, syscall.SIGKILL)
	s.exited(killed, 137)
	s.delete(killed)
	for id := range ids {
		s.delete(id)
	}
}

func testStartFails(s *suite) {
	r := ref("u1", "missing", 0)
	id := s.create(r, Program{Missing: true})
	err := s.Runtime().Start(s.t.Context(), id)
	if !errors.Is(err, runtime.ErrStart) {
		s.t.Errorf("start of what is not in the image: %v, want ErrStart", err)
	}
	c := s.find(id)
	if c == nil || c.State == runtime.StateRunning || c.Exit != nil {
		s.t.Errorf("after a failed start List shows %+v", c)
	}
	s.delete(id)
	// The next attempt stands on its own.
	next := s.run(ref("u1", "missing", 1), Program{})
	s.state(next, runtime.StateRunning)
	s.delete(next)
}

func testNotFound(s *suite) {
	id := runtime.ContainerID("none", "none", 0)
	ctx, rt := s.t.Context(), s.Runtime()
	if err := rt.Start(ctx, id); !errors.Is(err, runtime.ErrNotFound) {
		s.t.Errorf("start: %v, want ErrNotFound", err)
	}
	if err := rt.Signal(ctx, id, syscall.SIGTERM); !errors.Is(err, runtime.ErrNotFound) {
		s.t.Errorf("signal: %v, want ErrNotFound", err)
	}
	if _, err := rt.Exec(ctx, id, runtime.ExecConfig{Command: []string{"/bin/podtool", "exit", "0"}}); !errors.Is(err, runtime.ErrNotFound) {
		s.t.Errorf("exec: %v, want ErrNotFound", err)
	}
	if err := rt.Delete(ctx, id); err != nil {
		s.t.Errorf("delete: %v, want nil", err)
	}
	if list := s.list("none"); len(list) != 0 {
		s.t.Errorf("list of a pod that is not there: %+v", list)
	}
}

func testDelete(s *suite) {
	created := s.create(ref("u1", "created", 0), Program{})
	running := s.run(ref("u1", "running", 0), Program{IgnoreTERM: true})
	ended := s.run(ref("u1", "ended", 0), Program{RunFor: time.Millisecond})
	failed := s.create(ref("u1", "failed", 0), Program{Missing: true})
	stays := s.run(ref("u1", "stays", 0), Program{})
	_ = s.Runtime().Start(s.t.Context(), failed)
	s.exited(ended, 0)
	pid := s.state(stays, runtime.StateRunning).Pid
	s.delete(created, running, ended, failed)
	list := s.list("u1")
	if len(list) != 1 || list[0].ID != stays || list[0].Pid != pid {
		s.t.Errorf("after the deletion of the others List shows %+v", list)
	}
	s.delete(stays)
}

func testListOrder(s *suite) {
	want := []string{
		s.create(ref("b", "z", 0), Program{}), s.create(ref("a", "y", 0), Program{}),
		s.create(ref("b", "a", 1), Program{}), s.create(ref("b", "a", 0), Program{}),
	}
	ids := func(uid string) (ids []string) {
		for _, c := range s.list(uid) {
			ids = append(ids, c.ID)
		}
		return ids
	}
	if got := ids(""); !slices.Equal(got, want) {
		s.t.Errorf("all: %v, want %v", got, want)
	}
	if got := ids("b"); !slices.Equal(got, []string{want[0], want[2], want[3]}) {
		s.t.Errorf("of pod b: %v, want all of %v but the second", got, want)
	}
	s.start(want[3])
	s.start(want[1])
	if got := ids(""); !slices.Equal(got, want) {
		s.t.Errorf("after starts: %v, want %v", got, want)
	}
	s.delete(want...)
}

// testCancelled makes calls whose context has ended, or ends in the middle.
func testCancelled(s *suite) {
	over, cancel := context.WithCancel(s.t.Context())
	cancel()
	r := ref("u1", "c", 0)
	cfg := s.config(r, Program{})
	_ = s.Runtime().Create(over, cfg)
	_ = s.Runtime().Start(over, r.ID)
	id := s.run(r, Program{})
	_ = s.Runtime().Delete(over, runtime.ContainerID("u2", "other", 0))
	short, cancel := context.WithTimeout(s.t.Context(), 10*time.Millisecond)
	defer cancel()
	_, _ = s.Runtime().List(short, "")
	<-short.Done()
	s.state(id, runtime.StateRunning)
	s.delete(id)
}

func testEvents(s *suite) {
	one := s.run(ref("u1", "c", 0), Program{IgnoreTERM: true})
	two := s.run(ref("u2", "c", 0), Program{IgnoreTERM: true})
	s.calm()
	s.signal(two, syscall.SIGKILL)
	s.woken("u2")
	s.exited(two, 137)
	s.calm()
	s.delete(one, two)
	// Nobody reads: nothing may block.
	for i := range uint32(5) {
		id := s.run(ref("u3", "c", i), Program{RunFor: time.Millisecond})
		s.exited(id, 0)
		s.delete(id)
	}
	s.calm()
	s.StopDaemon()
	s.woken("")
	s.calm()
	s.StartDaemon()
	s.woken("")
	s.awaitDaemon()
}
