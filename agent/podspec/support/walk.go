package support

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// Refusal is a field that a pod sets and davit does not take.
type Refusal struct {
	Field   string // path, such as spec.volumes[0].csi
	Message string // "not supported yet: spec.volumes[0].csi: why"
}

// annotation is where AppArmor profiles were before they had fields; the API
// server turns it into those.
const annotation = "container.apparmor.security.beta.kubernetes.io/"

// Refusals returns what a pod asks for and davit cannot do. Defaults that the
// API fills in make no difference.
func Refusals(pod *v1.Pod) []Refusal {
	w := &walker{pod: pod}
	w.structure(reflect.ValueOf(pod).Elem(), "", "")
	for _, key := range slices.Sorted(maps.Keys(pod.Annotations)) {
		if strings.HasPrefix(key, annotation) {
			w.refuse("metadata.annotations["+key+"]", "", &Row{Support: Refused, Note: "write securityContext.appArmorProfile"})
		}
	}
	return w.refusals
}

var rowByPath = func() map[string]*Row {
	m := map[string]*Row{}
	for i := range Rows {
		m[Rows[i].Path] = &Rows[i]
	}
	return m
}()

// RowOf returns the row of a field by its path without indices
// (spec.initContainers[].env[].name), or nil.
func RowOf(path string) *Row {
	if r := rowByPath[path]; r != nil {
		return r
	}
	for _, list := range []string{"spec.initContainers[]", "spec.ephemeralContainers[]"} {
		if rest, ok := strings.CutPrefix(path, list); ok {
			return rowByPath["spec.containers[]"+rest]
		}
	}
	return nil
}

type walker struct {
	pod      *v1.Pod
	refusals []Refusal
}

// refuse takes down that a field is refused; row may be nil.
func (w *walker) refuse(path, detail string, row *Row) {
	message := "not supported yet: "
	if row != nil && row.Support == Refused {
		message = "not supported: "
	}
	message += path + detail
	if row != nil && row.Support != Supported && row.Note != "" {
		message += ": " + row.Note
	}
	w.refusals = append(w.refusals, Refusal{Field: path, Message: message})
}

// JSONName returns the name of a field in manifests; inline is true for an
// embedded struct whose fields count as the outer one's.
func JSONName(f reflect.StructField) (name string, inline bool) {
	name, _, _ = strings.Cut(f.Tag.Get("json"), ",")
	return name, f.Anonymous && name == ""
}

func (w *walker) structure(v reflect.Value, path, pattern string) {
	for i := range v.NumField() {
		name, inline := JSONName(v.Type().Field(i))
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
	row := RowOf(pattern)
	if row == nil || row.Support == NotYet || row.Support == Refused {
		// An empty list asks for nothing.
		if (v.Kind() == reflect.Slice || v.Kind() == reflect.Map) && v.Len() == 0 {
			return
		}
		w.refuse(path, "", row)
		return
	}
	if row.Support != Supported {
		return
	}
	if !holds(row.If, w.pod) {
		w.refuse(path, " unless "+string(row.If), row)
		return
	}
	for v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.Struct:
		if HasFields(v.Type()) {
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
			w.refuse(path, fmt.Sprintf(": %s (supported: %s)", text, strings.Join(row.Values, ", ")), row)
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
		w.refuse(path+"["+k+"]", " (supported: "+strings.Join(row.Values, ", ")+")", row)
	}
}

// HasFields tells a struct of the API from one that is a value, such as a
// quantity or a time.
func HasFields(t reflect.Type) bool {
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
