package lifecycle

import (
	"fmt"
	"strings"
)

// Explain tells people what happens next with the pod, and when: the steps that
// are due, then what is waited for.
func Explain(in Input) []string {
	p := decide(in)
	var out []string
	for _, s := range p.plan.Steps {
		what := string(s.Op)
		if s.Signal != "" {
			what += " " + strings.TrimPrefix(s.Signal, "SIG")
		}
		if s.Container != "" {
			what = fmt.Sprintf("%s %s (attempt %d)", what, s.Container, s.Attempt)
		}
		out = append(out, fmt.Sprintf("now: %s, for %s", what, s.Why))
	}
	out = append(out, p.waits...)
	if len(out) == 0 {
		out = append(out, "nothing is to be done until something changes")
	}
	return out
}
