package scenario

import (
	"errors"
	"fmt"
	"regexp"

	v1 "k8s.io/api/core/v1"
)

var nameForm = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)+$`)

// check returns what is wrong with a scenario. Names have two parts at least, so
// that no word of a message is taken for the pod's name.
func (s *Scenario) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !nameForm.MatchString(s.Name) || len(s.Name) > 50 {
		bad("its name is to be words of letters and digits with hyphens between, two at least, 50 characters at most")
	}
	if s.About == "" {
		bad("about is missing: say what is to be seen")
	}
	if s.Pod.Name != "" || s.Pod.Namespace != "" || s.Pod.UID != "" || s.Pod.Spec.NodeName != "" {
		bad("pod: name, namespace, uid and nodeName are the player's to give")
	}
	containers := s.containers()
	if len(s.Pod.Spec.Containers) == 0 {
		bad("pod: spec.containers is empty")
	}
	for i, o := range s.Objects {
		if err := o.check(); err != nil {
			bad("objects[%d]: %w", i, err)
		}
	}
	for i := range s.Script {
		a := &s.Script[i]
		if err := a.check(); err != nil {
			bad("script[%d]: %w", i, err)
		}
		if err := a.When.check(containers); err != nil {
			bad("script[%d].when: %w", i, err)
		}
	}
	if err := s.Until.When.check(containers); err != nil {
		bad("until.when: %w", err)
	}
	if s.Until.Limit.Duration <= s.Until.At.Duration {
		bad("until.limit is to be longer than until.at")
	}
	for i, d := range s.Differs {
		if d.Facet == "" || d.Reason == "" {
			bad("differs[%d] needs facet and reason", i)
		}
	}
	return errors.Join(errs...)
}

// containers are the names of all containers that the pod ever has.
func (s *Scenario) containers() map[string]bool {
	names := map[string]bool{}
	for _, list := range [][]v1.Container{s.Pod.Spec.InitContainers, s.Pod.Spec.Containers} {
		for i := range list {
			names[list[i].Name] = true
		}
	}
	for _, a := range s.Script {
		if a.Ephemeral != nil {
			names[a.Ephemeral.Name] = true
		}
	}
	return names
}

func (o Object) check() error {
	switch {
	case (o.ConfigMap == nil) == (o.Secret == nil):
		return errors.New("one of configMap and secret is to be set")
	case o.ConfigMap != nil && o.ConfigMap.Name == "", o.Secret != nil && o.Secret.Name == "":
		return errors.New("metadata.name is missing")
	}
	return nil
}

func (a *Action) check() error {
	switch n := a.set(); {
	case n == 0 && a.When == "":
		return errors.New("it says neither what to do nor what to wait for")
	case n > 1:
		return fmt.Errorf("%d of delete, apply, deadline, condition, ephemeral and restart are set, not one", n)
	case a.Apply != nil:
		return a.Apply.check()
	case a.Restart != "" && a.Restart != "agent":
		return fmt.Errorf("restart: %q: only the agent can be restarted", a.Restart)
	case a.Condition != nil && (a.Condition.Type == "" || a.Condition.Status == ""):
		return errors.New("condition needs type and status")
	case a.Ephemeral != nil && a.Ephemeral.Name == "":
		return errors.New("ephemeral needs a name")
	}
	return nil
}

// set is how many things an action does.
func (a *Action) set() int {
	n := 0
	for _, set := range []bool{a.Delete != nil, a.Apply != nil, a.Deadline != nil,
		a.Condition != nil, a.Ephemeral != nil, a.Restart != ""} {
		if set {
			n++
		}
	}
	return n
}
