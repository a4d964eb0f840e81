package restart

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
)

func TestAfterExit(t *testing.T) {
	in := func(action v1.ContainerRestartRuleAction, codes ...int32) v1.ContainerRestartRule {
		return v1.ContainerRestartRule{Action: action, ExitCodes: &v1.ContainerRestartRuleOnExitCodes{
			Operator: v1.ContainerRestartRuleOnExitCodesOpIn, Values: codes}}
	}
	notIn := func(codes ...int32) v1.ContainerRestartRule {
		r := in(v1.ContainerRestartRuleActionRestart, codes...)
		r.ExitCodes.Operator = v1.ContainerRestartRuleOnExitCodesOpNotIn
		return r
	}
	const restart, all = v1.ContainerRestartRuleActionRestart, v1.ContainerRestartRuleActionRestartAllContainers
	for _, c := range []struct {
		pod   v1.RestartPolicy
		own   v1.ContainerRestartPolicy // "" is none
		rules []v1.ContainerRestartRule
		code  int32
		want  bool
		all   bool
		stop  bool // run again after a failed probe
	}{
		{pod: "Always", code: 0, want: true, stop: true},
		{pod: "OnFailure", code: 0, want: false, stop: true},
		{pod: "OnFailure", code: 1, want: true, stop: true},
		{pod: "Never", code: 1, want: false},
		{pod: "", code: 0, want: true, stop: true},
		{pod: "Never", own: "Always", code: 0, want: true, stop: true},
		{pod: "Always", own: "Never", code: 1, want: false},
		{pod: "Never", own: "OnFailure", code: 1, want: true, stop: true},
		{pod: "Never", own: "Never", rules: []v1.ContainerRestartRule{in(restart, 42)}, code: 42, want: true},
		{pod: "Never", own: "Never", rules: []v1.ContainerRestartRule{in(restart, 42)}, code: 43, want: false},
		{pod: "Never", own: "Never", rules: []v1.ContainerRestartRule{notIn(42)}, code: 43, want: true},
		{pod: "Never", own: "Never", rules: []v1.ContainerRestartRule{notIn(42)}, code: 42, want: false},
		{pod: "Never", own: "Never", rules: []v1.ContainerRestartRule{in(restart, 1), in(all, 2)}, code: 2, want: true, all: true},
		{pod: "Never", own: "Never", rules: []v1.ContainerRestartRule{in(restart, 2), in(all, 2)}, code: 2, want: true},
		// Without a policy of the container's own, which validation demands.
		{pod: "Never", rules: []v1.ContainerRestartRule{in(all, 2)}, code: 2, want: false},
		{pod: "Never", own: "Never", rules: []v1.ContainerRestartRule{{Action: restart}}, code: 2, want: false},
	} {
		pod := &v1.Pod{Spec: v1.PodSpec{RestartPolicy: c.pod}}
		ctr := &v1.Container{RestartPolicyRules: c.rules}
		if c.own != "" {
			ctr.RestartPolicy = &c.own
		}
		if got := AfterExit(pod, ctr, c.code); got != c.want {
			t.Errorf("%+v: run again: %v", c, got)
		}
		if got := All(ctr, c.code); got != c.all {
			t.Errorf("%+v: all run again: %v", c, got)
		}
		if got := AfterStop(pod, ctr); got != c.stop {
			t.Errorf("%+v: run again after a failed probe: %v", c, got)
		}
	}
}

func TestBackOff(t *testing.T) {
	t0 := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	run := func(d time.Duration) Run { return Run{Began: t0, Exited: t0.Add(d)} }
	b := BackOff{}.After(Run{First: true, Began: t0, Exited: t0.Add(time.Second)})
	if b != (BackOff{}) {
		t.Fatalf("the first restart waits: %+v", b)
	}
	for _, want := range []time.Duration{10, 20, 40, 80, 160, 300, 300} {
		b = b.After(run(time.Second))
		if b.Delay != want*time.Second || !b.Until.Equal(t0.Add(time.Second+b.Delay)) {
			t.Fatalf("got %+v, want %v s", b, want)
		}
	}
	if b = b.After(run(10*time.Minute + 1)); b != (BackOff{}) {
		t.Fatalf("the restart after a long run waits: %+v", b)
	}
}
