package server

import (
	"net/http"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/davit-agent/davit/agent/server/wire"
)

// Objects tells what stands beside the pods in the sources. Each list is ordered
// by namespace and name; what is in it is shared and not changed.
type Objects interface {
	Services() []*v1.Service
	ConfigMaps() []*v1.ConfigMap
	Secrets() []*v1.Secret
}

func (s *Server) services(w http.ResponseWriter, r *http.Request) {
	list := v1.ServiceList{TypeMeta: typeOf("ServiceList"), Items: []v1.Service{}}
	for _, x := range s.opts.Objects.Services() {
		if asked(r, x.Namespace) {
			item := *x
			item.TypeMeta = typeOf("Service")
			list.Items = append(list.Items, item)
		}
	}
	writeJSON(w, http.StatusOK, &list)
}

func (s *Server) configMaps(w http.ResponseWriter, r *http.Request) {
	list := v1.ConfigMapList{TypeMeta: typeOf("ConfigMapList"), Items: []v1.ConfigMap{}}
	for _, x := range s.opts.Objects.ConfigMaps() {
		if asked(r, x.Namespace) {
			item := *x
			item.TypeMeta = typeOf("ConfigMap")
			list.Items = append(list.Items, item)
		}
	}
	writeJSON(w, http.StatusOK, &list)
}

// secrets answers with the keys and the sizes of what is in Secrets, never with
// their contents.
func (s *Server) secrets(w http.ResponseWriter, r *http.Request) {
	list := wire.SecretList{TypeMeta: typeOf("SecretList"), Items: []wire.Secret{}}
	for _, x := range s.opts.Objects.Secrets() {
		if asked(r, x.Namespace) {
			list.Items = append(list.Items, outline(x))
		}
	}
	writeJSON(w, http.StatusOK, &list)
}

// outline is a Secret without its contents. Annotations go as well: kubectl
// keeps a copy of what it applied in one of them.
func outline(x *v1.Secret) wire.Secret {
	out := wire.Secret{
		TypeMeta: typeOf("Secret"), ObjectMeta: *x.ObjectMeta.DeepCopy(),
		Type: x.Type, Immutable: x.Immutable != nil && *x.Immutable, Sizes: map[string]int{},
	}
	out.Annotations, out.ManagedFields = nil, nil
	for key, value := range x.Data {
		out.Sizes[key] = len(value)
	}
	for key, value := range x.StringData { // wins over data, as in the API
		out.Sizes[key] = len(value)
	}
	return out
}

func typeOf(kind string) metav1.TypeMeta { return metav1.TypeMeta{Kind: kind, APIVersion: "v1"} }

// asked tells whether a request is about a namespace.
func asked(r *http.Request, namespace string) bool {
	ns := r.URL.Query().Get("namespace")
	return ns == "" || ns == namespace
}
