package scenario

import (
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
)

// Play is the cursor of a scenario that is played. A player creates the objects
// and the pod, begins a Play, and then, whenever it sees the pod anew and
// whenever the time that Next told has come, does what Next says:
//
//	play := scenario.Begin(s, now)
//	for !play.Done() {
//		play.See(pod, now)           // nil: gone
//		actions, wake := play.Next(now)
//		... do the actions; wait for a sight or until wake ...
//	}
type Play struct {
	scenario *Scenario
	created  time.Time
	done     int       // actions of the script that were handed out
	since    time.Time // when what the next one waits for was seen
	last     *v1.Pod   // as it was seen last
	seen     bool
	over     bool
	err      error
}

// Begin begins a play of a pod that was created now.
func Begin(s *Scenario, now time.Time) *Play {
	p := &Play{scenario: s, created: now}
	p.arm()
	return p
}

// next is the moment that is waited for.
func (p *Play) next() Moment {
	if p.done < len(p.scenario.Script) {
		return p.scenario.Script[p.done].Moment
	}
	return p.scenario.Until.Moment
}

// arm begins to wait for the next moment.
func (p *Play) arm() {
	p.since = time.Time{}
	if w := p.next().When; w == "" || w == "created" {
		p.since = p.created
	}
}

// See tells how the pod is; nil: it is gone.
func (p *Play) See(pod *v1.Pod, now time.Time) {
	p.last, p.seen = pod, true
	if p.since.IsZero() && p.next().When.Seen(pod) {
		p.since = now
	}
}

// Next returns the actions whose moment has come, in their order, and when to
// ask again at the latest, if nothing is seen before. What the next action waits
// for may be there already: then its time counts from this one.
func (p *Play) Next(now time.Time) (due []Action, wake time.Time) {
	limit := p.created.Add(p.scenario.Until.Limit.Duration)
	for !p.over {
		if p.since.IsZero() {
			break
		}
		if at := p.since.Add(p.next().At.Duration); now.Before(at) {
			if at.Before(limit) {
				return due, at
			}
			break
		}
		if p.done == len(p.scenario.Script) {
			p.over = true
			return due, now
		}
		if a := &p.scenario.Script[p.done]; a.set() > 0 {
			due = append(due, *a)
		}
		p.done++
		p.arm()
		if p.since.IsZero() && p.seen {
			p.See(p.last, now)
		}
	}
	if !p.over && !now.Before(limit) {
		p.over = true
		p.err = fmt.Errorf("playing %s: after %v it still waits for %q (action %d of %d)", p.scenario.Name,
			p.scenario.Until.Limit.Duration, p.next().When, p.done+1, len(p.scenario.Script)+1)
	}
	return due, limit
}

// Done tells whether the play has ended.
func (p *Play) Done() bool { return p.over }

// Err returns why a play that has ended did not come to its end.
func (p *Play) Err() error { return p.err }
