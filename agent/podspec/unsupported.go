package podspec

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// Unsupported returns what a pod asks for and davit cannot do yet, each field by
// its path: "not supported yet: spec.volumes[0].csi". It may be applied before
// or after Default.
func Unsupported(pod *v1.Pod) []Problem {
	w := &walker{pod: pod}
	w.structure(reflect.ValueOf(pod).Elem(), "", "")
	for _, key := range sortedKeys(pod.Annotations) {
		if strings.HasPrefix(key, "container.apparmor.security.beta.kubernetes.io/") {
			w.refuse("metadata.annotations["+key+"]", "")
		}
	}
	return w.problems
}

func sortedKeys(m map[string]string) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

var rowByPath = func() map[string]*Row {
	m := map[string]*Row{}
	for i := range Rows {
		m[Rows[i].Path] = &Rows[i]
	}
	return m
}()

// rowOf returns the row of a field, or nil.
func rowOf(pattern string) *Row {
	if r := rowByPath[pattern]; r != nil {
		return r
	}
	if rest, ok := strings.CutPrefix(pattern, "spec.initContainers[]"); ok {
		return rowByPath["spec.containers[]"+rest]
	}
	return nil
}

type walker struct {
	pod      *v1.Pod
	problems []Problem
}

func (w *walker) refuse(path, detail string) {
	w.problems = append(w.problems, Problem{
		Object: describe("Pod", w.pod.Namespace, w.pod.Name), Field: path, Message: "not supported yet: " + path + detail,
	})
}

// jsonName returns the name of a field in manifests; inline is true for an
// embedded struct whose fields count as the outer one's.
func jsonName(f reflect.StructField) (name string, inline bool) {
	name, _, _ = strings.Cut(f.Tag.Get("json"), ",")
	return name, f.Anonymous && name == ""
}

func (w *walker) structure(v reflect.Value, path, pattern string) {
	for i := range v.NumField() {
		name, inline := jsonName(v.Type().Field(i))
		if inline {
			w.structure(v.Field(i), path, pattern)
			continue
		}
		if v.Field(i).IsZero() {
			continue
		}
		at, row := strings.TrimPrefix(path+"."+name, "."), strings.TrimPrefix(pattern+"."+name, ".")
		w.field(v.Field(i), at, row)
	}
}

// field looks at a field that is set.
func (w *walker) field(v reflect.Value, path, pattern string) {
	row := rowOf(pattern)
	if row == nil || row.Support == NotYet {
		// An empty list asks for nothing.
		if (v.Kind() == reflect.Slice || v.Kind() == reflect.Map) && v.Len() == 0 {
			return
		}
		w.refuse(path, "")
		return
	}
	if row.Support == Ignored {
		return
	}
	if !holds(row.If, w.pod) {
		w.refuse(path, " unless "+string(row.If))
		return
	}
	for v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.Struct:
		if hasFields(v.Type()) {
			w.structure(v, path, pattern)
		}
	case reflect.Slice:
		for i := range v.Len() {
			if v.Index(i).Kind() == reflect.Struct {
				w.structure(v.Index(i), path+"["+strconv.Itoa(i)+"]", pattern+"[]")
			}
		}
	case reflect.Map:
		w.keys(v, row, path)
	default:
		if text := fmt.Sprint(v.Interface()); text != "" && !row.takes(text) {
			w.refuse(path, fmt.Sprintf(": %s (supported: %s)", text, strings.Join(row.Values, ", ")))
		}
	}
}

func (w *walker) keys(v reflect.Value, row *Row, path string) {
	var extra []string
	for _, k := range v.MapKeys() {
		if !row.takes(k.String()) {
			extra = append(extra, k.String())
		}
	}
	slices.Sort(extra)
	for _, k := range extra {
		w.refuse(path+"["+k+"]", "")
	}
}

// hasFields tells a struct of the API from one that is a value, such as a
// quantity or a time.
func hasFields(t reflect.Type) bool {
	for f := range t.Fields() {
		if f.IsExported() && f.Tag.Get("json") != "" && f.Tag.Get("json") != "-" {
			return true
		}
	}
	return false
}

// takes tells whether a value or key is among those of the row.
func (r *Row) takes(text string) bool {
	return len(r.Values) == 0 || slices.ContainsFunc(r.Values, func(v string) bool {
		prefix, any := strings.CutSuffix(v, "*")
		return text == v || any && len(text) > len(prefix) && strings.HasPrefix(text, prefix)
	})
}

func holds(c Condition, pod *v1.Pod) bool {
	return c != HostNetwork || pod.Spec.HostNetwork
}
