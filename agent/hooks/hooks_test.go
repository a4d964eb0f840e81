package hooks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/davit-agent/davit/agent/lifecycle"
)

// quay is a runner with all that is around it; commands are answered by exec.
type quay struct {
	*Runner
	exec func(ctx context.Context, id string, command []string, limit int) (int, []byte, error)
	dial func(ctx context.Context, uid string, addr netip.AddrPort) (net.Conn, error)

	mu     sync.Mutex
	wakes  []string
	events []string
	log    bytes.Buffer
}

func (q *quay) Exec(ctx context.Context, id string, command []string, limit int) (int, []byte, error) {
	return q.exec(ctx, id, command, limit)
}

func (q *quay) Dial(ctx context.Context, uid string, addr netip.AddrPort) (net.Conn, error) {
	return q.dial(ctx, uid, addr)
}

func (q *quay) Event(pod *v1.Pod, container, eventType, reason, message string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.events = append(q.events, fmt.Sprintf("%s/%s %s %s %s", pod.Name, container, eventType, reason, message))
}

// Write keeps what is logged.
func (q *quay) Write(p []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.log.Write(p)
}

func (q *quay) woken() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	defer func() { q.wakes = nil }()
	return strings.Join(q.wakes, " ")
}

// newQuay runs a runner until the test ends.
func newQuay(t *testing.T) *quay {
	q := &quay{}
	q.exec = func(context.Context, string, []string, int) (int, []byte, error) {
		t.Error("a command was run")
		return 0, nil, nil
	}
	q.dial = func(ctx context.Context, uid string, addr netip.AddrPort) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", addr.String())
	}
	q.Runner = New(Config{
		Exec: q, Dial: q, Events: q,
		Logger: slog.New(slog.NewTextHandler(q, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Wake: func(uid string) {
			q.mu.Lock()
			defer q.mu.Unlock()
			q.wakes = append(q.wakes, uid)
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		q.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return q
}

// hookOf is a request for a hook of attempt id of a pod.
func hookOf(uid, id string, kind lifecycle.HookKind, h v1.LifecycleHandler) Request {
	c := &v1.Container{Name: "c", Ports: []v1.ContainerPort{{Name: "web", ContainerPort: 1}}, Lifecycle: &v1.Lifecycle{}}
	switch kind {
	case lifecycle.PostStart:
		c.Lifecycle.PostStart = &h
	case lifecycle.PreStop:
		c.Lifecycle.PreStop = &h
	}
	return Request{
		UID: uid, ID: id, Kind: kind, Container: c, PodIP: netip.MustParseAddr("127.0.0.1"),
		Pod: &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: types.UID(uid)}, Spec: v1.PodSpec{Containers: []v1.Container{*c}}},
	}
}

func execHook(command ...string) v1.LifecycleHandler {
	return v1.LifecycleHandler{Exec: &v1.ExecAction{Command: command}}
}

func sleepHook(seconds int64) v1.LifecycleHandler {
	return v1.LifecycleHandler{Sleep: &v1.SleepAction{Seconds: seconds}}
}

// state is "id kind" of each hook of a pod, "+" if it ended well, "!" if it
// failed.
func (q *quay) state(uid string) string {
	var out []string
	for _, s := range q.Seen(uid) {
		text := s.ID + " " + string(s.Kind)
		if s.Failure != "" {
			text += "!"
		} else if s.Done {
			text += "+"
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

func TestBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuay(t)
		ran := map[string]int{}
		q.exec = func(ctx context.Context, id string, command []string, _ int) (int, []byte, error) {
			q.mu.Lock()
			ran[id+" "+command[0]]++
			q.mu.Unlock()
			select {
			case <-time.After(time.Minute):
			case <-ctx.Done():
				return 0, nil, ctx.Err()
			}
			return len(command) - 1, nil, nil
		}
		all := []Request{
			hookOf("u", "a", lifecycle.PreStop, execHook("stop")),
			hookOf("u", "a", lifecycle.PostStart, execHook("start", "and fail")),
			hookOf("u", "b", lifecycle.PostStart, sleepHook(0)),
			hookOf("v", "c", lifecycle.PostStart, execHook("start")),
			hookOf("v", "d", lifecycle.PreStop, v1.LifecycleHandler{Exec: &v1.ExecAction{Command: []string{"stop"}}}),
		}
		beginAll := func() {
			for _, r := range all {
				q.Begin(r)
			}
			synctest.Wait()
		}
		beginAll()
		if got := q.state("u"); got != "a postStart, a preStop, b postStart+" {
			t.Errorf("begun: %s", got)
		}
		time.Sleep(30 * time.Second)
		beginAll()
		if got := q.woken(); got != "u" {
			t.Errorf("woken: %q", got)
		}
		q.Release("v", "c")
		synctest.Wait()
		if got := q.state("v"); got != "d preStop" {
			t.Errorf("after one was released: %s", got)
		}
		time.Sleep(time.Minute)
		all = slices.Delete(all, 3, 4)
		beginAll()
		if got := q.state("u") + ", " + q.state("v"); got != "a postStart!, a preStop+, b postStart+, d preStop+" {
			t.Errorf("ended: %s", got)
		}
		if got := strings.Split(q.woken(), " "); len(got) != 3 {
			t.Errorf("woken: %q", got)
		}
		if got := fmt.Sprint(ran); got != "map[a start:1 a stop:1 c start:1 d stop:1]" {
			t.Errorf("ran %s", got)
		}
		q.Release("u", "a")
		q.Release("none", "a")
		if got := q.state("u"); got != "b postStart+" {
			t.Errorf("after release: %s", got)
		}
		q.Release("u", "b")
		if _, ok := q.pods["u"]; ok {
			t.Error("something is kept of a pod whose hooks were released")
		}
		// Released, it is another hook.
		q.Begin(all[0])
		q.Begin(all[1])
		q.Release("u", "")
		synctest.Wait()
		if got := q.Seen("u"); got != nil {
			t.Errorf("after all were released: %v", got)
		}
		if got := q.woken(); got != "" {
			t.Errorf("woken for what is released: %q", got)
		}
	})
}

func TestNoSuchHook(t *testing.T) {
	q := newQuay(t)
	r := hookOf("u", "a", lifecycle.PreStop, sleepHook(1))
	r.Kind = lifecycle.PostStart
	q.Begin(r)
	if got := q.state("u"); got != "a postStart+" {
		t.Errorf("begun: %s", got)
	}
	r.ID, r.Container = "b", &v1.Container{}
	q.Begin(r)
	if got := q.state("u"); got != "a postStart+, b postStart+" {
		t.Errorf("begun: %s", got)
	}
}

func TestLeaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuay(t)
		ended := false
		q.exec = func(ctx context.Context, _ string, _ []string, _ int) (int, []byte, error) {
			<-ctx.Done()
			ended = true
			return 137, nil, nil
		}
		q.Begin(hookOf("u", "a", lifecycle.PreStop, execHook("x")))
		q.Begin(hookOf("u", "b", lifecycle.PreStop, sleepHook(100)))
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		q.Run(ctx)
		q.Begin(hookOf("u", "c", lifecycle.PreStop, sleepHook(0)))
		if got := q.state("u"); !ended || got != "a preStop, b preStop" || q.woken() != "" {
			t.Errorf("ended %v, %s", ended, got)
		}
	})
}

const where = ` for Container "c" in Pod "p_ns(u)" failed - error: `

func TestHandlers(t *testing.T) {
	for name, c := range map[string]struct {
		h        v1.LifecycleHandler
		deadline time.Duration
		took     time.Duration
		want     string
	}{
		"exec":  {h: execHook("ok"), want: ""},
		"fails": {h: execHook("fails", "$(A)"), want: "Exec lifecycle hook ([fails $(A)])" + where + `command 'fails $(A)' exited with 3: no` + "\uFFFD" + `, message: "no` + "\uFFFD" + `"`},
		"missing": {h: execHook("missing"), want: "Exec lifecycle hook ([missing])" + where +
			`executable file not found in $PATH, message: ""`},
		"slow":             {h: execHook("slow"), took: time.Minute},
		"slow, in time":    {h: execHook("slow"), deadline: 61 * time.Second, took: time.Minute},
		"slow, at its end": {h: execHook("slow"), deadline: 30 * time.Second, took: 30 * time.Second, want: "Exec lifecycle hook ([slow])" + where + `command 'slow' exited with 137: , message: ""`},
		"killed": {h: execHook("killed"), deadline: 30 * time.Second, took: 30 * time.Second, want: "Exec lifecycle hook ([killed])" + where +
			`command 'killed' exited with 137: half, message: "half"`},
		"too late":      {h: execHook("slow"), deadline: -time.Second, want: "Exec lifecycle hook ([slow])" + where + `command 'slow' exited with 137: , message: ""`},
		"sleep":         {h: sleepHook(20), took: 20 * time.Second},
		"sleep, in all": {h: sleepHook(20), deadline: 10 * time.Second, took: 10 * time.Second},
		"no sleep":      {h: sleepHook(0)},
		"tcpSocket": {h: v1.LifecycleHandler{TCPSocket: &v1.TCPSocketAction{Port: intstr.FromInt32(80)}},
			want: "Cannot run handler: invalid handler: &LifecycleHandler{Exec:nil,HTTPGet:nil,TCPSocket:&TCPSocketAction{Port:{0 80 },Host:,},Sleep:nil,}"},
		"nothing": {h: v1.LifecycleHandler{}, want: "Cannot run handler: invalid handler: &LifecycleHandler{Exec:nil,HTTPGet:nil,TCPSocket:nil,Sleep:nil,}"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newQuay(t)
				q.exec = func(ctx context.Context, id string, command []string, limit int) (int, []byte, error) {
					if id != "a" || limit != 10240 {
						t.Errorf("command in %q, limit %d", id, limit)
					}
					switch command[0] {
					case "fails":
						return 3, []byte("no\xff"), nil
					case "missing":
						return 0, nil, errors.New("executable file not found in $PATH")
					case "killed":
						<-ctx.Done()
						return 137, []byte("half"), nil
					case "slow":
						select {
						case <-time.After(time.Minute):
						case <-ctx.Done():
							return 0, nil, ctx.Err()
						}
					}
					return 0, []byte("fine"), nil
				}
				r := hookOf("u", "a", lifecycle.PreStop, c.h)
				if c.deadline != 0 {
					r.Deadline = time.Now().Add(c.deadline)
				}
				q.Begin(r)
				if c.took > 0 {
					time.Sleep(c.took - time.Nanosecond)
					synctest.Wait()
					if got := q.state("u"); got != "a preStop" {
						t.Errorf("too early: %s", got)
					}
					time.Sleep(time.Nanosecond)
				}
				synctest.Wait()
				want := []lifecycle.HookSeen{{ID: "a", Kind: lifecycle.PreStop, Done: true, Failure: c.want}}
				if got := q.Seen("u"); !slices.Equal(got, want) {
					t.Errorf("got  %+v\nwant %+v", got, want)
				}
				if got := q.woken(); got != "u" {
					t.Errorf("woken: %q", got)
				}
				if log := q.log.String(); strings.Contains(log, "half") || strings.Contains(log, "exited") || (c.want != "") != strings.Contains(log, "level=INFO") {
					t.Errorf("log: %s", log)
				}
			})
		})
	}
}
