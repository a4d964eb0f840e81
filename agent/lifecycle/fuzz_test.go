package lifecycle

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/runtime"
)

// FuzzFacts has everything made from records that anything may have written:
// nothing panics, and what is decoded encodes to itself.
func FuzzFacts(f *testing.F) {
	for _, policy := range []v1.RestartPolicy{always, onFailure, never} {
		w := newWorld(f, newPod(policy, "i:i1", "s:s1", "a"))
		f.Add(toJSON(w.facts), "", true, false)
		w.idle()
		w.exits("i1", 0)
		w.idle()
		f.Add(toJSON(w.facts), "boot-1", true, false)
		w.exits("a", 1)
		w.idle()
		f.Add(toJSON(w.facts), "boot-2", false, true)
		deleted(time.Second)(w)
		w.idle()
		f.Add(toJSON(w.facts), "boot-1", false, false)
	}
	f.Add([]byte(`{"containers":{"a":{"current":{"removed":true},"failure":{"count":-7}}},"sandbox":{"readyAt":"2026-01-01T00:00:00Z"}}`), "b", true, false)
	f.Add([]byte(`{"containers":{"a":{"current":{"number":4294967295,"exit":{}},"backOff":{"delay":-1,"until":"9999-01-01T00:00:00Z"}}}}`), "b", true, false)
	f.Fuzz(func(t *testing.T, record []byte, boot string, sandbox, down bool) {
		var facts Facts
		if json.Unmarshal(record, &facts) != nil {
			return
		}
		if b, err := json.Marshal(facts); err == nil { // times may be out of JSON's range
			var back Facts
			if err := json.Unmarshal(b, &back); err != nil {
				t.Fatalf("decoding %s: %v", b, err)
			}
			if again := toJSON(back); !bytes.Equal(b, again) {
				t.Fatalf("changed:\n%s\n%s", b, again)
			}
		}
		for _, policy := range []v1.RestartPolicy{always, onFailure, never, ""} {
			pod := newPod(policy, "i:i1", "s:s1", "a", "b")
			seen := Seen{BootID: boot, Sandbox: sandbox, RuntimeDown: down, Containers: []runtime.Container{
				{ContainerRef: runtime.ContainerRef{Name: "a", ID: "1"}, State: runtime.StateRunning},
				{ContainerRef: runtime.ContainerRef{Name: "i1", ID: "2"}, State: runtime.StateExited},
				{ContainerRef: runtime.ContainerRef{Name: "x", ID: "3"}, State: runtime.StateUnknown},
			}}
			Decide(Input{Pod: pod, Facts: facts, Seen: seen, Now: epoch})
			for _, g := range []Facts{
				Observe(pod, facts, seen, epoch),
				Observe(pod, RequestDeletion(facts, time.Second, "fuzz", epoch), seen, epoch),
			} {
				in := Input{Pod: pod, Facts: g, Seen: seen, Now: epoch}
				plan := Decide(in)
				if len(plan.Steps) > 40 {
					t.Fatalf("%d steps", len(plan.Steps))
				}
				Status(in)
				Explain(in)
				Gone(g, seen)
				for _, s := range plan.Steps {
					for _, r := range []Result{{}, {Reason: "x"}, {Reason: "x", Final: true}} {
						Apply(pod, g, s, r, epoch)
					}
				}
			}
		}
	})
}
