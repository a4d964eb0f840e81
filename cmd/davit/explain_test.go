package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/lifecycle"
	"github.com/davit-agent/davit/agent/lifecycle/explain"
	"github.com/davit-agent/davit/agent/server/wire"
	"github.com/davit-agent/davit/cmd/davit/printer"
)

func explained(e *wire.Explanation, now time.Time) string {
	var b strings.Builder
	printer.Explanation(&b, e, now)
	return b.String()
}

func TestExplainText(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for _, c := range []struct {
		e    wire.Explanation
		want string
	}{
		{wire.Explanation{Namespace: "default", Name: "web-n1", UID: "u1", Origin: "/m/web.yaml", Pod: &lifecycle.Explanation{
			Phase: v1.PodRunning, Since: ago(time.Hour), Why: "container app does not keep running: it ended with code 1 (Error): no\x1b[2J",
			Containers: []explain.Container{
				{Name: "migrate", Kind: "init container", State: "terminated", Reason: "Completed", Ends: []explain.End{{Reason: "Completed", Started: ago(59 * time.Minute), At: ago(58 * time.Minute)}}},
				{Name: "app", Kind: "container", State: "waiting", Reason: "CrashLoopBackOff", Restarts: 3, Ends: []explain.End{
					{Attempt: 3, Code: 1, Reason: "Error", Message: "no\x1b[2J", Started: ago(40 * time.Second), At: ago(29 * time.Second)}, {Attempt: 2, Code: 2, Reason: "Error", At: ago(70 * time.Second)}}},
				{Name: "side", Kind: "container", State: "running", Since: ago(50 * time.Minute)},
			},
			Waits: []explain.Wait{{Cause: explain.CrashLoop, Container: "app", Detail: "it ended with code 1 (Error)", Tries: 4, Until: now.Add(11500 * time.Millisecond)}},
			Next:  []explain.Coming{{At: now.Add(11500 * time.Millisecond), What: "container app is started again", Container: "app"}},
		}}, `Pod:    default/web-n1 (uid u1)
From:   /m/web.yaml
Phase:  Running, on this node for 60m
Why:    container app does not keep running: it ended with code 1 (Error): no\x1b[2J

Containers:
  migrate (init container): ended 58m ago: Completed
    attempt 0 ended 58m ago with code 0 after 60s (Completed)
  app (container): waiting: CrashLoopBackOff, 3 restart(s)
    attempt 3 ended 29s ago with code 1 after 11s (Error): no\x1b[2J
    attempt 2 ended 70s ago with code 2 (Error)
  side (container): running for 50m

Waits for:
  app: CrashLoop: it ended with code 1 (Error) (4 times)

Next:
  in 12s    container app is started again
`},
		{wire.Explanation{Namespace: "default", Name: "web-n1", UID: "u1", Successor: "u2", Pod: &lifecycle.Explanation{
			Phase: v1.PodRunning, Why: "the pod is deleted: x; still running: a",
			Containers: []explain.Container{{Name: "a", Kind: "container", State: "running", Since: ago(time.Minute)}},
			Waits:      []explain.Wait{{Cause: explain.Stopping, For: []string{"a"}, Detail: "the pod is deleted: x", Until: now.Add(20 * time.Second)}},
			Next:       []explain.Coming{{At: now, What: "signal a"}, {At: now.Add(20 * time.Second), What: "a is killed"}}},
			Doing: &wire.Doing{What: "signal a (attempt 0)", Since: ago(3 * time.Second)}}, `Pod:    default/web-n1 (uid u1)
Phase:  Running
Why:    the pod is deleted: x; still running: a

Containers:
  a (container): running for 60s

Waits for:
  the pod: Stopping: the pod is deleted: x [a]

Next:
  now       signal a (attempt 0), since 3s
  then      signal a
  in 20s    a is killed

The pod of the manifest as it is now (uid u2) starts when this one is gone.
`},
		{wire.Explanation{Namespace: "default", Name: "web", Problems: []wire.Problem{{File: "/m/web.yaml", Line: 6, Object: "Pod/default/web", Field: "spec.x", Message: `unknown field "spec.x"`}}}, `Pod:    default/web
Why:    there is no such pod, since what defines it is refused

Problems of its manifest:
  /m/web.yaml:6: Pod/default/web: unknown field "spec.x"

Next:
  once that is repaired   the pod starts, within a second
`},
	} {
		if got := explained(&c.e, now); got != c.want {
			t.Errorf("got\n%s\nwant\n%s", got, c.want)
		}
	}
}

func TestExplain(t *testing.T) {
	n := serveNode(t)
	n.explain("u1", wire.Explanation{Origin: "/m/a.yaml", Pod: &lifecycle.Explanation{Phase: v1.PodRunning, Why: "its container runs"}})
	n.complain(
		wire.Problem{File: "/m/a.yaml", Line: 9, Object: "Pod/default/else", Message: "of the same file"},
		wire.Problem{File: "/m/b.yaml", Line: 1, Object: "Pod/default/gone", Message: "refused"},
		wire.Problem{File: "/m/c.yaml", Line: 1, Object: "Pod/other/gone", Message: "of another namespace"},
	)
	for _, args := range []string{"explain pod web", "explain pod/web-n1", "explain po web"} {
		out, errs, code := davit(t, n.socket, "", strings.Fields(args)...)
		if code != 0 || !strings.Contains(out, "Why:    its container runs\n") || !strings.Contains(out, "/m/a.yaml:9: Pod/default/else: of the same file\n") || strings.Contains(out, "refused") {
			t.Errorf("%s: %d, %q, %q", args, code, out, errs)
		}
	}
	out, _, _ := davit(t, n.socket, "", "explain", "pod", "gone")
	if !strings.Contains(out, "there is no such pod") || !strings.Contains(out, "  /m/b.yaml:1: Pod/default/gone: refused\n") || strings.Contains(out, "another namespace") {
		t.Errorf("%q", out)
	}
	out, _, _ = davit(t, n.socket, "", "explain", "pod", "web", "-o", "json")
	var e wire.Explanation
	if err := json.Unmarshal([]byte(out), &e); err != nil || e.Name != "web-n1" || e.UID != "u1" || e.Pod.Why != "its container runs" || len(e.Problems) != 1 {
		t.Errorf("%v: %s", err, out)
	}
	out, _, _ = davit(t, n.socket, "", "explain", "pod", "db", "-n", "other")
	if !strings.Contains(out, "the node has not looked at the pod yet") {
		t.Errorf("%q", out)
	}
	n.says(t,
		says{args: "explain", code: 2, errs: "explain takes pod NAME"},
		says{args: "explain web", code: 2, errs: "explain takes pod NAME: say 'davit explain pod web'"},
		says{args: "explain svc front", code: 2, errs: "explain takes one pod"},
		says{args: "explain pod a b", code: 2, errs: "explain takes one pod"},
		says{args: "explain pod web -o wide", code: 2, errs: "-o wide: there are json and yaml"},
		says{args: "explain pod wbe", code: 1, errs: `pods "wbe" not found in namespace "default"; did you mean web-n1?`},
	)
}
