package strictyaml

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// Limits on what Parse takes.
const (
	MaxSize  = 16 << 20 // bytes of text
	MaxDepth = 64       // of nesting; a Pod needs about 15
	MaxNodes = 500_000  // in one document, aliases expanded; twice that in a text
	MaxText  = 64 << 20 // bytes of a document's keys and values, aliases expanded
	// maxMarks bounds what of a document might begin a value in YAML, before it is
	// parsed: the YAML library takes 350 bytes for a value, in a text of 16 MiB up
	// to 3 GiB. A ConfigMap of nothing but commas has 1 Mi of them.
	maxMarks = 3 * MaxNodes
	maxDocs  = 50_000 // in a text
)

// Kind is the kind of a Node.
type Kind int

// The kinds of nodes.
const (
	Null Kind = iota
	Bool
	Number
	String
	List
	Map
)

// String names the kind for people.
func (k Kind) String() string {
	return [...]string{"nothing", "a boolean", "a number", "a string", "a list", "a mapping (key: value)"}[k]
}

// Node is a value of the text.
type Node struct {
	Kind  Kind
	Line  int      // 1-based, of the whole text
	Text  string   // a string's value; a number's or boolean's JSON literal
	Raw   string   // a scalar as it is written
	Keys  []string // of a Map, in the order of the text; Items are the values
	Items []*Node  // of a List or Map
	lines []int    // of the Keys
}

// Get returns the value of a key of a Map, or nil.
func (n *Node) Get(key string) *Node {
	if n == nil || n.Kind != Map {
		return nil
	}
	if i := slices.Index(n.Keys, key); i >= 0 {
		return n.Items[i]
	}
	return nil
}

// JSON returns the node as JSON without white space and with sorted keys: equal
// content gives equal bytes, however it is laid out.
func (n *Node) JSON() []byte {
	var b bytes.Buffer
	n.writeJSON(&b)
	return b.Bytes()
}

// Without returns a Map as if it had no value at a path of keys; n itself stays
// as it is.
func (n *Node) Without(path ...string) *Node {
	if n == nil || n.Kind != Map || len(path) == 0 {
		return n
	}
	i := slices.Index(n.Keys, path[0])
	if i < 0 {
		return n
	}
	out := *n
	out.Items = slices.Clone(n.Items)
	if len(path) > 1 {
		out.Items[i] = n.Items[i].Without(path[1:]...)
		return &out
	}
	out.Keys = slices.Delete(slices.Clone(n.Keys), i, i+1)
	out.Items = slices.Delete(out.Items, i, i+1)
	if i < len(n.lines) {
		out.lines = slices.Delete(slices.Clone(n.lines), i, i+1)
	}
	return &out
}

func (n *Node) writeJSON(b *bytes.Buffer) {
	switch n.Kind {
	case Null:
		b.WriteString("null")
	case Bool, Number:
		b.WriteString(n.Text)
	case String:
		b.Write(quote(n.Text))
	case List:
		b.WriteByte('[')
		for i, item := range n.Items {
			if i > 0 {
				b.WriteByte(',')
			}
			item.writeJSON(b)
		}
		b.WriteByte(']')
	case Map:
		order := make([]int, len(n.Keys))
		for i := range order {
			order[i] = i
		}
		slices.SortFunc(order, func(x, y int) int { return strings.Compare(n.Keys[x], n.Keys[y]) })
		b.WriteByte('{')
		for i, k := range order {
			if i > 0 {
				b.WriteByte(',')
			}
			b.Write(quote(n.Keys[k]))
			b.WriteByte(':')
			n.Items[k].writeJSON(b)
		}
		b.WriteByte('}')
	}
}

func quote(s string) []byte {
	out, err := json.Marshal(s)
	if err != nil { // cannot happen for a string
		return []byte(`""`)
	}
	return out
}

// LineOf returns the line of the field at path (as in Problem.Path, relative to
// n) or, when the text does not have it, of the nearest field around it.
func (n *Node) LineOf(path string) int {
	line := n.Line
	for path != "" {
		var step string
		step, path = cutStep(path)
		next := -1
		switch n.Kind {
		case Map:
			next = slices.Index(n.Keys, step)
			if next >= 0 {
				line = n.lines[next]
			}
		case List:
			if i, err := strconv.Atoi(step); err == nil && i < len(n.Items) {
				next = i
				line = n.Items[i].Line
			}
		}
		if next < 0 {
			return line
		}
		n = n.Items[next]
	}
	return line
}

// cutStep takes the first key or index off a path such as a.b[0] or a[x.y/z].c.
func cutStep(path string) (step, rest string) {
	if strings.HasPrefix(path, "[") {
		step, rest, _ = strings.Cut(path[1:], "]")
		return step, strings.TrimPrefix(rest, ".")
	}
	i := strings.IndexAny(path, ".[")
	if i < 0 {
		return path, ""
	}
	return path[:i], strings.TrimPrefix(path[i:], ".")
}
