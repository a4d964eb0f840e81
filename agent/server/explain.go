package server

import (
	"net/http"
	"slices"

	"github.com/davit-agent/davit/agent/lifecycle"
	"github.com/davit-agent/davit/agent/server/wire"
)

// Explainer tells why a pod is where it is.
type Explainer interface {
	// Explain returns what is known of the pod of this UID; names and problems
	// are filled in by the server. False: nothing yet.
	Explain(uid string) (wire.Explanation, bool)
	// Unstarted explains a pod that is wanted, but that nothing works on; the
	// node's suffix of its name may be left out. False: there is none.
	Unstarted(namespace, name string) (wire.Explanation, bool)
}

func (s *Server) explain(w http.ResponseWriter, r *http.Request) {
	ns, name := r.PathValue("ns"), r.PathValue("name")
	pod, missing := s.find(r)
	if missing != nil {
		e, wanted := s.opts.Explainer.Unstarted(ns, name)
		if wanted {
			e.Problems = s.problemsOf(e.Origin, ns, name)
			writeJSON(w, http.StatusOK, e)
			return
		}
		e = wire.Explanation{Namespace: ns, Name: name, Problems: s.problemsOf("", ns, name)}
		if len(e.Problems) == 0 {
			missing.reply(w)
			return
		}
		e.Origin = e.Problems[0].File
		writeJSON(w, http.StatusOK, e)
		return
	}
	e, ok := s.opts.Explainer.Explain(string(pod.UID))
	if !ok {
		e.Pod = &lifecycle.Explanation{Phase: pod.Status.Phase, Why: "the node has not looked at the pod yet"}
	}
	e.Namespace, e.Name, e.UID = pod.Namespace, pod.Name, string(pod.UID)
	e.Problems = s.problemsOf(e.Origin, ns, pod.Name, bare(pod))
	writeJSON(w, http.StatusOK, e)
}

// problemsOf returns the problems of a file and those of pods of these names.
func (s *Server) problemsOf(file, ns string, names ...string) []wire.Problem {
	var out []wire.Problem
	for _, p := range s.opts.Problems.Problems() {
		of := slices.ContainsFunc(names, func(name string) bool {
			return p.Object == "Pod/"+ns+"/"+name
		})
		if of || file != "" && p.File == file {
			out = append(out, p)
		}
	}
	return out
}
