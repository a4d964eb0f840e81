package server

import (
	"cmp"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/podspec/strictyaml"
)

// missing tells that there is no pod of this name, and which was perhaps meant.
func (s *Server) missing(ns, name string) *failure {
	var here, elsewhere []string
	for _, p := range s.opts.Pods.List() {
		switch {
		case p.Namespace == ns:
			here = append(here, p.Name)
		case p.Name == name || bare(p) == name:
			elsewhere = append(elsewhere, p.Namespace)
		}
	}
	hint := ""
	if len(elsewhere) > 0 {
		ns := slices.Compact(slices.Sorted(slices.Values(elsewhere)))
		hint = "; there is one in namespace " + strings.Join(ns, " and one in ") + ": use -n " + ns[0]
	} else if near := nearest(name, here); len(near) > 0 {
		hint = "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return notFound("pods %q not found in namespace %q%s", name, ns, hint)
}

// bare is a pod's name without the node's suffix.
func bare(p *v1.Pod) string {
	if p.Spec.NodeName == "" {
		return p.Name
	}
	return strings.TrimSuffix(p.Name, "-"+p.Spec.NodeName)
}

// mostNear bounds how many names are proposed.
const mostNear = 3

// nearest returns the names that begin with word, or the one that is nearest to
// it.
func nearest(word string, names []string) []string {
	var out []string
	for _, n := range names {
		if word != "" && strings.HasPrefix(n, word) {
			out = append(out, n)
		}
	}
	if len(out) > 0 {
		slices.SortFunc(out, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
		return out[:min(len(out), mostNear)]
	}
	if n := strictyaml.Nearest(word, names); n != "" {
		return []string{n}
	}
	// The node's suffix makes a long name of a short one.
	stems := map[string]string{}
	var short []string
	for _, n := range names {
		if i := strings.LastIndexByte(n, '-'); i > 0 {
			stems[n[:i]] = n
			short = append(short, n[:i])
		}
	}
	if n := strictyaml.Nearest(word, short); n != "" {
		return []string{stems[n]}
	}
	return nil
}
