package scenario_test

import (
	"os"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/test/oracle/actor/model"
	"github.com/davit-agent/davit/test/oracle/scenario"
)

// The project's own scenarios: each can be read, and its containers too.
func TestScenarios(t *testing.T) {
	all, err := scenario.Load(os.DirFS("../scenarios"))
	if err != nil {
		t.Fatal(err)
	}
	real := 0
	for i := range all {
		s := &all[i]
		if s.Real {
			real++
		}
		for _, list := range [][]v1.Container{s.Pod.Spec.InitContainers, s.Pod.Spec.Containers} {
			for j := range list {
				c := &list[j]
				if len(c.Command) > 0 || strings.Contains(c.Image, "absent") {
					continue
				}
				p, err := model.Program(c)
				if err != nil {
					t.Errorf("%s: %v", s.Name, err)
				} else if len(p.Attempts) > 1 && !mounts(c, "/state") {
					t.Errorf("%s: container %s counts attempts and has no /state", s.Name, c.Name)
				}
			}
		}
	}
	if len(all) < 60 || real*3 < 60 {
		t.Errorf("%d scenarios, %d of them real: want 60 and a third of that", len(all), real)
	}
}

func mounts(c *v1.Container, path string) bool {
	for _, m := range c.VolumeMounts {
		if m.MountPath == path {
			return true
		}
	}
	return false
}

const good = `
about: something is to be seen
pod: {spec: {containers: [{name: main}]}}
script:
- {when: main running, at: 2s, delete: {gracePeriodSeconds: 1}}
until: {when: gone, limit: 30s}
`

func TestDecodeRefuses(t *testing.T) {
	if _, err := scenario.Decode("a-pod", []byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new, want string }{
		{"about: something", "abuot: something", `unknown field "abuot"`},
		{"name: main}", "name: main, imagge: x}", `unknown field "imagge"`},
		{"about: something is to be seen", "", "about is missing"},
		{"main running", "nobody running", "names no container"},
		{"main running", "main walking", "no sight of a container"},
		{"main running", "main restarts twice", "no sight of a container"},
		{"gone", "condition Ready", "names no container"},
		{"delete: {gracePeriodSeconds: 1}", "delete: {}, restart: agent", "2 of delete"},
		{"when: main running, at: 2s, delete: {gracePeriodSeconds: 1}", "at: 2s", "neither what to do nor"},
		{"delete: {gracePeriodSeconds: 1}", "restart: node", "only the agent"},
		{"delete: {gracePeriodSeconds: 1}", "apply: {}", "one of configMap and secret"},
		{"delete: {gracePeriodSeconds: 1}", "apply: {configMap: {data: {}}}", "metadata.name is missing"},
		{"delete: {gracePeriodSeconds: 1}", "condition: {type: x}", "type and status"},
		{"limit: 30s", "limit: 0s", "until.limit"},
		{"pod: {", "pod: {metadata: {name: x}, ", "player's to give"},
		{"until:", "differs: [{facet: phase}]\nuntil:", "needs facet and reason"},
		{"containers: [{name: main}]", "containers: []", "spec.containers is empty"},
	} {
		text := strings.Replace(good, c.old, c.new, 1)
		if text == good {
			t.Errorf("%q is not in the good one", c.old)
		}
		if _, err := scenario.Decode("a-pod", []byte(text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q instead of %q: error %v, want %q", c.new, c.old, err, c.want)
		}
	}
	if _, err := scenario.Decode("pod", []byte(good)); err == nil {
		t.Error("a name of one word is taken")
	}
}

func pod(state v1.ContainerState, ready bool, restarts int32) *v1.Pod {
	started := state.Running != nil
	return &v1.Pod{Status: v1.PodStatus{
		Phase:      v1.PodRunning,
		Conditions: []v1.PodCondition{{Type: v1.PodReady, Status: v1.ConditionTrue}},
		ContainerStatuses: []v1.ContainerStatus{
			{Name: "main", State: state, Ready: ready, RestartCount: restarts, Started: &started}},
	}}
}

func TestSights(t *testing.T) {
	running := pod(v1.ContainerState{Running: &v1.ContainerStateRunning{}}, true, 2)
	waiting := pod(v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}, false, 0)
	ended := pod(v1.ContainerState{Terminated: &v1.ContainerStateTerminated{Reason: "Error"}}, false, 0)
	for sight, seen := range map[scenario.Sight][4]bool{ // of running, waiting, ended, gone
		"":                              {true, true, true, true},
		"created":                       {true, true, true, true},
		"gone":                          {false, false, false, true},
		"phase Running":                 {true, true, true, false},
		"phase Pending":                 {},
		"condition Ready True":          {true, true, true, false},
		"condition Ready False":         {},
		"deleting":                      {},
		"main running":                  {true, false, false, false},
		"main waiting":                  {false, true, false, false},
		"main waiting CrashLoopBackOff": {false, true, false, false},
		"main waiting Other":            {},
		"main terminated Error":         {false, false, true, false},
		"main terminated":               {false, false, true, false},
		"main ready":                    {true, false, false, false},
		"main unready":                  {false, true, true, false},
		"main started":                  {true, false, false, false},
		"main restarts 1":               {true, false, false, false},
		"main restarts 3":               {},
		"other running":                 {},
	} {
		for i, p := range []*v1.Pod{running, waiting, ended, nil} {
			if got := sight.Seen(p); got != seen[i] {
				t.Errorf("%q of pod %d: %v", sight, i, got)
			}
		}
	}
}

func TestPlay(t *testing.T) {
	s, err := scenario.Decode("a-pod", []byte(`
about: something
pod: {spec: {containers: [{name: main}]}}
script:
- {at: 1s, deadline: 5}
- {when: main running}
- {when: main ready, at: 2s, delete: {}}
until: {when: gone, at: 1s, limit: 30s}
`))
	if err != nil {
		t.Fatal(err)
	}
	zero := time.Unix(1000, 0)
	at := func(sec int) time.Time { return zero.Add(time.Duration(sec) * time.Second) }
	p := scenario.Begin(&s, zero)
	expect := func(now, actions, wake int, done bool) {
		t.Helper()
		due, next := p.Next(at(now))
		if len(due) != actions || !next.Equal(at(wake)) || p.Done() != done {
			t.Errorf("at %d: %d actions, wake %v, done %v; want %d, %d, %v", now, len(due), next.Sub(zero), p.Done(), actions, wake, done)
		}
	}
	running := pod(v1.ContainerState{Running: &v1.ContainerStateRunning{}}, false, 0)
	expect(0, 0, 1, false)
	expect(1, 1, 30, false)
	p.See(running, at(5))
	expect(5, 0, 30, false)
	running.Status.ContainerStatuses[0].Ready = true
	p.See(running, at(6))
	p.See(running, at(7)) // the first sight counts
	expect(7, 0, 8, false)
	expect(8, 1, 30, false)
	p.See(nil, at(9))
	expect(9, 0, 10, false)
	expect(10, 0, 10, true)
	if p.Err() != nil {
		t.Error(p.Err())
	}

	// What is waited for is there already when the action before it is done.
	p = scenario.Begin(&s, zero)
	running.Status.ContainerStatuses[0].Ready = true
	p.See(running, at(0))
	expect(1, 1, 3, false)

	// It never comes.
	p = scenario.Begin(&s, zero)
	expect(1, 1, 30, false)
	expect(30, 0, 30, true)
	if p.Err() == nil || !strings.Contains(p.Err().Error(), `"main running"`) {
		t.Errorf("error %v does not tell what was waited for", p.Err())
	}
}
