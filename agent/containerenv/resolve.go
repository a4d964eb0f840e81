package containerenv

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/davit-agent/davit/agent/downward"
	"github.com/davit-agent/davit/runtime/oci"
)

// Objects is where ConfigMaps and Secrets are found. What it returns is not
// changed.
type Objects interface {
	ConfigMap(namespace, name string) (*v1.ConfigMap, bool)
	Secret(namespace, name string) (*v1.Secret, bool)
}

// Input is all that the environment follows from.
type Input struct {
	Pod         *v1.Pod // spec.nodeName and the status' addresses filled in
	Container   *v1.Container
	Objects     Objects
	Allocatable v1.ResourceList // of the node
	Services    []oci.Var       // passed through to Env.Services
}

// Skipped tells of keys that an envFrom could not make variables of.
type Skipped struct {
	Source string // ConfigMap or Secret, namespace/name
	Names  []string
}

// SkippedReason is the reason of the event that tells of Skipped.
const SkippedReason = "InvalidEnvironmentVariableNames"

// String returns the message of the event that tells of it.
func (s Skipped) String() string {
	return fmt.Sprintf("Keys [%s] from the EnvFrom %s were skipped since they are considered invalid environment variable names.",
		strings.Join(s.Names, ", "), s.Source)
}

// Resolve looks up what the container's env and envFrom refer to.
func Resolve(in Input) (oci.Env, []Skipped, error) {
	env := oci.Env{Services: slices.Clone(in.Services)}
	var skipped []Skipped
	for _, from := range in.Container.EnvFrom {
		source, data, err := in.allOf(from)
		if err != nil {
			return oci.Env{}, nil, err
		}
		s := Skipped{Source: source}
		for _, key := range slices.Sorted(maps.Keys(data)) {
			name := from.Prefix + key
			switch {
			case len(validation.IsRelaxedEnvVarName(name)) > 0:
				s.Names = append(s.Names, name)
			case strings.ContainsRune(data[key], 0):
				return oci.Env{}, nil, zeroByte(name, key, source)
			default:
				env.From = append(env.From, oci.Var{Name: name, Value: data[key]})
			}
		}
		if len(s.Names) > 0 {
			skipped = append(skipped, s)
		}
	}
	for i, e := range in.Container.Env {
		if e.ValueFrom == nil {
			continue
		}
		value, found, err := in.value(e)
		if err != nil {
			return oci.Env{}, nil, err
		}
		if found {
			if env.Values == nil {
				env.Values = map[int]string{}
			}
			env.Values[i] = value
		}
	}
	return env, skipped, nil
}

// config is an error in the pod's configuration, in kubelet's words.
func config(format string, args ...any) error {
	return &oci.Error{Kind: oci.ErrConfig, Text: fmt.Sprintf(format, args...)}
}

// zeroByte refuses what no process can be started with.
func zeroByte(name, key, source string) error {
	return config("environment variable %q cannot have the value of key %q in %s: it contains a zero byte; mount it as a volume instead", name, key, source)
}

func isSet(p *bool) bool { return p != nil && *p }

// allOf returns the data that an envFrom refers to, nil if it is absent but
// optional.
func (in Input) allOf(from v1.EnvFromSource) (source string, data map[string]string, err error) {
	switch {
	case from.ConfigMapRef != nil:
		ref := from.ConfigMapRef
		return in.configMap(ref.Name, isSet(ref.Optional))
	case from.SecretRef != nil:
		ref := from.SecretRef
		return in.secret(ref.Name, isSet(ref.Optional))
	}
	return "", nil, nil
}

func (in Input) configMap(name string, optional bool) (source string, data map[string]string, err error) {
	source = "ConfigMap " + in.Pod.Namespace + "/" + name
	cm, ok := in.Objects.ConfigMap(in.Pod.Namespace, name)
	switch {
	case ok:
		return source, cm.Data, nil
	case optional:
		return source, nil, nil
	}
	return source, nil, config("configmap %q not found", name)
}

func (in Input) secret(name string, optional bool) (source string, data map[string]string, err error) {
	source = "Secret " + in.Pod.Namespace + "/" + name
	s, ok := in.Objects.Secret(in.Pod.Namespace, name)
	switch {
	case ok:
		data = make(map[string]string, len(s.Data))
		for key, value := range s.Data {
			data[key] = string(value)
		}
		return source, data, nil
	case optional:
		return source, nil, nil
	}
	return source, nil, config("secret %q not found", name)
}

// value resolves a valueFrom. found is false for what is absent but optional.
func (in Input) value(e v1.EnvVar) (value string, found bool, err error) {
	from := e.ValueFrom
	switch {
	case from.FieldRef != nil:
		value, err = downward.Field(in.Pod, from.FieldRef)
	case from.ResourceFieldRef != nil:
		value, err = downward.Resource(in.Pod, in.Container.Name, from.ResourceFieldRef, in.Allocatable)
	case from.ConfigMapKeyRef != nil:
		ref := from.ConfigMapKeyRef
		source, data, err := in.configMap(ref.Name, isSet(ref.Optional))
		if err != nil {
			return "", false, err
		}
		return pick(e.Name, source, data, ref.Key, isSet(ref.Optional))
	case from.SecretKeyRef != nil:
		ref := from.SecretKeyRef
		source, data, err := in.secret(ref.Name, isSet(ref.Optional))
		if err != nil {
			return "", false, err
		}
		return pick(e.Name, source, data, ref.Key, isSet(ref.Optional))
	case from.FileKeyRef != nil:
		err = config("environment variable %q: fileKeyRef is not supported yet", e.Name)
	}
	if err != nil {
		return "", false, config("%v", err)
	}
	return value, true, nil
}

func pick(name, source string, data map[string]string, key string, optional bool) (value string, found bool, err error) {
	value, found = data[key]
	switch {
	case found && strings.ContainsRune(value, 0):
		return "", false, zeroByte(name, key, source)
	case found || optional:
		return value, found, nil
	}
	return "", false, config("couldn't find key %v in %s", key, source)
}
