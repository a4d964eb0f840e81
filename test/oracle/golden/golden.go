package golden

import (
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// Observation is what was seen of a pod at a time.
type Observation struct {
	At  time.Time
	Pod *v1.Pod // nil: it is gone
}

// Recording is all that was seen while a scenario was played: observations in
// the order in which they were made, and the events that concern the pod.
type Recording struct {
	Observations []Observation
	Events       []v1.Event
}

// Golden is a recording without what chance had a part in.
type Golden struct {
	// About is the scenario's.
	About string `json:"about"`
	// Facets are sequences without repetitions, by the facet's name: "phase",
	// "reason", "deletion", "condition TYPE", and of containers "NAME state",
	// "NAME ready", "NAME started", "NAME restarts", "NAME last", "NAME message".
	// What begins with "~ " may be missed.
	Facets map[string][]string `json:"facets"`
	// Final is the last status, as value by path.
	Final map[string]string `json:"final"`
	// Events are type, reason and message by container; "pod" are those of none.
	Events map[string][]string `json:"events,omitempty"`
}

// Reduce makes a golden of a recording.
func Reduce(about string, rec Recording) *Golden {
	g := &Golden{About: about, Facets: map[string][]string{}}
	seen := meant(rec.Observations)
	var last *v1.Pod
	for _, o := range rec.Observations {
		if o.Pod != nil {
			last = o.Pod
		}
	}
	if last == nil {
		return g
	}
	n := namesOf(last)
	for name, items := range collect(seen, n) {
		g.Facets[name] = reduce(items)
	}
	g.Final = final(last, n)
	g.Events = events(rec.Events, n)
	return g
}

// meant leaves out what was seen before the agent wrote its first status.
func meant(all []Observation) []Observation {
	for i, o := range all {
		if o.Pod == nil {
			continue
		}
		s := &o.Pod.Status
		if s.StartTime != nil || len(s.ContainerStatuses) > 0 || s.Phase != v1.PodPending && s.Phase != "" {
			return all[i:]
		}
	}
	return nil
}

// Marshal writes a golden as YAML; the same golden gives the same bytes.
func (g *Golden) Marshal() ([]byte, error) {
	data, err := yaml.Marshal(g)
	if err != nil {
		return nil, fmt.Errorf("writing golden: %w", err)
	}
	return data, nil
}

// Unmarshal reads what Marshal wrote.
func Unmarshal(data []byte) (*Golden, error) {
	g := &Golden{}
	if err := yaml.UnmarshalStrict(data, g); err != nil {
		return nil, fmt.Errorf("reading golden: %w", err)
	}
	return g, nil
}
