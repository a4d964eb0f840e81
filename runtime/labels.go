package runtime

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
)

// Label keys on containerd's container objects: part of the versioned format
// that davit leaves running. Kubernetes' own keys are used where they exist so
// that other tools (crictl-like viewers, collectors) recognise the containers.
const (
	LabelPodUID        = "io.kubernetes.pod.uid"
	LabelPodName       = "io.kubernetes.pod.name"
	LabelPodNamespace  = "io.kubernetes.pod.namespace"
	LabelContainerName = "io.kubernetes.container.name"
	LabelAttempt       = "davit.io/attempt" // decimal
	LabelGroup         = "davit.io/group"   // shim group
	LabelFormat        = "davit.io/format"  // FormatVersion at creation
)

// FormatVersion is the version of what davit leaves running (labels, pins,
// paths, records). A davit adopts its own version and all older ones.
const FormatVersion = "1"

// ContainerID returns the ID of an attempt: 64 hex digits, as log collectors
// expect of the names in /var/log/containers.
func ContainerID(podUID, container string, attempt uint32) string {
	h := sha256.New()
	h.Write([]byte(podUID + "\x00" + container + "\x00" + strconv.FormatUint(uint64(attempt), 10)))
	return hex.EncodeToString(h.Sum(nil))
}
