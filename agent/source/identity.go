package source

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/davit-agent/davit/agent/podspec"
)

// Annotations that kubelet puts on static pods, and so does davit.
const (
	AnnotationHash   = "kubernetes.io/config.hash"   // of content, node and file; the UID unless the manifest has one
	AnnotationSource = "kubernetes.io/config.source" // "file"
	AnnotationSeen   = "kubernetes.io/config.seen"   // RFC 3339, when this process first read it
)

// identify makes a static pod of what stands in a file: it changes o.Pod.
func identify(o podspec.Object, nodeName string, now time.Time) (*Pod, *podspec.Problem) {
	pod := o.Pod
	sum := sha256.Sum256(fmt.Appendf(nil, "davit static pod\x00%s\x00host:%s\x00file:%s", o.Digest, nodeName, o.File))
	hash := hex.EncodeToString(sum[:16])
	if pod.UID == "" {
		pod.UID = types.UID(hash)
	}
	if pod.Namespace == "" {
		pod.Namespace = v1.NamespaceDefault
	}
	pod.Name += "-" + strings.ToLower(nodeName)
	if msgs := validation.IsDNS1123Subdomain(pod.Name); len(msgs) > 0 {
		p := o.Locate(podspec.Problem{Field: "metadata.name", Message: fmt.Sprintf(
			"with the node's name it becomes %q: %s", pod.Name, strings.Join(msgs, ", "))})
		return nil, &p
	}
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	pod.Annotations[AnnotationHash] = hash
	pod.Annotations[AnnotationSource] = "file"
	pod.Annotations[AnnotationSeen] = now.Format(time.RFC3339Nano)
	pod.Spec.NodeName = nodeName
	all := v1.Toleration{Operator: v1.TolerationOpExists, Effect: v1.TaintEffectNoExecute}
	if !slices.Contains(pod.Spec.Tolerations, all) {
		pod.Spec.Tolerations = append(pod.Spec.Tolerations, all)
	}
	pod.Status = v1.PodStatus{Phase: v1.PodPending}
	return &Pod{Pod: pod, Origin: o.File, Line: o.Line}, nil
}

// duplicate is the problem of p, whose name or UID other has.
func duplicate(p, other *Pod) podspec.Problem {
	what, field := "the name of pod "+key(p.Pod), "metadata.name"
	if key(p.Pod) != key(other.Pod) {
		what, field = "the UID of pod "+key(p.Pod)+", "+string(p.Pod.UID)+",", "metadata.uid"
	}
	return podspec.Problem{File: p.Origin, Line: p.Line, Object: "Pod/" + key(p.Pod), Field: field, Message: fmt.Sprintf(
		"%s is taken by %s:%d, which was there first: change or remove one of them", what, other.Origin, other.Line)}
}
