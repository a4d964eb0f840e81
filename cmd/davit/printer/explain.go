package printer

import (
	"fmt"
	"io"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/davit-agent/davit/agent/server/wire"
)

// Explanation prints an explanation for people.
func Explanation(out io.Writer, e *wire.Explanation, now time.Time) {
	p := &explainer{out: out, now: now}
	if e.Pod == nil {
		p.line("Pod:    %s/%s", e.Namespace, e.Name)
		p.line("Why:    there is no such pod, since what defines it is refused")
		p.problems(e.Problems)
		p.section("Next")
		p.line("  once that is repaired   the pod starts, within a second")
		return
	}
	p.line("Pod:    %s/%s (uid %s)", e.Namespace, e.Name, e.UID)
	if e.Origin != "" {
		p.line("From:   %s", e.Origin)
	}
	phase := string(e.Pod.Phase)
	if !e.Pod.Since.IsZero() {
		phase += fmt.Sprintf(", on this node for %s", duration.HumanDuration(now.Sub(e.Pod.Since)))
	}
	p.line("Phase:  %s", phase)
	p.line("Why:    %s", e.Pod.Why)
	p.containers(e)
	p.waits(e)
	p.next(e)
	if e.Successor != "" {
		p.line("\nThe pod of the manifest as it is now (uid %s) starts when this one is gone.", e.Successor)
	}
	p.problems(e.Problems)
}

// explainer prints the parts of an explanation.
type explainer struct {
	out io.Writer
	now time.Time
}

// line prints a line; line breaks are the format's own only.
func (p *explainer) line(format string, args ...any) {
	for i, a := range args {
		if s, ok := a.(string); ok {
			args[i] = Safe(s)
		}
	}
	fmt.Fprintf(p.out, format+"\n", args...)
}

func (p *explainer) section(name string) { fmt.Fprintf(p.out, "\n%s:\n", name) }

// when tells people of a time to come, or past.
func (p *explainer) when(t time.Time) string {
	switch d := t.Sub(p.now); {
	case t.IsZero():
		return "when it happens"
	case d > 0:
		return "in " + duration.HumanDuration(d+time.Second-1) // rounded up: it is not over before
	default:
		return "now"
	}
}

func (p *explainer) ago(t time.Time) string {
	if t.IsZero() {
		return "at an unknown time"
	}
	return duration.HumanDuration(p.now.Sub(t)) + " ago"
}

func (p *explainer) containers(e *wire.Explanation) {
	p.section("Containers")
	for _, c := range e.Pod.Containers {
		state := c.State
		switch {
		case c.State == "running" && !c.Since.IsZero():
			state += " for " + duration.HumanDuration(p.now.Sub(c.Since))
		case c.State == "terminated" && len(c.Ends) > 0:
			state = "ended " + p.ago(c.Ends[0].At)
		}
		if c.Reason != "" {
			state += ": " + c.Reason
		}
		if c.Restarts > 0 {
			state += fmt.Sprintf(", %d restart(s)", c.Restarts)
		}
		p.line("  %s (%s): %s", c.Name, c.Kind, state)
		for _, end := range c.Ends {
			how := fmt.Sprintf("attempt %d ended %s with code %d", end.Attempt, p.ago(end.At), end.Code)
			if !end.Started.IsZero() {
				how += " after " + duration.HumanDuration(end.At.Sub(end.Started))
			}
			how += " (" + end.Reason + ")"
			if end.Message != "" {
				how += ": " + end.Message
			}
			p.line("    %s", how)
		}
	}
}

func (p *explainer) waits(e *wire.Explanation) {
	if len(e.Pod.Waits) == 0 {
		return
	}
	p.section("Waits for")
	for _, w := range e.Pod.Waits {
		who := "the pod"
		if w.Container != "" {
			who = w.Container
		}
		text := fmt.Sprintf("%s: %s: %s", who, w.Cause, w.Detail)
		if len(w.For) > 0 {
			text += " [" + strings.Join(w.For, ", ") + "]"
		}
		if w.Tries > 1 {
			text += fmt.Sprintf(" (%d times)", w.Tries)
		}
		p.line("  %s", text)
	}
}

func (p *explainer) next(e *wire.Explanation) {
	p.section("Next")
	if e.Doing != nil {
		p.line("  now       %s, since %s", e.Doing.What, duration.HumanDuration(p.now.Sub(e.Doing.Since)))
	} else if len(e.Pod.Next) == 0 {
		p.line("  nothing, until something changes")
	}
	for _, n := range e.Pod.Next {
		when := p.when(n.At)
		if e.Doing != nil && when == "now" {
			when = "then"
		}
		p.line("  "+fmt.Sprintf("%-9s", when)+" %s", n.What)
	}
}

func (p *explainer) problems(list []wire.Problem) {
	if len(list) == 0 {
		return
	}
	p.section("Problems of its manifest")
	for _, x := range list {
		p.line("  %s", ProblemLine(x))
	}
}
