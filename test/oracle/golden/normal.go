package golden

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
)

// names are the words of a pod that say nothing about its behaviour.
type names struct {
	replace *strings.Replacer
}

func namesOf(p *v1.Pod) names {
	var pairs []string
	add := func(old, with string) {
		if old != "" {
			pairs = append(pairs, old, with)
		}
	}
	add(string(p.UID), "UID")
	if p.Name != "" {
		add(p.Name+"_"+p.Namespace+"(", "POD_NAMESPACE(")
		add(p.Namespace+"/", "NAMESPACE/")
		add(p.Name, "POD")
	}
	return names{strings.NewReplacer(pairs...)}
}

// What stands for things that no two runs have in common.
var patterns = []struct {
	form *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`\b[0-9a-f]{64}\b`), "ID"},
	{regexp.MustCompile(`\b[0-9]{1,3}(\.[0-9]{1,3}){3}\b`), "IP"},
	{regexp.MustCompile(`\[[0-9a-f]*:[0-9a-f:]+\]`), "IP"},
	{regexp.MustCompile(`IP:[0-9]+->`), "IP:PORT->"},
	{regexp.MustCompile(`\b[0-9]+(\.[0-9]+(m?s|µs|ns)\b|ms\b|µs\b|ns\b)`), "DURATION"},
	{regexp.MustCompile(`\bin [0-9]+s \([0-9.]+m?s including`), "in DURATION (DURATION including"},
	{regexp.MustCompile(`Image size: [0-9]+ bytes`), "Image size: N bytes"},
	{regexp.MustCompile(`\b[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(Z|[+-][0-9:]+)`), "TIME"},
}

// text normalises a message.
func (n names) text(s string) string {
	s = n.replace.Replace(s)
	for _, p := range patterns {
		s = p.form.ReplaceAllString(s, p.with)
	}
	return s
}

// told are fields of the status that facets tell of.
var told = regexp.MustCompile(`^(phase|reason|message)$|^conditions\[[^]]*\]\.(type|status|reason|message)$|` +
	`^\w*ontainerStatuses\[[^]]*\]\.(name|ready|started|restartCount)$|` +
	`^\w*ontainerStatuses\[[^]]*\]\.(state|lastState)\.\w+\.(reason|message|exitCode|signal)$`)

// blank are fields of which only that they are set is told, and by which word.
var blank = []struct {
	form *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`(Time|edAt|Transition)$`), "TIME"},
	{regexp.MustCompile(`(hostIP|podIP|\.ip)$`), "IP"},
	{regexp.MustCompile(`containerID$`), "ID"},
	{regexp.MustCompile(`imageID$`), "ID"},
}

// final returns the status as value by path. Lists are keyed by what their
// elements are told apart by, addresses by nothing: how many families a node has
// is not the pod's.
func final(p *v1.Pod, n names) map[string]string {
	data, err := json.Marshal(p.Status)
	if err != nil {
		panic(fmt.Sprintf("writing a pod's status: %v", err)) // it came as JSON
	}
	var tree any
	if err := json.Unmarshal(data, &tree); err != nil {
		panic(fmt.Sprintf("reading a pod's status: %v", err))
	}
	out := map[string]string{}
	asked := p.Spec.Resources != nil && running(p)
	flatten("", tree, func(path, value string) {
		if told.MatchString(path) || !asked && strings.HasPrefix(path, "resources") {
			return
		}
		for _, b := range blank {
			if b.form.MatchString(path) && value != "null" && value != "" {
				if value == "1970-01-01T00:00:00Z" {
					out[path] = "EPOCH"
				} else {
					out[path] = b.with
				}
				return
			}
		}
		out[path] = n.text(value)
	})
	return out
}

// running tells whether a container runs. kubelet reads a pod's own resources
// back from its cgroup, also if none were asked for; what it finds there when
// nothing runs any more is chance.
func running(p *v1.Pod) bool {
	return slices.ContainsFunc(statuses(p), func(c v1.ContainerStatus) bool { return c.State.Running != nil })
}

// keys of list elements, the first that is there counts.
var keys = []string{"type", "mountPath", "name", "resourceName"}

func flatten(path string, tree any, each func(path, value string)) {
	switch v := tree.(type) {
	case map[string]any:
		if len(v) == 0 {
			each(path, "{}")
		}
		for k, sub := range v {
			if path != "" {
				k = path + "." + k
			}
			flatten(k, sub, each)
		}
	case []any:
		for i, sub := range v {
			flatten(path+"["+elementKey(i, sub)+"]", sub, each)
		}
	case nil:
		each(path, "null")
	default:
		each(path, fmt.Sprint(v))
	}
}

func elementKey(i int, v any) string {
	m, ok := v.(map[string]any)
	if !ok {
		return fmt.Sprint(i)
	}
	if _, ok := m["ip"]; ok {
		return "*"
	}
	for _, k := range keys {
		if s, ok := m[k].(string); ok {
			return s
		}
	}
	return fmt.Sprint(i)
}

var ofContainer = regexp.MustCompile(`^spec\.\w*ontainers\{(.*)\}$`)

// events returns the events' type, reason and message by container, each once,
// in the order of their first occurrence.
func events(all []v1.Event, n names) map[string][]string {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b v1.Event) int {
		return cmp.Or(first(a).Compare(first(b)), cmp.Compare(version(a), version(b)))
	})
	out := map[string][]string{}
	for _, e := range all {
		of := "pod"
		if m := ofContainer.FindStringSubmatch(e.InvolvedObject.FieldPath); m != nil {
			of = m[1]
		}
		text := e.Type + " " + reasoned(e.Reason, n.text(e.Message))
		// Many like events are told as combined, when there are ten of them.
		if !slices.Contains(out[of], text) && !strings.HasPrefix(e.Message, "(combined from similar events)") {
			out[of] = append(out[of], text)
		}
	}
	return out
}

// first is when an event happened first.
func first(e v1.Event) time.Time {
	if !e.EventTime.IsZero() {
		return e.EventTime.Time
	}
	return e.FirstTimestamp.Time
}

// version orders events of the same second as they were written.
func version(e v1.Event) int {
	v, err := strconv.Atoi(e.ResourceVersion)
	if err != nil {
		return 0
	}
	return v
}
