package manifests

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/davit-agent/davit/agent/podspec"
	"github.com/davit-agent/davit/agent/podspec/strictyaml"
	"github.com/davit-agent/davit/cmd/davit/printer"
)

// ID names an object.
type ID struct {
	Kind      string // as in manifests: Pod, ConfigMap, ...
	Namespace string // never ""
	Name      string // as written: a pod's without the node's suffix
}

// String is how the command line names it: pod/web.
func (id ID) String() string { return strings.ToLower(id.Kind) + "/" + id.Name }

// long names it in errors, with its namespace.
func (id ID) long() string { return strings.ToLower(id.Kind) + " " + id.Namespace + "/" + id.Name }

// Object is an object as it stands in a manifest.
type Object struct {
	ID
	File string // for messages
	Line int    // 1-based, where it begins

	content []byte // JSON with sorted keys and the namespace filled in
}

// Read reads the objects of a text strictly, as the daemon would. namespace is
// that of objects that name none; "" is default. With a problem no object is
// returned.
func Read(text []byte, file, namespace string) ([]Object, []podspec.Problem) {
	if _, problems := podspec.Read(text, file); len(problems) > 0 {
		return nil, problems
	}
	objs, _ := parse(text, file, namespace)
	var problems []podspec.Problem
	for _, o := range objs {
		if o.reported() {
			problems = append(problems, podspec.Problem{File: file, Line: o.Line, Object: o.Kind + "/" + o.Namespace + "/" + o.Name,
				Message: "this is a pod as davit reports it, with the node's name in its own: apply the manifest that it came from"})
		}
	}
	if len(objs) == 0 {
		problems = append(problems, podspec.Problem{File: file, Line: 1, Message: "there is no object in it"})
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return objs, nil
}

// parse returns the objects of a text as they are. whole is false if there is
// more in it, which does not parse or has no name.
func parse(text []byte, file, namespace string) (objs []Object, whole bool) {
	whole = true
	for _, doc := range strictyaml.Parse(text) {
		if doc.Root == nil || len(doc.Problems) > 0 {
			whole = false
		}
		if doc.Root == nil {
			continue
		}
		kind := textOf(doc.Root, "kind")
		items, implied := []*strictyaml.Node{doc.Root}, ""
		if list := doc.Root.Get("items"); strings.HasSuffix(kind, "List") && list != nil {
			items, implied = list.Items, strings.TrimSuffix(kind, "List")
		}
		for _, n := range items {
			o, ok := object(n, implied, namespace)
			if !ok {
				whole = false
				continue
			}
			o.File, o.Line = file, n.Line
			if n == doc.Root {
				o.Line = doc.Line
			}
			objs = append(objs, o)
		}
	}
	return objs, whole
}

// object makes an Object of a node; implied is the kind of one that does not say.
func object(n *strictyaml.Node, implied, namespace string) (Object, bool) {
	var m map[string]any
	dec := json.NewDecoder(bytes.NewReader(n.JSON()))
	dec.UseNumber() // large numbers stay as they are
	if dec.Decode(&m) != nil {
		return Object{}, false
	}
	meta, _ := m["metadata"].(map[string]any)
	name, _ := meta["name"].(string)
	kind, _ := m["kind"].(string)
	if kind == "" && implied != "" {
		kind = implied
		m["kind"], m["apiVersion"] = kind, "v1"
	}
	if name == "" || kind == "" {
		return Object{}, false
	}
	ns, _ := meta["namespace"].(string)
	ns = cmp.Or(ns, namespace, v1.NamespaceDefault)
	meta["namespace"] = ns
	delete(m, "status") // it tells what was, and the daemon does not look at it
	content, err := json.Marshal(m)
	return Object{ID: ID{Kind: kind, Namespace: ns, Name: name}, content: content}, err == nil
}

func textOf(n *strictyaml.Node, key string) string {
	if v := n.Get(key); v != nil && v.Kind == strictyaml.String {
		return v.Text
	}
	return ""
}

// reported tells a pod that a daemon has reported from one that somebody wrote.
func (o Object) reported() bool {
	var pod struct {
		Metadata struct{ Annotations map[string]string }
	}
	_ = json.Unmarshal(o.content, &pod) // it is our own
	return pod.Metadata.Annotations["kubernetes.io/config.hash"] != ""
}

// Mark begins every file that davit apply writes.
const Mark = "# written by davit apply"

// text is the object as a file.
func (o Object) text(asJSON bool) ([]byte, error) {
	if asJSON {
		var b bytes.Buffer
		err := json.Indent(&b, o.content, "", "  ")
		b.WriteByte('\n')
		return b.Bytes(), err
	}
	data, err := yaml.JSONToYAML([]byte(printer.SafeJSON(string(o.content)))) // which takes no raw control characters
	if err != nil {
		return nil, fmt.Errorf("writing %s as YAML: %w", o.long(), err)
	}
	return append([]byte(Mark+"; to change the object, apply it again or edit this file\n"), data...), nil
}
