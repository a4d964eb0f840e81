package podspec

import (
	"reflect"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/podspec/support"
)

// Field is one field of a Pod that the table has a line for: a leaf, or one that
// stands for all that is below it.
type Field struct {
	Path string // without indices: spec.containers[].name
	Row  *support.Row
}

// Fields returns the fields of a Pod in the order of the API. Containers of other
// kinds have only those in which they differ from spec.containers[].
func Fields() []Field {
	var out []Field
	walk(reflect.TypeFor[v1.Pod](), "", &out)
	return out
}

func walk(typ reflect.Type, path string, out *[]Field) {
	for f := range typ.Fields() {
		name, inline := support.JSONName(f)
		if inline {
			walk(f.Type, path, out)
			continue
		}
		at := name
		if path != "" {
			at = path + "." + name
		}
		row := support.RowOf(at)
		inner, below := f.Type, at
		for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice {
			if inner.Kind() == reflect.Slice {
				below += "[]"
			}
			inner = inner.Elem()
		}
		deep := row != nil && row.Support == support.Supported && inner.Kind() == reflect.Struct && support.HasFields(inner)
		own := row == nil || row.Path == at
		if own && (!deep || row.Note != "") {
			*out = append(*out, Field{Path: at, Row: row})
		}
		if deep {
			walk(inner, below, out)
		}
	}
}
