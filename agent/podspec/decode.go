package podspec

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/podspec/strictyaml"
)

// maxProblems is how many problems of one file are told; who has more than
// that has the wrong kind of file.
const maxProblems = 50

// Object is a pod as it stands in a file.
type Object struct {
	Pod    *v1.Pod // as written, nothing filled in
	File   string
	Line   int    // 1-based, where the object begins
	Digest string // of the content: 64 hex digits, independent of layout and comments

	node *strictyaml.Node
}

// Decode reads the objects of a YAML or JSON text: several documents, and lists
// (List, PodList) in them. It is strict; an object with a problem is not among
// those returned, but never hides another one. file is for messages.
//
// problems is in the order of the text and holds at most 50.
func Decode(data []byte, file string) (objs []Object, problems []Problem) {
	d := &decoder{file: file}
	for _, doc := range strictyaml.Parse(data) {
		if doc.Root == nil {
			d.add("", doc.Problems, "")
			if len(doc.Problems) == 0 {
				d.problems = append(d.problems, Problem{File: file, Line: doc.Line, Message: "the document is empty"})
			}
			continue
		}
		d.document(doc)
	}
	if n := len(d.problems); n > maxProblems {
		d.problems = append(d.problems[:maxProblems-1], Problem{File: file, Message: fmt.Sprintf("%d more problems", n-maxProblems+1)})
	}
	return d.objects, d.problems
}

// Locate fills in the file, the line and the object of a problem with this
// object's field.
func (o Object) Locate(p Problem) Problem {
	p.File, p.Line = o.File, o.Line
	if p.Object == "" {
		p.Object = describe("Pod", o.Pod.Namespace, o.Pod.Name)
	}
	if o.node != nil {
		p.Line = o.node.LineOf(p.Field)
		if p.Field == "" || p.Line == o.node.Line {
			p.Line = o.Line
		}
	}
	return p
}

// Read decodes a text and checks what is in it: the objects it returns have
// their defaults and can be run.
func Read(data []byte, file string) ([]Object, []Problem) {
	objs, problems := Decode(data, file)
	out := objs[:0]
	for _, o := range objs {
		found := Unsupported(o.Pod)
		Default(o.Pod)
		found = append(found, Validate(o.Pod)...)
		for _, p := range found {
			problems = append(problems, o.Locate(p))
		}
		if len(found) == 0 {
			out = append(out, o)
		}
	}
	slices.SortStableFunc(problems, func(a, b Problem) int { return a.Line - b.Line })
	return out, problems
}

// describe names an object for people.
func describe(kind, namespace, name string) string {
	if name == "" {
		return kind
	}
	if namespace == "" {
		namespace = v1.NamespaceDefault
	}
	return kind + "/" + namespace + "/" + name
}

type decoder struct {
	file     string
	objects  []Object
	problems []Problem
}

func (d *decoder) add(object string, found []strictyaml.Problem, within string) {
	for _, p := range found {
		out := Problem{File: d.file, Line: p.Line, Object: object, Field: p.Path, Message: p.Message}
		switch p.Reason {
		case strictyaml.Unknown:
			out.Message = fmt.Sprintf("unknown field %q", p.Path)
			if p.Nearest != "" {
				out.Message += fmt.Sprintf(", did you mean %q?", p.Nearest)
			} else {
				out.Message += ": " + kindOf(within) + " has no such field, remove it"
			}
		case strictyaml.Duplicate:
			out.Message = fmt.Sprintf("duplicate field %q: %s", p.Path, p.Message)
		}
		d.problems = append(d.problems, out)
	}
}

func kindOf(within string) string {
	if within == "" {
		return "a Pod"
	}
	return "a " + within
}

func (d *decoder) document(doc strictyaml.Document) {
	root := doc.Root
	kind, version := text(root, "kind"), text(root, "apiVersion")
	if root.Kind != strictyaml.Map || version != "v1" || (kind != "List" && kind != "PodList") {
		d.object(root, doc.Line, doc.Problems, "")
		return
	}
	d.add(kind, doc.Problems, kind)
	if len(doc.Problems) > 0 {
		return
	}
	for _, key := range root.Keys {
		if key != "apiVersion" && key != "kind" && key != "metadata" && key != "items" {
			nearest := strictyaml.Nearest(key, []string{"apiVersion", "kind", "metadata", "items"})
			d.add(kind, []strictyaml.Problem{{Reason: strictyaml.Unknown, Line: root.LineOf(key), Path: key, Nearest: nearest}}, kind)
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
		implied := ""
		if kind == "PodList" {
			implied = "Pod"
		}
		d.object(item, item.Line, nil, implied)
	}
}

// object decodes one object; implied is the kind of one that does not say.
func (d *decoder) object(n *strictyaml.Node, line int, found []strictyaml.Problem, implied string) {
	fail := func(object, field, format string, args ...any) {
		d.problems = append(d.problems, Problem{File: d.file, Line: n.LineOf(field), Object: object, Field: field, Message: fmt.Sprintf(format, args...)})
	}
	if n.Kind != strictyaml.Map {
		fail("", "", "want an object with apiVersion, kind and metadata, got %s", n.Kind)
		return
	}
	kind, version := text(n, "kind"), text(n, "apiVersion")
	if implied != "" && kind == "" && version == "" {
		kind, version = implied, "v1"
	}
	meta := n.Get("metadata")
	object := describe(kind, text(meta, "namespace"), text(meta, "name"))
	switch {
	case kind == "":
		for _, key := range n.Keys {
			if strictyaml.Nearest(key, []string{"kind"}) != "" {
				fail(describe("object", text(meta, "namespace"), text(meta, "name")), key, "unknown field %q, did you mean %q?", key, "kind")
				return
			}
		}
		fail(describe("object", text(meta, "namespace"), text(meta, "name")), "kind", "kind is missing: write \"apiVersion: v1\" and \"kind: Pod\"")
		return
	case kind == "List" || kind == "PodList":
		fail(kind, "kind", "a list inside of a list is not supported: put its items into a document of their own")
		return
	case kind != "Pod":
		if near := strictyaml.Nearest(kind, []string{"Pod"}); near != "" {
			fail(object, "kind", "unknown kind %q, did you mean %q?", kind, near)
			return
		}
		fail(object, "kind", "not supported yet: kind %s", kind)
		return
	case version == "":
		fail(object, "apiVersion", "apiVersion is missing: write \"apiVersion: v1\"")
		return
	case version != "v1":
		fail(object, "apiVersion", "not supported: kind Pod of apiVersion %q, write \"apiVersion: v1\"", version)
		return
	}
	pod := &v1.Pod{}
	found = append(found, n.Decode(pod, "")...)
	d.add(object, found, "")
	if len(found) > 0 {
		return
	}
	pod.Kind, pod.APIVersion = "Pod", "v1"
	sum := sha256.Sum256(n.JSON())
	d.objects = append(d.objects, Object{Pod: pod, File: d.file, Line: line, Digest: hex.EncodeToString(sum[:]), node: n})
}

// text returns the text of a key, or "" when it is none.
func text(n *strictyaml.Node, key string) string {
	if v := n.Get(key); v != nil && v.Kind == strictyaml.String {
		return v.Text
	}
	return ""
}
