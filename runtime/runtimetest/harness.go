package runtimetest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/test/testbed"
)

// Harness is a node with the implementation under test. A new one has no
// containers. It removes itself when its test ends.
type Harness interface {
	Machine
	// Runtime returns the implementation as the agent of now has it, which is
	// also a runtime.Watcher.
	Runtime() runtime.Runtime
	// Image returns the name of an image with podtool in /bin.
	Image() string
	// Config makes a configuration of a container that runs args in namespaces
	// of its own and logs to a file.
	Config(ref runtime.ContainerRef, img *runtime.Image, args []string) *runtime.ContainerConfig
	// Leaks returns what containers have left behind, one line each.
	Leaks() []string
}

// Machine is what happens past the implementation under test.
type Machine interface {
	// StopAgent has the agent end; no container notices. Its Runtime is not
	// used any more. StartAgent starts one anew, which knows nothing but what
	// Adopt will tell it.
	StopAgent()
	StartAgent()
	// StopDaemon takes the container daemon away, StartDaemon brings it back.
	StopDaemon()
	StartDaemon()
	// Heeds tells whether the program of a running container has come so far
	// that it does at a signal what Program says.
	Heeds(c runtime.Container) bool
	// Kill sends SIGTERM to the process of a running container and waits for
	// its end.
	Kill(c runtime.Container)
}

// Program is what a container of the suite does.
type Program struct {
	// ExitCode is that of its own end or, without one, of SIGTERM.
	ExitCode   int
	RunFor     time.Duration // until its own end; 0 is never
	IgnoreTERM bool          // SIGTERM does not end it
	Missing    bool          // there is no such program
}

// Args returns the command line that has podtool behave so.
func (p Program) Args() []string {
	switch {
	case p.Missing:
		return []string{"/bin/none"}
	case p.IgnoreTERM:
		return []string{"/bin/podtool", "ignore-term"}
	case p.RunFor == 0:
		return []string{"/bin/podtool", "sleep", forEver.String(), strconv.Itoa(p.ExitCode)}
	}
	return []string{"/bin/podtool", "exit", strconv.Itoa(p.ExitCode), p.RunFor.String()}
}

// forEver is longer than any test runs.
const forEver = 1000 * time.Hour

// limit is how long anything may take on a busy machine.
const limit = time.Minute

// suite is one test on one harness.
type suite struct {
	Harness
	t *testing.T
}

// ref names a container of a pod.
func ref(pod, name string, attempt uint32) runtime.ContainerRef {
	return runtime.ContainerRef{
		Pod:  runtime.PodRef{UID: pod, Namespace: "default", Name: "pod-" + pod},
		Name: name, Attempt: attempt, ID: runtime.ContainerID(pod, name, attempt),
	}
}

func (s *suite) watcher() runtime.Watcher { return s.Runtime().(runtime.Watcher) }

func (s *suite) config(r runtime.ContainerRef, p Program) *runtime.ContainerConfig {
	s.t.Helper()
	img, err := s.Runtime().Image(s.t.Context(), s.Image())
	if err != nil {
		s.t.Fatalf("image: %v", err)
	}
	return s.Config(r, img, p.Args())
}

// create makes a container and returns its ID.
func (s *suite) create(r runtime.ContainerRef, p Program) string {
	s.t.Helper()
	if err := s.Runtime().Create(s.t.Context(), s.config(r, p)); err != nil {
		s.t.Fatalf("creating %s: %v", r.Name, err)
	}
	return r.ID
}

func (s *suite) start(id string) {
	s.t.Helper()
	if err := s.Runtime().Start(s.t.Context(), id); err != nil {
		s.t.Fatalf("starting: %v", err)
	}
}

func (s *suite) run(r runtime.ContainerRef, p Program) string {
	s.t.Helper()
	id := s.create(r, p)
	s.start(id)
	return id
}

func (s *suite) signal(id string, sig syscall.Signal) {
	s.t.Helper()
	if err := s.Runtime().Signal(s.t.Context(), id, sig); err != nil {
		s.t.Fatalf("sending signal %d: %v", int(sig), err)
	}
}

func (s *suite) delete(ids ...string) {
	s.t.Helper()
	for _, id := range ids {
		if err := s.Runtime().Delete(context.Background(), id); err != nil {
			s.t.Errorf("deleting: %v", err)
		}
	}
}

func (s *suite) list(uid string) []runtime.Container {
	s.t.Helper()
	list, err := s.Runtime().List(s.t.Context(), uid)
	// Without the daemon what is in the list is true all the same.
	if err != nil && !errors.Is(err, runtime.ErrUnavailable) {
		s.t.Fatalf("listing: %v", err)
	}
	return list
}

// find returns a container as List shows it, nil if it does not.
func (s *suite) find(id string) *runtime.Container {
	s.t.Helper()
	for _, c := range s.list("") {
		if c.ID == id {
			return &c
		}
	}
	return nil
}

// state waits until a container is in a state, and returns it.
func (s *suite) state(id string, want runtime.State) runtime.Container {
	s.t.Helper()
	var got *runtime.Container
	testbed.Poll(s.t, limit, func() string {
		if got = s.find(id); got != nil && got.State == want {
			return ""
		}
		return fmt.Sprintf("container is %+v, want state %s", got, want)
	})
	switch c := *got; {
	case (c.Exit != nil) != (c.State == runtime.StateExited):
		s.t.Errorf("state %s with exit %v", c.State, c.Exit)
	case (c.Pid != 0) != (c.State == runtime.StateRunning):
		s.t.Errorf("state %s with pid %d", c.State, c.Pid)
	}
	return *got
}

// ready waits until a container runs and its program heeds signals; before, a
// signal does to it what it does to any program.
func (s *suite) ready(id string) runtime.Container {
	s.t.Helper()
	c := s.state(id, runtime.StateRunning)
	testbed.Poll(s.t, limit, func() string {
		if s.Heeds(c) {
			return ""
		}
		return fmt.Sprintf("the program of %s does not heed signals", c.Name)
	})
	return c
}

// exited waits for a container's end and checks the exit code.
func (s *suite) exited(id string, code int32) runtime.Container {
	s.t.Helper()
	c := s.state(id, runtime.StateExited)
	if c.Exit.Code != code {
		s.t.Errorf("exit code %d, want %d", c.Exit.Code, code)
	}
	if c.Exit.At.Before(c.CreatedAt) || c.Exit.At.After(time.Now().Add(time.Second)) {
		s.t.Errorf("it ended at %v, was created at %v", c.Exit.At, c.CreatedAt)
	}
	return c
}

// woken waits for a wake that concerns a pod.
func (s *suite) woken(uid string) {
	s.t.Helper()
	deadline := time.After(limit)
	for {
		select {
		case got := <-s.watcher().Events():
			if got == uid || got == "" {
				return
			}
		case <-deadline:
			s.t.Fatalf("no event for pod %s", uid)
		}
	}
}

// calm takes events until none has come for a while.
func (s *suite) calm() {
	for {
		select {
		case <-s.watcher().Events():
		case <-time.After(300 * time.Millisecond):
			return
		}
	}
}

func (s *suite) noLeaks() {
	s.t.Helper()
	if list := s.list(""); len(list) > 0 {
		s.t.Errorf("containers are left: %+v", list)
	}
	for _, leak := range s.Leaks() {
		s.t.Errorf("left behind: %s", leak)
	}
}
