package strictyaml

import (
	"encoding"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
)

// Decode fills into, a pointer, from n and returns all that is wrong. What a
// key that is absent or null stands for is left as it was. Paths and lines are
// relative to n; path is put before them.
func (n *Node) Decode(into any, path string) []Problem {
	d := &decoder{}
	d.value(n, reflect.ValueOf(into).Elem(), path)
	return d.problems
}

type decoder struct{ problems []Problem }

// maxNearest bounds for how many keys of a text the nearest is looked for.
const maxNearest = 100

// content is a part of a message that stands in the text, and what takes its
// place in one that must not tell of it.
type content struct{ text, bare string }

func (d *decoder) mismatch(n *Node, path, format string, args ...any) {
	full, bare := make([]any, len(args)), make([]any, len(args))
	for i, arg := range args {
		full[i], bare[i] = arg, arg
		if c, ok := arg.(content); ok {
			full[i], bare[i] = c.text, c.bare
		}
	}
	d.problems = append(d.problems, Problem{
		Reason: Mismatch, Line: n.Line, Path: path, Message: fmt.Sprintf(format, full...), Bare: fmt.Sprintf(format, bare...),
	})
}

func (d *decoder) value(n *Node, v reflect.Value, path string) {
	if n.Kind == Null {
		return
	}
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		d.value(n, v.Elem(), path)
		return
	}
	if d.custom(n, v, path) {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(n, v, path)
	case reflect.Map:
		d.mapping(n, v, path)
	case reflect.Slice:
		d.slice(n, v, path)
	default:
		d.scalar(n, v, path)
	}
}

// custom serves types that read JSON or text themselves, such as quantities.
func (d *decoder) custom(n *Node, v reflect.Value, path string) bool {
	if !v.CanAddr() {
		return false
	}
	switch u := v.Addr().Interface().(type) {
	case json.Unmarshaler:
		if err := u.UnmarshalJSON(n.JSON()); err != nil {
			d.mismatch(n, path, "invalid value%s%s", content{" " + shown(n).text, ""}, content{": " + strings.TrimPrefix(err.Error(), "json: "), ""})
		}
	case encoding.TextUnmarshaler:
		if n.Kind != String {
			d.mismatch(n, path, "want a string, got %s", shown(n))
		} else if err := u.UnmarshalText([]byte(n.Text)); err != nil {
			d.mismatch(n, path, "invalid value%s%s", content{" " + shown(n).text, ""}, content{": " + err.Error(), ""})
		}
	default:
		return false
	}
	return true
}

// shown returns n for messages.
func shown(n *Node) content {
	bare := n.Kind.String()
	switch n.Kind {
	case String:
		text := n.Text
		if len(text) > 64 {
			text = strings.ToValidUTF8(text[:64], "") + "..."
		}
		return content{strconv.Quote(text), bare}
	case Number, Bool:
		return content{bare + " (" + n.Raw + ")", bare}
	}
	return content{bare, bare}
}

func (d *decoder) structure(n *Node, v reflect.Value, path string) {
	if n.Kind != Map {
		d.mismatch(n, path, "want a mapping (key: value), got %s", shown(n))
		return
	}
	fields := fieldsOf(v.Type())
	for i, key := range n.Keys {
		at := join(path, key)
		f, ok := fields[key]
		if !ok {
			p := Problem{Reason: Unknown, Line: n.lines[i], Path: at, Message: "unknown field"}
			if len(d.problems) < maxNearest {
				p.Nearest = Nearest(key, keysOf(fields))
			}
			if p.Nearest != "" {
				p.Message += fmt.Sprintf(", did you mean %q?", p.Nearest)
			}
			d.problems = append(d.problems, p)
			continue
		}
		d.value(n.Items[i], v.FieldByIndex(f), at)
	}
}

func (d *decoder) mapping(n *Node, v reflect.Value, path string) {
	if n.Kind != Map {
		d.mismatch(n, path, "want a mapping (key: value), got %s", shown(n))
		return
	}
	t := v.Type()
	out := reflect.MakeMapWithSize(t, len(n.Keys))
	for i, key := range n.Keys {
		item := reflect.New(t.Elem()).Elem()
		d.value(n.Items[i], item, path+"["+key+"]")
		out.SetMapIndex(reflect.ValueOf(key).Convert(t.Key()), item)
	}
	v.Set(out)
}

func (d *decoder) slice(n *Node, v reflect.Value, path string) {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		data, err := base64.StdEncoding.DecodeString(n.Text)
		if n.Kind != String || err != nil {
			d.mismatch(n, path, "want base64 text")
			return
		}
		v.SetBytes(data)
		return
	}
	if n.Kind != List {
		d.mismatch(n, path, "want a list, got %s; write each item on a line of its own after \"- \"", shown(n))
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.Items), len(n.Items))
	for i, item := range n.Items {
		d.value(item, out.Index(i), path+"["+strconv.Itoa(i)+"]")
	}
	v.Set(out)
}

func (d *decoder) scalar(n *Node, v reflect.Value, path string) {
	switch v.Kind() {
	case reflect.String:
		if n.Kind == String {
			v.SetString(n.Text)
		} else if n.Kind == Number || n.Kind == Bool {
			d.mismatch(n, path, "want a string, got %s; put it in quotes%s", shown(n), content{": " + strconv.Quote(n.Raw), ""})
		} else {
			d.mismatch(n, path, "want a string, got %s", shown(n))
		}
	case reflect.Bool:
		if n.Kind != Bool {
			d.mismatch(n, path, "want true or false, got %s%s", shown(n), unquote(n, Bool))
			return
		}
		v.SetBool(n.Text == "true")
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		d.integer(n, v, path)
	case reflect.Float32, reflect.Float64:
		f, err := strconv.ParseFloat(n.Text, 64)
		if n.Kind != Number || err != nil {
			d.mismatch(n, path, "want a number, got %s%s", shown(n), unquote(n, Number))
			return
		}
		v.SetFloat(f)
	default:
		d.mismatch(n, path, "a %s cannot be read from a file", v.Type())
	}
}

func (d *decoder) integer(n *Node, v reflect.Value, path string) {
	i, err := strconv.ParseInt(n.Text, 10, 64)
	if err != nil && n.Kind == Number {
		// 1e3 and 2.0 are whole numbers too.
		if f, ferr := strconv.ParseFloat(n.Text, 64); ferr == nil && f == float64(int64(f)) && f < 1<<53 && f > -(1<<53) {
			i, err = int64(f), nil
		}
	}
	if n.Kind != Number || err != nil {
		d.mismatch(n, path, "want a whole number, got %s%s", shown(n), unquote(n, Number))
		return
	}
	if v.OverflowInt(i) {
		d.mismatch(n, path, "%s is too large", content{strconv.FormatInt(i, 10), "the number"})
		return
	}
	v.SetInt(i)
}

// unquote advises to remove quotes where that is all there is to it.
func unquote(n *Node, want Kind) string {
	if n.Kind != String {
		return ""
	}
	_, err := strconv.ParseFloat(n.Text, 64)
	if (want == Number && err == nil) || (want == Bool && (n.Text == "true" || n.Text == "false")) {
		return "; remove the quotes"
	}
	return ""
}

var fieldCache sync.Map // reflect.Type -> map[string][]int

// fieldsOf returns the fields of a struct type by their JSON names, those of
// embedded structs included.
func fieldsOf(t reflect.Type) map[string][]int {
	if f, ok := fieldCache.Load(t); ok {
		return f.(map[string][]int)
	}
	out := map[string][]int{}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !(f.IsExported() || f.Anonymous):
		case f.Anonymous && name == "":
			for inner, index := range fieldsOf(f.Type) {
				out[inner] = append(append([]int{}, f.Index...), index...)
			}
		case name != "":
			out[name] = f.Index
		default:
			out[f.Name] = f.Index
		}
	}
	fieldCache.Store(t, out)
	return out
}

func keysOf(m map[string][]int) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	return out
}
