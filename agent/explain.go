package agent

import (
	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/lifecycle"
	"github.com/davit-agent/davit/agent/pods"
	"github.com/davit-agent/davit/agent/server/wire"
)

// explainer is pods.Pods as the server sees it.
type explainer struct{ *pods.Pods }

// Explain implements server.Explainer.
func (e explainer) Explain(uid string) (wire.Explanation, bool) {
	x, ok := e.Pods.Explain(uid)
	if !ok {
		return wire.Explanation{}, false
	}
	out := wire.Explanation{Origin: x.Origin, Pod: &x.Explanation, Successor: x.Successor}
	if x.Step != nil {
		out.Doing = &wire.Doing{What: x.Step.Describe(), Since: x.Began}
	}
	return out, true
}

// Unstarted implements server.Explainer.
func (e explainer) Unstarted(namespace, name string) (wire.Explanation, bool) {
	d, why, ok := e.Pods.Unstarted(namespace, name)
	if !ok {
		return wire.Explanation{}, false
	}
	return wire.Explanation{
		Namespace: d.Pod.Namespace, Name: d.Pod.Name, UID: string(d.Pod.UID), Origin: d.Origin,
		Pod: &lifecycle.Explanation{Phase: v1.PodPending, Why: why},
	}, true
}
