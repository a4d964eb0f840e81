package actor_test

import (
	"strings"
	"testing"
	"time"

	"github.com/davit-agent/davit/test/oracle/actor"
)

const sec = time.Second

func parse(t *testing.T, text string) *actor.Program {
	t.Helper()
	p, err := actor.Parse(strings.Fields(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return p
}

func TestAttempts(t *testing.T) {
	p := parse(t, "as side wait 3s exit 1 -- wait 4s oom -- run")
	if p.Name != "side" || len(p.Attempts) != 3 {
		t.Fatalf("%+v", p)
	}
	for n, want := range map[int]actor.End{0: {At: 3 * sec, Code: 1}, 1: {At: 4 * sec, Code: 137, OOM: true}} {
		if end, ok := p.Attempt(n).End(); !ok || end != want {
			t.Errorf("attempt %d ends with %v, %v", n, end, ok)
		}
	}
	for _, n := range []int{2, 3, 100} {
		if end, ok := p.Attempt(n).End(); ok {
			t.Errorf("attempt %d ends: %v", n, end)
		}
	}
}

func TestEnd(t *testing.T) {
	term := func(at time.Duration) actor.Sent { return actor.Sent{Signal: "TERM", At: at} }
	kill := func(at time.Duration) actor.Sent { return actor.Sent{Signal: "KILL", At: at} }
	for _, c := range []struct {
		text    string
		signals []actor.Sent
		want    actor.End
		never   bool
	}{
		{"run", []actor.Sent{term(5 * sec)}, actor.End{At: 5 * sec}, false},
		{"on-term 2s 7 run", []actor.Sent{term(5 * sec)}, actor.End{At: 7 * sec, Code: 7}, false},
		{"on-term 9s 7 run", []actor.Sent{term(5 * sec), kill(8 * sec)}, actor.End{At: 8 * sec, Code: 137}, false},
		{"ignore-term run", []actor.Sent{term(5 * sec)}, actor.End{}, true},
		{"ignore-term wait 9s exit 3", []actor.Sent{term(5 * sec)}, actor.End{At: 9 * sec, Code: 3}, false},
		{"on-term 2s 7 wait 6s exit 3", []actor.Sent{term(5 * sec)}, actor.End{At: 6 * sec, Code: 3}, false},
		{"ignore-term on-usr1 1s 4 run", []actor.Sent{term(sec), {Signal: "USR1", At: 2 * sec}}, actor.End{At: 3 * sec, Code: 4}, false},
		{"run", []actor.Sent{{Signal: "USR1", At: sec}}, actor.End{}, true},
	} {
		end, ok := parse(t, c.text).Attempt(0).End(c.signals...)
		if ok == c.never || end != c.want && ok {
			t.Errorf("%s, %v: %v, %v", c.text, c.signals, end, ok)
		}
	}
}

func TestSchedules(t *testing.T) {
	for text, want := range map[string]string{ // one letter a second
		"run":                   "yyyyyyyy",
		"ready never run":       "nnnnnnnn",
		"ready 2s- run":         "nnyyyyyy",
		"ready -3s run":         "yyynnnnn",
		"ready 1s-2s,4s-6s run": "nynnyynn",
	} {
		got := ""
		for i := range 8 {
			r := parse(t, text).Attempt(0).Exec([]string{"check", "ready"}, time.Duration(i)*sec)
			if r.OK != (r.Code == 0) {
				t.Errorf("%s: %+v", text, r)
			}
			got += map[bool]string{true: "y", false: "n"}[r.OK]
		}
		if got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                     "says not how it ends",
		"wait 3s":              "says not how it ends",
		"run exit 1":           "stands after the end",
		"exit 256":             "no number from 0 to 255",
		"wait soon exit 1":     "no duration",
		"wait":                 "a duration is missing",
		"jump":                 "no word",
		"run --":               "attempt 1",
		"ready 5s run":         "no times",
		"ready 5s-3s run":      "no times",
		"ready 1s-,5s- run":    "no times",
		"ready 4s-6s,5s- run":  "no times",
		"ready 1s-2s,0s-1s -,": "no times",
		"http 70000 run":       "no number",
		"message /x":           "a text is missing",
	} {
		if _, err := actor.Parse(strings.Fields(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestHTTP(t *testing.T) {
	a := parse(t, "http 80 ready 2s- run").Attempt(0)
	for _, c := range []struct {
		r     actor.Request
		since time.Duration
		code  int
		takes time.Duration
	}{
		{actor.Request{Path: "/ready"}, sec, 503, 0},
		{actor.Request{Path: "/ready"}, 2 * sec, 200, 0},
		{actor.Request{Path: "/live"}, sec, 200, 0},
		{actor.Request{Path: "/redirect/ready"}, sec, 302, 0},
		{actor.Request{Path: "/hook/3s/500"}, sec, 500, 3 * sec},
		{actor.Request{Path: "/header/A/b", Header: map[string]string{"a": "b"}}, sec, 200, 0},
		{actor.Request{Path: "/header/A/b", Header: map[string]string{"a": "c"}}, sec, 400, 0},
		{actor.Request{Path: "/host/x.y", Host: "x.y:80"}, sec, 200, 0},
		{actor.Request{Path: "/host/x.y", Host: "10.0.0.1:80"}, sec, 400, 0},
		{actor.Request{Path: "/"}, sec, 404, 0},
	} {
		if r := a.HTTP(c.r, c.since); r.Code != c.code || r.Takes != c.takes || r.OK != (c.code < 400) {
			t.Errorf("%+v at %v: %+v", c.r, c.since, r)
		}
	}
}

func TestListens(t *testing.T) {
	a := parse(t, "http 80 tcp 81 ready 2s- run").Attempt(0)
	for _, c := range []struct {
		port  int
		since time.Duration
		want  string
	}{{80, 0, "http"}, {81, sec, ""}, {81, 2 * sec, "tcp"}, {82, 0, ""}} {
		if got := a.Listens(c.port, c.since); got != c.want {
			t.Errorf("port %d at %v: %q, want %q", c.port, c.since, got, c.want)
		}
	}
}
