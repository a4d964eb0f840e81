package server

import (
	"context"
	"net/http"

	v1 "k8s.io/api/core/v1"
)

// NodeInfo tells of the node itself.
type NodeInfo interface {
	// Node returns the node as Kubernetes describes it, made anew for each call.
	Node(ctx context.Context) (*v1.Node, error)
}

func (s *Server) node(w http.ResponseWriter, r *http.Request) {
	node, err := s.opts.Node.Node(r.Context())
	if err != nil {
		internal(err).reply(w)
		return
	}
	node.TypeMeta = typeOf("Node")
	writeJSON(w, http.StatusOK, node)
}
