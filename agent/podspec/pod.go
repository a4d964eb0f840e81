package podspec

import (
	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/podspec/pod"
	"github.com/davit-agent/davit/agent/podspec/support"
)

// Default fills in what the Kubernetes API fills in when a pod is stored, for
// the fields that davit supports. It changes nothing that is set, so it may be
// applied again.
func Default(p *v1.Pod) { pod.Default(p) }

// Validate returns what Kubernetes would refuse about a pod whose defaults are
// filled in. Fields that davit does not support yet are not looked at; that is
// Unsupported's part.
func Validate(p *v1.Pod) []Problem {
	return located(KindPod, &p.ObjectMeta, pod.Validate(p))
}

// Unsupported returns what a pod asks for and davit cannot do, each field by its
// path: "not supported yet: spec.volumes[0].csi: ...". It may be applied before
// or after Default.
func Unsupported(p *v1.Pod) []Problem {
	var out []Problem
	for _, r := range support.Refusals(p) {
		out = append(out, Problem{Object: describe(KindPod, p.Namespace, p.Name), Field: r.Field, Message: r.Message})
	}
	return out
}
