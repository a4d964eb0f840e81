package probes

import (
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"github.com/davit-agent/davit/agent/lifecycle"
)

var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func at(seconds int) time.Time { return t0.Add(time.Duration(seconds) * time.Second) }

func none(time.Duration) time.Duration { return 0 }

// spec is "delay/period/successes/failures".
func spec(text string) *v1.Probe {
	if text == "" {
		return nil
	}
	p := &v1.Probe{TimeoutSeconds: 1}
	if _, err := fmt.Sscanf(text, "%d/%d/%d/%d", &p.InitialDelaySeconds, &p.PeriodSeconds, &p.SuccessThreshold, &p.FailureThreshold); err != nil {
		panic(err)
	}
	return p
}

func show(h lifecycle.Health) string {
	out := ""
	if h.Started {
		out += "S"
	}
	if h.Ready {
		out += "R"
	}
	if h.Failed != nil {
		out += "F" + h.Failed.Probe[:1]
	}
	return out
}

// play runs the probes of an attempt that begins at t0 in the order in which
// they are due, each finding what its letters say: + healthy, - unhealthy,
// ! errored, and S in place of one that the attempt is told to stop before. It
// returns what was probed when, and what came of it.
func play(v *vitals, answers [kinds]string, until time.Time) string {
	var out []string
	n := [kinds]int{}
	for {
		best, when := kinds, until
		for k := range kinds {
			if turn, due := v.next(k); turn == running && due.Before(when) && n[k] < len(answers[k]) {
				best, when = k, due
			}
		}
		if best == kinds {
			return strings.Join(out, " ")
		}
		letter := answers[best][n[best]]
		n[best]++
		if letter == 'S' {
			v.stopping = true
			continue
		}
		o := map[byte]outcome{'+': healthy, '-': unhealthy, '!': errored}[letter]
		was := show(v.health())
		changed := v.fold(best, o, best.String(), when)
		now := show(v.health())
		if changed != (was != now) {
			now += "?!"
		}
		out = append(out, fmt.Sprintf("%s%d%c", strings.ToLower(best.String()[:1]), int(when.Sub(t0).Seconds()), letter))
		if changed {
			out = append(out, "="+now)
		}
	}
}

func TestVitals(t *testing.T) {
	for name, c := range map[string]struct {
		startup, liveness, readiness string // spec
		s, l, r                      string // answers
		seen                         lifecycle.Probing
		before, want                 string
	}{
		"no probes": {before: "SR", want: ""},
		"readiness begins as unready": {readiness: "0/10/1/3", r: "-+-",
			before: "S", want: "r0- r10+ =SR r20-"},
		"readiness comes and goes": {readiness: "5/2/2/3", r: "+-++---++",
			before: "S", want: "r5+ r7- r9+ r11+ =SR r13- r15- r17- =S r19+ r21+ =SR"},
		"liveness begins as healthy": {liveness: "1/5/1/3", l: "--+--+---+++",
			before: "SR", want: "l1- l6- l11+ l16- l21- l26+ l31- l36- l41- =SRFl"},
		"one failure is enough": {liveness: "0/1/1/1", l: "-+", before: "SR", want: "l0- =SRFl"},
		"startup gates the others": {startup: "0/2/1/10", liveness: "0/10/1/1", readiness: "3/10/1/1", s: "--+++", l: "+-", r: "-+",
			before: "", want: "s0- s2- s4+ =S l4+ r4- l14- =SFl r14+ =SRFl"},
		"a delay outlasts the startup probe": {startup: "0/1/1/10", readiness: "7/10/1/1", s: "+", r: "+",
			before: "", want: "s0+ =S r7+ =SR"},
		"without readiness, started is ready": {startup: "2/1/1/2", s: "-+-", before: "", want: "s2- s3+ =SR"},
		"startup fails for good": {startup: "0/3/1/2", liveness: "0/1/1/1", readiness: "0/1/1/1", s: "+", l: "-", r: "+",
			seen: lifecycle.Probing{Stopping: true}, before: "", want: ""},
		"startup fails": {startup: "0/3/1/2", liveness: "0/1/1/1", readiness: "0/1/1/1", s: "--+", l: "-", r: "+",
			before: "", want: "s0- s3- =Fs"},
		"errors are nothing":          {liveness: "0/1/1/2", l: "-!!-!+", before: "SR", want: "l0- l1! l2! l3- =SRFl"},
		"an error does not end a row": {readiness: "0/1/2/1", r: "+!+", before: "S", want: "r0+ r1! r2+ =SR"},
		"goes on as recorded": {startup: "0/1/1/1", readiness: "0/10/1/3", s: "-", r: "--+---",
			seen: lifecycle.Probing{Started: true, Ready: true}, before: "SR", want: "r0- r10- r20+ r30- r40- r50- =S"},
		"recorded as unready": {startup: "0/1/1/1", readiness: "0/10/2/3", s: "-", r: "++",
			seen: lifecycle.Probing{Started: true}, before: "S", want: "r0+ r10+ =SR"},
		"stopping leaves readiness": {liveness: "0/1/1/1", readiness: "0/4/1/1", l: "++S--", r: "+--",
			before: "S", want: "l0+ r0+ =SR l1+ r4- =S r8-"},
		"stopping ends startup": {startup: "0/1/1/1", readiness: "0/1/1/1", s: "S-", r: "+", before: "", want: ""},
		"zero is one":           {readiness: "0/0/0/0", r: "-+-+", before: "S", want: "r0- r1+ =SR r2- =S r3+ =SR"},
	} {
		t.Run(name, func(t *testing.T) {
			con := &v1.Container{StartupProbe: spec(c.startup), LivenessProbe: spec(c.liveness), ReadinessProbe: spec(c.readiness)}
			c.seen.ID, c.seen.StartedAt = "id", t0
			v := newVitals(con, c.seen, t0, none)
			if got := show(v.health()); got != c.before {
				t.Errorf("begins with %q, want %q", got, c.before)
			}
			got := play(&v, [kinds]string{startup: c.s, liveness: c.l, readiness: c.r}, at(1000))
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if f := v.failed; f != nil && (f.Message != map[string]string{"startup": "Startup", "liveness": "Liveness"}[f.Probe] || f.At.Before(t0)) {
				t.Errorf("failed as %+v", f)
			}
			if v.health().ID != "id" {
				t.Errorf("health of attempt %q", v.health().ID)
			}
		})
	}
}

// The first probe: not before its delay has passed since the start, nor before
// its share of the spread.
func TestVitalsFirst(t *testing.T) {
	for name, c := range map[string]struct {
		started  time.Time
		delay    int32
		spread   time.Duration
		want     time.Duration // after now
		explains string
	}{
		"new":                  {started: t0, want: 0},
		"new, delayed":         {started: t0, delay: 30, want: 30 * time.Second},
		"within its delay":     {started: t0.Add(-10 * time.Second), delay: 30, want: 20 * time.Second},
		"long running":         {started: t0.Add(-time.Hour), delay: 30, want: 0},
		"long running, spread": {started: t0.Add(-time.Hour), delay: 30, spread: 7 * time.Second, want: 7 * time.Second},
		"the longer of both":   {started: t0.Add(-10 * time.Second), delay: 30, spread: 25 * time.Second, want: 25 * time.Second},
		"clock was set back":   {started: t0.Add(time.Hour), delay: 30, want: 30 * time.Second},
		"start not known":      {delay: 30, want: 0},
	} {
		con := &v1.Container{LivenessProbe: &v1.Probe{InitialDelaySeconds: c.delay, PeriodSeconds: 30}}
		v := newVitals(con, lifecycle.Probing{StartedAt: c.started}, t0, func(period time.Duration) time.Duration {
			if period != 30*time.Second {
				t.Errorf("%s: spread over %s", name, period)
			}
			return c.spread
		})
		if turn, due := v.next(liveness); turn != running || due.Sub(t0) != c.want {
			t.Errorf("%s: first after %s, want %s", name, due.Sub(t0), c.want)
		}
	}
}

// A probe that takes longer than its period is run again at once, and once only.
func TestVitalsLate(t *testing.T) {
	v := newVitals(&v1.Container{ReadinessProbe: spec("0/10/1/1")}, lifecycle.Probing{StartedAt: t0}, t0, none)
	for _, c := range []struct{ ended, due int }{{0, 10}, {13, 20}, {45, 45}, {46, 55}, {55, 65}} {
		v.fold(readiness, healthy, "", at(c.ended))
		if _, due := v.next(readiness); !due.Equal(at(c.due)) {
			t.Errorf("ended at %d s: due at %s, want %d s", c.ended, due.Sub(t0), c.due)
		}
	}
}

// Whatever the probes find: a result holds if, and only if, it is that of the
// last row that was long enough, counted by hand; what has failed stays failed
// and is not probed any more; nothing runs before the container has started.
func TestVitalsProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(label string) *v1.Probe {
			if !rapid.Bool().Draw(t, "has "+label) {
				return nil
			}
			n := func(what string, low, high int32) int32 { return rapid.Int32Range(low, high).Draw(t, label+" "+what) }
			p := &v1.Probe{InitialDelaySeconds: n("delay", 0, 9), PeriodSeconds: n("period", 1, 9), SuccessThreshold: 1, FailureThreshold: n("failures", 1, 4)}
			if label == "readiness" {
				p.SuccessThreshold = n("successes", 1, 4)
			}
			return p
		}
		con := &v1.Container{StartupProbe: draw("startup"), LivenessProbe: draw("liveness"), ReadinessProbe: draw("readiness")}
		seen := lifecycle.Probing{ID: "x", StartedAt: t0, Started: rapid.Bool().Draw(t, "started")}
		seen.Ready = seen.Started && rapid.Bool().Draw(t, "ready")
		v := newVitals(con, seen, t0, none)
		begunReady := seen.Ready
		history := map[kind][]outcome{}
		now := t0
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			k := kind(rapid.IntRange(0, int(kinds)-1).Draw(t, "kind"))
			o := rapid.SampledFrom([]outcome{healthy, healthy, unhealthy, unhealthy, errored}).Draw(t, "outcome")
			turn, due := v.next(k)
			was := v
			if turn == running {
				now = later(now, due)
			} else if v.fold(k, o, "late", now) || v != was {
				t.Fatalf("%s is not to be run, and its answer counts", k)
			} else {
				continue
			}
			if k != startup && !was.health().Started {
				t.Fatalf("%s runs before the container has started", k)
			}
			if k != readiness && was.failed != nil {
				t.Fatalf("%s runs although it has failed", k)
			}
			changed := v.fold(k, o, "m", now)
			if changed != (show(v.health()) != show(was.health())) {
				t.Fatalf("%s %v: changed is %v: %+v, %+v", k, o, changed, was.health(), v.health())
			}
			if turn, due := v.next(k); turn == running && due.Before(now) {
				t.Fatalf("%s is due at %s, which is over at %s", k, due, now)
			}
			if o != errored {
				history[k] = append(history[k], o)
			}
			h := v.health()
			started := seen.Started || con.StartupProbe == nil || lastRow(history[startup], con.StartupProbe) == healthy
			ready := started
			if p := con.ReadinessProbe; p != nil && started {
				row := lastRow(history[readiness], p)
				ready = row == healthy || row == errored && begunReady
			}
			fails := con.LivenessProbe != nil && lastRow(history[liveness], con.LivenessProbe) == unhealthy ||
				con.StartupProbe != nil && lastRow(history[startup], con.StartupProbe) == unhealthy
			if h.Started != started || h.Ready != ready || (h.Failed != nil) != fails {
				t.Fatalf("health is %s, want started %v, ready %v, failed %v", show(h), started, ready, fails)
			}
		}
	})
}

// lastRow is the outcome of the last row that was long enough; errored if none.
func lastRow(history []outcome, p *v1.Probe) outcome {
	for end := len(history); end > 0; end-- {
		o, need := history[end-1], int(p.SuccessThreshold)
		if o == unhealthy {
			need = int(p.FailureThreshold)
		}
		if end < need {
			continue
		}
		same := true
		for _, other := range history[end-need : end] {
			same = same && other == o
		}
		if same {
			return o
		}
	}
	return errored
}
