package server

import (
	"encoding/json"
	"net/http"
	"strconv"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/davit-agent/davit/agent/server/wire"
)

var podType = metav1.TypeMeta{Kind: "Pod", APIVersion: "v1"}

func (s *Server) problems(w http.ResponseWriter, _ *http.Request) {
	items := s.opts.Problems.Problems()
	if items == nil {
		items = []wire.Problem{}
	}
	writeJSON(w, http.StatusOK, wire.Problems{Items: items})
}

func (s *Server) pods(w http.ResponseWriter, r *http.Request) {
	follow, fail := flag(r, "watch")
	if fail != nil {
		fail.reply(w)
		return
	}
	ns := r.URL.Query().Get("namespace")
	if follow {
		s.watch(w, r, ns)
		return
	}
	list := v1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}, Items: []v1.Pod{}}
	for _, p := range s.opts.Pods.List() {
		if ns == "" || p.Namespace == ns {
			list.Items = append(list.Items, *p)
		}
	}
	writeJSON(w, http.StatusOK, &list)
}

func (s *Server) watch(w http.ResponseWriter, r *http.Request, ns string) {
	ctx, out := r.Context(), http.NewResponseController(w)
	defer cutWith(ctx, out.SetWriteDeadline)()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	out.Flush()
	enc := json.NewEncoder(w)
	for ev := range s.opts.Pods.Watch(ctx) {
		pod, ok := ev.Object.(*v1.Pod)
		if !ok || ns != "" && pod.Namespace != ns {
			continue
		}
		typed := *pod
		typed.TypeMeta = podType
		line := metav1.WatchEvent{Type: string(ev.Type), Object: runtime.RawExtension{Object: &typed}}
		if enc.Encode(&line) != nil || out.Flush() != nil {
			return // the reader is gone, and with it r.Context
		}
	}
}

func (s *Server) pod(w http.ResponseWriter, r *http.Request) {
	pod, fail := s.find(r)
	if fail != nil {
		fail.reply(w)
		return
	}
	typed := *pod
	typed.TypeMeta = podType
	writeJSON(w, http.StatusOK, &typed)
}

// find returns the pod that the request's path names, exactly or but for the
// node's suffix.
func (s *Server) find(r *http.Request) (*v1.Pod, *failure) {
	ns, name := r.PathValue("ns"), r.PathValue("name")
	if p, ok := s.opts.Pods.Get(ns, name); ok {
		return p, nil
	}
	for _, p := range s.opts.Pods.List() {
		if p.Namespace == ns && p.Spec.NodeName != "" && p.Name == name+"-"+p.Spec.NodeName {
			if full, ok := s.opts.Pods.Get(ns, p.Name); ok {
				return full, nil
			}
		}
	}
	return nil, s.missing(ns, name)
}

// flag reads a boolean query parameter; absent is false.
func flag(r *http.Request, name string) (bool, *failure) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return false, nil
	}
	v, err := strconv.ParseBool(text)
	if err != nil {
		return false, badRequest("parameter %s: %q is neither true nor false", name, text)
	}
	return v, nil
}

// flags reads several boolean query parameters.
func flags(r *http.Request, into map[string]*bool) *failure {
	for name, v := range into {
		var fail *failure
		if *v, fail = flag(r, name); fail != nil {
			return fail
		}
	}
	return nil
}
