package lifecycle

import (
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/lifecycle/explain"
)

// stuck returns what hangs of the pod: containers, in the order they were seen,
// and the last step of its end that failed.
func stuck(in Input) []explain.Wait {
	var ws []explain.Wait
	for _, c := range in.Seen.Containers {
		if c.Stuck != "" {
			ws = append(ws, explain.Wait{Cause: explain.Stuck, Container: c.Name, Detail: c.Stuck})
		}
	}
	if x := in.Facts.Cleanup; x != nil {
		ws = append(ws, explain.Wait{Cause: explain.Cleanup, Detail: x.Message, Tries: x.Count})
	}
	return ws
}

// reasonStuck is davit's own: kubelet has no word for it.
const reasonStuck = "TeardownStuck"

// setStuck tells of it where the status has no other message: kubelet has no
// place for it.
func setStuck(in Input, s *v1.PodStatus) {
	ws := stuck(in)
	if len(ws) == 0 || s.Message != "" {
		return
	}
	texts := make([]string, len(ws))
	for i, w := range ws {
		texts[i] = w.Sentence()
	}
	s.Message = strings.Join(texts, "; ")
	if f := &in.Facts; s.Reason == "" && (f.Deletion != nil || f.Ended != nil || f.Evicted != nil) {
		s.Reason = reasonStuck
	}
}
