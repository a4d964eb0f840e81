package restart

import (
	"slices"

	v1 "k8s.io/api/core/v1"
)

// Sidecar tells whether an init container is one that runs beside the main
// containers (KEP-753).
func Sidecar(c *v1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways
}

// Policy returns the restart policy that holds for c: its own, else its pod's.
func Policy(pod *v1.Pod, c *v1.Container) v1.RestartPolicy {
	if c.RestartPolicy != nil {
		return v1.RestartPolicy(*c.RestartPolicy)
	}
	if pod.Spec.RestartPolicy == "" {
		return v1.RestartPolicyAlways
	}
	return pod.Spec.RestartPolicy
}

// AfterExit tells whether c, a main container or a sidecar, is run again after
// it exited with code by itself. Rules come before the policy, and only beside a
// policy of the container's own (KEP-5307).
func AfterExit(pod *v1.Pod, c *v1.Container, code int32) bool {
	if _, ok := rule(c, code); ok {
		return true
	}
	switch Policy(pod, c) {
	case v1.RestartPolicyNever:
		return false
	case v1.RestartPolicyOnFailure:
		return code != 0
	}
	return true
}

// AfterStop tells whether c is run again after the node stopped it for failing
// a probe: only the policy counts then, not how it exited.
func AfterStop(pod *v1.Pod, c *v1.Container) bool {
	return Policy(pod, c) != v1.RestartPolicyNever
}

// All tells whether the exit of c with code restarts all of its pod (KEP-5532).
func All(c *v1.Container, code int32) bool {
	action, ok := rule(c, code)
	return ok && action == v1.ContainerRestartRuleActionRestartAllContainers
}

// MayAll tells whether some exit of c restarts all of its pod.
func MayAll(c *v1.Container) bool {
	return slices.ContainsFunc(c.RestartPolicyRules, func(r v1.ContainerRestartRule) bool {
		return r.Action == v1.ContainerRestartRuleActionRestartAllContainers
	})
}

// rule returns the action of the first rule of c that matches code.
func rule(c *v1.Container, code int32) (v1.ContainerRestartRuleAction, bool) {
	if c.RestartPolicy == nil {
		return "", false
	}
	for _, r := range c.RestartPolicyRules {
		if r.ExitCodes == nil {
			continue
		}
		in := slices.Contains(r.ExitCodes.Values, code)
		switch r.ExitCodes.Operator {
		case v1.ContainerRestartRuleOnExitCodesOpIn:
		case v1.ContainerRestartRuleOnExitCodesOpNotIn:
			in = !in
		default:
			continue
		}
		if in {
			return r.Action, true
		}
	}
	return "", false
}
