package scenario

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// Scenario is one file of test/oracle/scenarios.
type Scenario struct {
	// Name is the file's, without .yaml, and the pod's.
	Name string `json:"-"`
	// About says in one sentence what is to be seen.
	About string `json:"about"`
	// Real: it is played with real containers in `make test`, not only in
	// `make test-long`.
	Real bool `json:"real,omitempty"`
	// Objects exist before the pod does.
	Objects []Object `json:"objects,omitempty"`
	// Pod is the pod. The player gives it name, namespace and node.
	Pod v1.Pod `json:"pod"`
	// Script is what happens, in this order.
	Script []Action `json:"script,omitempty"`
	// Until is when the recording ends.
	Until Until `json:"until"`
	// Differs are the facets in which davit differs on purpose.
	Differs []Difference `json:"differs,omitempty"`
}

// Object is a ConfigMap or a Secret: one of the two is set. The player gives it
// the pod's namespace.
type Object struct {
	ConfigMap *v1.ConfigMap `json:"configMap,omitempty"`
	Secret    *v1.Secret    `json:"secret,omitempty"`
}

// Moment is a time after something was seen.
type Moment struct {
	// When is what must have been seen; "" is the pod's creation. See Sight.
	When Sight `json:"when,omitempty"`
	// At is how long after that.
	At metav1.Duration `json:"at,omitempty"`
}

// Action is something that somebody does to the pod. Besides its moment one field
// is set, or none: then the script goes on after what When says was seen.
type Action struct {
	Moment `json:",inline"`

	// Delete deletes the pod.
	Delete *Delete `json:"delete,omitempty"`
	// Apply creates or replaces an object.
	Apply *Object `json:"apply,omitempty"`
	// Deadline sets activeDeadlineSeconds of the pod.
	Deadline *int64 `json:"deadline,omitempty"`
	// Condition sets a condition of the pod's status, as the owner of a
	// readiness gate does.
	Condition *Condition `json:"condition,omitempty"`
	// Ephemeral adds an ephemeral container.
	Ephemeral *v1.EphemeralContainer `json:"ephemeral,omitempty"`
	// Restart "agent" kills kubelet or davit by SIGKILL and starts it again.
	Restart string `json:"restart,omitempty"`
}

// Delete is a deletion; without a grace of its own it has the pod's.
type Delete struct {
	GracePeriodSeconds *int64 `json:"gracePeriodSeconds,omitempty"`
}

// Condition is a condition of a pod as somebody else than kubelet sets it.
type Condition struct {
	Type    v1.PodConditionType `json:"type"`
	Status  v1.ConditionStatus  `json:"status"`
	Reason  string              `json:"reason,omitempty"`
	Message string              `json:"message,omitempty"`
}

// Until is the moment at which a recording ends, and how long after the pod's
// creation it must have come.
type Until struct {
	Moment `json:",inline"`

	Limit metav1.Duration `json:"limit"`
}

// Difference is a facet in which davit differs on purpose.
type Difference struct {
	// Facet is the name of the facet, or of a path of the final status, as a
	// difference tells it; a * at its end stands for whatever follows.
	Facet string `json:"facet"`
	// Reason says why.
	Reason string `json:"reason"`
	// Davit is the sequence that davit shows instead; without it whatever it
	// shows is taken.
	Davit []string `json:"davit,omitempty"`
}

// Load reads all scenarios of a directory, ordered by name.
func Load(dir fs.FS) ([]Scenario, error) {
	files, err := fs.Glob(dir, "*.yaml")
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	var out []Scenario
	for _, f := range files {
		s, err := read(dir, f)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("reading scenarios: there is no *.yaml")
	}
	return out, nil
}

func read(dir fs.FS, file string) (Scenario, error) {
	data, err := fs.ReadFile(dir, file)
	if err != nil {
		return Scenario{}, fmt.Errorf("reading scenario: %w", err)
	}
	return Decode(strings.TrimSuffix(path.Base(file), ".yaml"), data)
}

// Decode reads a scenario and checks it. Unknown keys are errors.
func Decode(name string, data []byte) (Scenario, error) {
	s := Scenario{Name: name}
	if err := yaml.UnmarshalStrict(data, &s); err != nil {
		return Scenario{}, fmt.Errorf("decoding scenario %s: %w", name, err)
	}
	if err := s.check(); err != nil {
		return Scenario{}, fmt.Errorf("checking scenario %s: %w", name, err)
	}
	return s, nil
}
