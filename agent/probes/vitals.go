package probes

import (
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/lifecycle"
)

// kind is one of the three probes.
type kind int

const (
	startup kind = iota
	liveness
	readiness
	kinds // how many there are
)

// String is the word that kubelet begins its messages with.
func (k kind) String() string { return [...]string{"Startup", "Liveness", "Readiness"}[k] }

// probeOf is the container's probe of this kind; nil if it has none.
func probeOf(c *v1.Container, k kind) *v1.Probe {
	return [...]*v1.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe}[k]
}

// outcome is what one probe found.
type outcome int

const (
	errored outcome = iota // nothing: it could not be made
	healthy
	unhealthy
)

// vital is one probe of one attempt.
type vital struct {
	wanted    bool // the container has this probe
	period    time.Duration
	successes int // in a row that count as one
	failures  int

	last outcome   // and
	run  int       // how often in a row
	due  time.Time // the next
}

// vitals is what the probes of one attempt have come to. It is a value: the
// clock is the caller's, who runs each probe when due says so and tells fold.
type vitals struct {
	id       string
	started  bool
	ready    bool // by its readiness probe
	stopping bool
	failed   *lifecycle.Unhealthy
	probes   [kinds]vital
}

// newVitals begins with what is recorded of an attempt. spread is asked, for
// each probe, how much of its period to wait before the first.
func newVitals(c *v1.Container, p lifecycle.Probing, now time.Time, spread func(period time.Duration) time.Duration) vitals {
	v := vitals{
		id: p.ID, started: p.Started || c.StartupProbe == nil,
		ready: p.Ready || c.ReadinessProbe == nil, stopping: p.Stopping,
	}
	// Times are reckoned from now, which may carry a monotonic clock: setting the
	// other one back must not stop the probes.
	age := max(now.Sub(p.StartedAt), 0)
	for k := range kinds {
		spec := probeOf(c, k)
		if spec == nil {
			continue
		}
		period := seconds(spec.PeriodSeconds)
		v.probes[k] = vital{
			wanted: true, period: period,
			successes: int(max(spec.SuccessThreshold, 1)), failures: int(max(spec.FailureThreshold, 1)),
			due: now.Add(max(time.Duration(spec.InitialDelaySeconds)*time.Second-age, spread(period), 0)),
		}
	}
	return v
}

// seconds is at least one: a period or timeout of zero is what defaulting would
// not have left.
func seconds(n int32) time.Duration { return time.Duration(max(n, 1)) * time.Second }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// turn is what a probe has before it.
type turn int

const (
	over    turn = iota // it is never run again
	waiting             // for the startup probe to succeed
	running             // it is due at a time
)

// next tells when a probe is to run.
func (v *vitals) next(k kind) (turn, time.Time) {
	switch {
	case !v.probes[k].wanted,
		k != readiness && (v.stopping || v.failed != nil),
		k == startup && v.started,
		k == readiness && v.stopping && !v.started:
		return over, time.Time{}
	case k != startup && !v.started:
		return waiting, time.Time{}
	}
	return running, v.probes[k].due
}

// fold takes in what a probe found, and tells whether health has changed.
func (v *vitals) fold(k kind, o outcome, message string, now time.Time) (changed bool) {
	if turn, _ := v.next(k); turn != running {
		return false // an answer that comes too late
	}
	p := &v.probes[k]
	// Late ones do not make up for lost time.
	p.due = later(p.due.Add(p.period), now)
	if o == errored {
		return false
	}
	if o == p.last {
		p.run++
	} else {
		p.last, p.run = o, 1
	}
	need := p.successes
	if o == unhealthy {
		need = p.failures
	}
	if p.run < need {
		return false
	}
	was := v.health()
	switch {
	case k == readiness:
		v.ready = o == healthy
	case k == startup && o == healthy:
		v.start(now)
	case o == unhealthy:
		v.failed = &lifecycle.Unhealthy{Probe: map[kind]string{startup: "startup", liveness: "liveness"}[k], Message: message, At: now}
	}
	return v.health() != was
}

// start lets the other probes begin.
func (v *vitals) start(now time.Time) {
	v.started = true
	for _, k := range []kind{liveness, readiness} {
		v.probes[k].due = later(v.probes[k].due, now)
	}
}

func (v *vitals) health() lifecycle.Health {
	return lifecycle.Health{ID: v.id, Started: v.started, Ready: v.started && v.ready, Failed: v.failed}
}
