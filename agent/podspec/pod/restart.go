package pod

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/davit-agent/davit/agent/podspec/check"
)

// How many rules a container may have, and how many exit codes a rule (KEP-5307).
const (
	maxRestartRules = 20
	maxExitCodes    = 255
)

// validateRestart checks the container's own restart policy and the exceptions
// from it.
func validateRestart(c *v1.Container, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	rules := at.Child("restartPolicyRules")
	switch {
	case c.RestartPolicy != nil:
		errs = append(errs, check.OneOf(at.Child("restartPolicy"), *c.RestartPolicy,
			v1.ContainerRestartPolicyAlways, v1.ContainerRestartPolicyNever, v1.ContainerRestartPolicyOnFailure)...)
	case len(c.RestartPolicyRules) > 0:
		errs = append(errs, field.Required(at.Child("restartPolicy"), "must specify restartPolicy when restart rules are used"))
	}
	if n := len(c.RestartPolicyRules); n > maxRestartRules {
		errs = append(errs, field.TooMany(rules, n, maxRestartRules))
	}
	for i, r := range c.RestartPolicyRules {
		at := rules.Index(i)
		errs = append(errs, check.OneOf(at.Child("action"), r.Action,
			v1.ContainerRestartRuleActionRestart, v1.ContainerRestartRuleActionRestartAllContainers)...)
		at = at.Child("exitCodes")
		if r.ExitCodes == nil {
			errs = append(errs, field.Required(at, "name the exit codes that the rule is for"))
			continue
		}
		errs = append(errs, check.OneOf(at.Child("operator"), r.ExitCodes.Operator,
			v1.ContainerRestartRuleOnExitCodesOpIn, v1.ContainerRestartRuleOnExitCodesOpNotIn)...)
		if n := len(r.ExitCodes.Values); n > maxExitCodes {
			errs = append(errs, field.TooMany(at.Child("values"), n, maxExitCodes))
		}
	}
	return errs
}
