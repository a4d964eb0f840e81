package source

import (
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/podspec"
)

// entry is an item as it stands in a text.
type entry struct {
	item
	source []byte // as JSON; nil where nobody asks for it
}

// text is what is known of one text: a file, or what a server answered.
type text struct {
	entries  []entry // what it defines; of a broken one also what it defined last
	fresh    int     // how many of them it defines now
	problems []podspec.Problem
	broken   bool
}

// reader turns the texts of one source into what they want.
type reader struct {
	nodeName string
	scheme   string // of origins: file or url, as in kubelet's hash
	sources  bool   // whether entries keep their source
}

// read reads a text, given what was known of it.
func (r reader) read(data []byte, origin string, old *text, now time.Time) *text {
	t := &text{}
	objs, problems := podspec.Read(data, origin)
	t.problems = problems
	if len(objs) == 0 && len(problems) == 0 && r.scheme == schemeFile {
		t.problems = []podspec.Problem{{File: origin, Line: 1, Message: "there is no object in this file: remove the file if that is meant"}}
	}
	before := old.byID()
	known := map[string]bool{}
	for _, o := range objs {
		it, found := r.item(o, now)
		if it != nil {
			known[it.id()] = true
			if was, ok := before[it.id()]; ok {
				it, found = follow(was.item, it, o)
			}
		}
		t.problems = append(t.problems, found...)
		if it == nil {
			continue
		}
		e := entry{item: it}
		if was, ok := before[it.id()]; ok && was.item == it {
			e = was
		} else if r.sources {
			e.source = o.Source()
		}
		t.entries = append(t.entries, e)
	}
	t.fresh = len(t.entries)
	t.broken = serious(t.problems)
	if t.broken {
		t.keep(old, known, origin)
	}
	return t
}

// item makes of an object what this node wants of it; nil: it cannot be.
func (r reader) item(o podspec.Object, now time.Time) (item, []podspec.Problem) {
	meta := o.Meta()
	if meta.Namespace == "" {
		meta.Namespace = v1.NamespaceDefault
	}
	if o.Pod == nil {
		return &Object{ConfigMap: o.ConfigMap, Secret: o.Secret, Service: o.Service, Origin: o.File, Line: o.Line}, nil
	}
	p, problem := r.identify(o, now)
	if problem != nil {
		return nil, []podspec.Problem{*problem}
	}
	return p, nil
}

// follow returns what becomes of was when its text has now in its place: a pod
// keeps the time at which it was first seen, an immutable object its data.
func follow(was, now item, o podspec.Object) (item, []podspec.Problem) {
	var found []podspec.Problem
	switch now := now.(type) {
	case *Pod:
		if old := was.(*Pod); old.uid() == now.uid() {
			now.Pod.Annotations[AnnotationSeen] = old.Pod.Annotations[AnnotationSeen]
		}
	case *Object:
		switch old := was.(*Object); {
		case now.ConfigMap != nil:
			found = podspec.ConfigMapChange(old.ConfigMap, now.ConfigMap)
		case now.Secret != nil:
			found = podspec.SecretChange(old.Secret, now.Secret)
		}
	}
	if len(found) == 0 {
		return now, nil
	}
	for i := range found {
		found[i] = o.Locate(found[i])
	}
	return was, found
}

// keep takes over from old what t does not know.
func (t *text) keep(old *text, known map[string]bool, origin string) {
	if old == nil {
		return
	}
	kept := 0
	for _, e := range old.entries {
		if !known[e.id()] {
			t.entries = append(t.entries, e)
			kept++
		}
	}
	if kept > 0 {
		t.problems = append(t.problems, podspec.Problem{File: origin, Message: fmt.Sprintf("%d objects that it defined before it was broken are kept as they were", kept)})
	}
}

// byID returns the entries by the id of their items; of several with one id the
// first.
func (t *text) byID() map[string]entry {
	out := map[string]entry{}
	if t != nil {
		for _, e := range t.entries {
			if _, has := out[e.id()]; !has {
				out[e.id()] = e
			}
		}
	}
	return out
}

// serious tells whether there is more than warnings.
func serious(problems []podspec.Problem) bool {
	for _, p := range problems {
		if !p.Warning {
			return true
		}
	}
	return false
}
