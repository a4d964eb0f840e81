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
	AnnotationHash   = "kubernetes.io/config.hash"   // of content, node and file or URL; the UID unless the manifest has one
	AnnotationSource = "kubernetes.io/config.source" // "file" or "http"
	AnnotationSeen   = "kubernetes.io/config.seen"   // RFC 3339, when this process first read it
)

// The schemes of origins, as in kubelet's hash.
const (
	schemeFile = "file"
	schemeURL  = "url"
)

// identify makes a static pod of what stands in a text: it changes o.Pod.
func (r reader) identify(o podspec.Object, now time.Time) (*Pod, *podspec.Problem) {
	pod, nodeName := o.Pod, r.nodeName
	sum := sha256.Sum256(fmt.Appendf(nil, "davit static pod\x00%s\x00host:%s\x00%s:%s", o.Digest, nodeName, r.scheme, o.File))
	hash := hex.EncodeToString(sum[:16])
	if pod.UID == "" {
		pod.UID = types.UID(hash)
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
	pod.Annotations[AnnotationSource] = map[string]string{schemeFile: "file", schemeURL: "http"}[r.scheme]
	pod.Annotations[AnnotationSeen] = now.Format(time.RFC3339Nano)
	pod.Spec.NodeName = nodeName
	all := v1.Toleration{Operator: v1.TolerationOpExists, Effect: v1.TaintEffectNoExecute}
	if !slices.Contains(pod.Spec.Tolerations, all) {
		pod.Spec.Tolerations = append(pod.Spec.Tolerations, all)
	}
	pod.Status = v1.PodStatus{Phase: v1.PodPending}
	return &Pod{Pod: pod, Origin: o.File, Line: o.Line}, nil
}
