package podspec

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/davit-agent/davit/agent/podspec/strictyaml"
)

// maxProblems is how many problems of one file are told; who has more than
// that has the wrong kind of file.
const maxProblems = 50

// Decode reads the objects of a YAML or JSON text: several documents, and lists
// (List, PodList, ConfigMapList and so on) in them. It is strict; an object with
// a problem is not among those returned, but never hides another one. file is for
// messages.
//
// problems is in the order of the text and holds at most 50. None tells of a
// value that stands in a Secret.
func Decode(data []byte, file string) (objs []Object, problems []Problem) {
	objs, problems = decode(data, file)
	return objs, bounded(problems, file)
}

func decode(data []byte, file string) ([]Object, []Problem) {
	d := &decoder{file: file, discreet: bytes.Contains(data, []byte(KindSecret))}
	for _, doc := range strictyaml.Parse(data) {
		if doc.Root == nil {
			d.add("", "", doc.Problems, d.discreet)
			if len(doc.Problems) == 0 {
				d.problems = append(d.problems, Problem{File: file, Line: doc.Line, Message: "the document is empty"})
			}
			continue
		}
		d.document(doc)
	}
	return d.objects, d.problems
}

// bounded returns the first of problems and how many more there are.
func bounded(problems []Problem, file string) []Problem {
	if n := len(problems); n > maxProblems {
		return append(problems[:maxProblems-1], Problem{File: file, Message: fmt.Sprintf("%d more problems", n-maxProblems+1)})
	}
	return problems
}

// Read decodes a text and checks what is in it: the objects it returns have
// their defaults, are valid and can be run. At most 50 problems are told.
func Read(data []byte, file string) ([]Object, []Problem) {
	objs, problems := decode(data, file)
	out := objs[:0]
	for _, o := range objs {
		found := o.check()
		for _, p := range found {
			problems = append(problems, o.Locate(p))
		}
		if len(found) == 0 {
			out = append(out, o)
		}
	}
	slices.SortStableFunc(problems, func(a, b Problem) int { return a.Line - b.Line })
	return out, bounded(problems, file)
}

type decoder struct {
	file     string
	discreet bool // there may be a Secret in what does not parse
	objects  []Object
	problems []Problem
}

// add takes in what is wrong with an object of a kind; discreet: without values
// that stand in the text.
func (d *decoder) add(object, kind string, found []strictyaml.Problem, discreet bool) {
	for _, p := range found {
		p.Path = shownKey(p.Path, maxPathShown)
		out := Problem{File: d.file, Line: p.Line, Object: object, Field: p.Path, Message: p.Message}
		if discreet {
			out.Message = p.Discreet()
		}
		switch p.Reason {
		case strictyaml.Unknown:
			out.Message = fmt.Sprintf("unknown field %q", p.Path)
			if p.Nearest != "" {
				out.Message += fmt.Sprintf(", did you mean %q?", p.Nearest)
			} else {
				out.Message += ": a " + kind + " has no such field, remove it"
			}
		case strictyaml.Duplicate:
			out.Message = fmt.Sprintf("duplicate field %q: %s", p.Path, p.Message)
		case strictyaml.Mismatch:
			if kind == KindSecret && strings.HasSuffix(p.Message, "base64 text") {
				out.Message += "; plain text goes into stringData"
			}
		}
		d.problems = append(d.problems, out)
	}
}

func (d *decoder) document(doc strictyaml.Document) {
	root := doc.Root
	kind, version := text(root, "kind"), text(root, "apiVersion")
	implied, list := lists[kind]
	if root.Kind != strictyaml.Map || version != "v1" || !list {
		d.object(root, doc.Line, doc.Problems, "")
		return
	}
	d.add(kind, kind, doc.Problems, d.discreet)
	if len(doc.Problems) > 0 {
		return
	}
	for _, key := range root.Keys {
		if key != "apiVersion" && key != "kind" && key != "metadata" && key != "items" {
			nearest := strictyaml.Nearest(key, []string{"apiVersion", "kind", "metadata", "items"})
			d.add(kind, kind, []strictyaml.Problem{{Reason: strictyaml.Unknown, Line: root.LineOf(key), Path: key, Nearest: nearest}}, false)
		}
	}
	items := root.Get("items")
	if items == nil || items.Kind == strictyaml.Null {
		return
	}
	if items.Kind != strictyaml.List {
		d.problems = append(d.problems, Problem{File: d.file, Line: items.Line, Object: kind, Field: "items", Message: "want a list"})
		return
	}
	for _, item := range items.Items {
		d.object(item, item.Line, nil, implied)
	}
}

// object decodes one object; implied is the kind of one that does not say.
func (d *decoder) object(n *strictyaml.Node, line int, found []strictyaml.Problem, implied string) {
	kind, version := text(n, "kind"), text(n, "apiVersion")
	if implied != "" && kind == "" && version == "" {
		kind, version = implied, "v1"
	}
	meta := n.Get("metadata")
	object := describe(cmp.Or(kind, "object"), text(meta, "namespace"), text(meta, "name"))
	if at, message := wrongKind(n, kind, version); message != "" {
		if kind == "" && at == "" || lists[kind] != "" || kind == "List" {
			object = kind
		}
		d.problems = append(d.problems, Problem{File: d.file, Line: n.LineOf(at), Object: object, Field: at, Message: message})
		return
	}
	o := Object{File: d.file, Line: line, node: n}
	found = append(found, n.Decode(o.fresh(kind), "")...)
	d.add(object, kind, found, kind == KindSecret)
	if len(found) > 0 {
		return
	}
	o.setType()
	same := n
	if o.Pod != nil { // what may be edited while it runs makes no other pod of it
		same = n.Without("spec", "ephemeralContainers").Without("spec", "activeDeadlineSeconds")
	}
	sum := sha256.Sum256(same.JSON())
	o.Digest = hex.EncodeToString(sum[:])
	d.objects = append(d.objects, o)
}

// wrongKind returns why n is not taken, and the field that is the reason; "" if
// it is an object of one of our kinds.
func wrongKind(n *strictyaml.Node, kind, version string) (at, message string) {
	_, list := lists[kind]
	switch {
	case n.Kind != strictyaml.Map:
		return "", fmt.Sprintf("want an object with apiVersion, kind and metadata, got %s", n.Kind)
	case kind == "":
		for _, key := range n.Keys {
			if strictyaml.Nearest(key, []string{"kind"}) != "" {
				return key, fmt.Sprintf("unknown field %q, did you mean %q?", key, "kind")
			}
		}
		return "kind", "kind is missing: write \"apiVersion: v1\" and \"kind: Pod\""
	case list && version != "v1":
		return "apiVersion", fmt.Sprintf("a %s is of apiVersion \"v1\", got %q", kind, version)
	case list:
		return "kind", "a list inside of a list is not supported: put its items into a document of their own"
	case !slices.Contains(kinds, kind):
		if near := strictyaml.Nearest(kind, slices.AppendSeq(slices.Clone(kinds), maps.Keys(lists))); near != "" && (version == "v1" || version == "") {
			return "kind", fmt.Sprintf("unknown kind %q, did you mean %q?", kind, near)
		}
		return "kind", "not supported yet: kind " + kind + " (supported: " + strings.Join(kinds, ", ") + ")"
	case version == "":
		return "apiVersion", "apiVersion is missing: write \"apiVersion: v1\""
	case version != "v1":
		return "apiVersion", fmt.Sprintf("not supported: kind %s of apiVersion %q, write \"apiVersion: v1\"", kind, version)
	}
	return "", ""
}

// text returns the text of a key, or "" when it is none.
func text(n *strictyaml.Node, key string) string {
	if v := n.Get(key); v != nil && v.Kind == strictyaml.String {
		return v.Text
	}
	return ""
}
