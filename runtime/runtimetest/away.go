package runtimetest

import (
	"errors"
	"syscall"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/test/testbed"
)

// awaitDaemon waits until the implementation reaches the daemon again.
func (s *suite) awaitDaemon() {
	s.t.Helper()
	testbed.Poll(s.t, limit, func() string {
		if _, err := s.Runtime().Image(s.t.Context(), s.Image()); err != nil {
			return err.Error()
		}
		return ""
	})
}

// restartAgent has another agent take over.
func (s *suite) restartAgent() {
	s.StopAgent()
	s.StartAgent()
}

// testDaemonAway ends a container while the daemon is away: all calls
// say so, List beside what is known, the exit is seen at once, and it stays when the daemon is back.
func testDaemonAway(s *suite) {
	soon := s.run(ref("u1", "soon", 0), Program{ExitCode: 42})
	stays := s.run(ref("u2", "stays", 0), Program{})
	created := s.create(ref("u3", "created", 0), Program{})
	cfg := s.config(ref("u4", "new", 0), Program{})
	pid := s.state(stays, runtime.StateRunning).Pid
	ends := s.ready(soon)
	s.StopDaemon()
	ctx, rt := s.t.Context(), s.Runtime()
	_, listErr := rt.List(ctx, "")
	_, imgErr := rt.Image(ctx, s.Image())
	_, execErr := rt.Exec(ctx, stays, runtime.ExecConfig{Command: []string{"/bin/podtool", "exit", "0"}})
	for what, err := range map[string]error{
		"list": listErr, "image": imgErr, "exec": execErr,
		"create": rt.Create(ctx, cfg),
		"start":  rt.Start(ctx, created),
		"signal": rt.Signal(ctx, stays, syscall.SIGTERM),
		"delete": rt.Delete(ctx, stays),
	} {
		if !errors.Is(err, runtime.ErrUnavailable) {
			s.t.Errorf("%s with the daemon away: %v, want ErrUnavailable", what, err)
		}
	}
	s.calm()
	s.Kill(ends)
	s.woken("u1")
	s.exited(soon, 42)
	if c := s.state(stays, runtime.StateRunning); c.Pid != pid {
		s.t.Errorf("pid %d became %d", pid, c.Pid)
	}
	if list := s.list("u2"); len(list) != 1 || list[0].ID != stays {
		s.t.Errorf("with the daemon away pod u2 has %+v", list)
	}
	s.StartDaemon()
	s.awaitDaemon()
	s.exited(soon, 42)
	if c := s.state(stays, runtime.StateRunning); c.Pid != pid {
		s.t.Errorf("pid %d became %d over the daemon's restart", pid, c.Pid)
	}
	s.delete(soon, stays, created)
}

// testAgentRestarts ends a container while the agent is away.
func testAgentRestarts(s *suite) {
	r := ref("u1", "stays", 0)
	stays := s.run(r, Program{})
	soon := s.run(ref("u1", "soon", 0), Program{ExitCode: 42})
	created := s.create(ref("u1", "created", 0), Program{})
	before, ends := s.state(stays, runtime.StateRunning), s.ready(soon)
	s.StopAgent()
	s.Kill(ends)
	s.StartAgent()
	s.exited(soon, 42)
	s.state(created, runtime.StateCreated)
	after := s.state(stays, runtime.StateRunning)
	if after.Pid != before.Pid || after.ContainerRef != r || !after.CreatedAt.Equal(before.CreatedAt) {
		s.t.Errorf("container was %+v, is %+v", before, after)
	}
	s.start(created)
	s.state(created, runtime.StateRunning)
	s.calm()
	s.signal(stays, syscall.SIGKILL)
	s.woken("u1")
	s.exited(stays, 137)
	s.delete(stays, soon, created)
}

// testAdoptAway starts an agent while the daemon is away.
func testAdoptAway(s *suite) {
	stays, soon := ref("u1", "stays", 0), ref("u1", "soon", 0)
	s.run(stays, Program{})
	late := ref("u2", "late", 0)
	s.run(soon, Program{ExitCode: 42})
	s.run(late, Program{ExitCode: 43})
	pid := s.state(stays.ID, runtime.StateRunning).Pid
	first, second := s.ready(soon.ID), s.ready(late.ID)
	s.StopDaemon()
	s.StopAgent()
	s.Kill(first)
	s.StartAgent()
	s.watcher().Adopt([]runtime.ContainerRef{stays, soon, late})
	s.exited(soon.ID, 42)
	s.state(late.ID, runtime.StateRunning)
	s.Kill(second)
	s.exited(late.ID, 43)
	if c := s.state(stays.ID, runtime.StateRunning); c.Pid != pid || c.ContainerRef != stays {
		s.t.Errorf("adopted container is %+v, had pid %d", c, pid)
	}
	s.StartDaemon()
	s.awaitDaemon()
	s.exited(soon.ID, 42)
	s.exited(late.ID, 43)
	s.state(stays.ID, runtime.StateRunning)
	s.delete(stays.ID, soon.ID, late.ID)
}

// testNeverStarted tells apart what was never started, by whether the daemon
// has restarted since.
func testNeverStarted(s *suite) {
	id := s.create(ref("u1", "c", 0), Program{})
	s.state(id, runtime.StateCreated)
	s.restartAgent()
	s.state(id, runtime.StateCreated)
	s.StopDaemon()
	s.StartDaemon()
	s.awaitDaemon()
	s.state(id, runtime.StateUnknown)
	s.restartAgent()
	s.state(id, runtime.StateUnknown)
	// The caller knows that it never meant to start it; then it may.
	s.start(id)
	s.state(id, runtime.StateRunning)
	s.delete(id)
}
