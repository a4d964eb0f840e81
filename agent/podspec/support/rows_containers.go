package support

import (
	"slices"

	v1 "k8s.io/api/core/v1"
)

// resources are what a container may ask for.
var resources = []string{string(v1.ResourceCPU), string(v1.ResourceMemory), v1.ResourceHugePagesPrefix + "*"}

const (
	noteClaims    = "there are no drivers for dynamic resource allocation"
	noteResize    = "a pod is not resized in place; the API server fills this in"
	noteResources = "huge pages of the sizes that the node has; ephemeral-storage is not accounted, and there are no device plugins"
	noteSidecar   = "of sidecars (restartPolicy: Always)"
	noteRestart   = "Kubernetes' gate ContainerRestartRules, on by default"
)

var containerRows = slices.Concat(
	all("spec.", "containers", "initContainers", "ephemeralContainers"),
	all("spec.containers[].", "name", "image", "command", "args", "workingDir", "ports", "ports[].name", "ports[].containerPort",
		"env", "env[].name", "env[].value", "terminationMessagePath", "terminationMessagePolicy", "imagePullPolicy", "tty",
		"volumeMounts", "volumeMounts[].name", "volumeMounts[].readOnly", "volumeMounts[].recursiveReadOnly", "volumeMounts[].mountPath",
		"volumeMounts[].subPath", "volumeMounts[].mountPropagation", "volumeMounts[].subPathExpr",
		"envFrom", "envFrom[].prefix", "envFrom[].configMapRef", "envFrom[].configMapRef.name", "envFrom[].configMapRef.optional",
		"envFrom[].secretRef", "envFrom[].secretRef.name", "envFrom[].secretRef.optional"),
	all("spec.containers[].env[].valueFrom", "", ".fieldRef", ".fieldRef.apiVersion", ".fieldRef.fieldPath",
		".resourceFieldRef", ".resourceFieldRef.containerName", ".resourceFieldRef.resource", ".resourceFieldRef.divisor",
		".configMapKeyRef", ".configMapKeyRef.name", ".configMapKeyRef.key", ".configMapKeyRef.optional",
		".secretKeyRef", ".secretKeyRef.name", ".secretKeyRef.key", ".secretKeyRef.optional"),
	all("spec.containers[].restartPolicyRules[]", ".action", ".exitCodes", ".exitCodes.operator", ".exitCodes.values"),
	[]Row{
		{Path: "spec.containers[].ports[].protocol", Support: Supported, Note: "a container may listen on anything; ports are told, and named in probes and hooks"},
		{Path: "spec.containers[].ports[].hostPort", Support: Supported, If: HostNetwork, Note: "without hostNetwork: not yet"},
		{Path: "spec.containers[].ports[].hostIP", Support: NotYet, Note: "comes with hostPort"},
		{Path: "spec.containers[].env[].valueFrom.fileKeyRef", Support: NotYet, Note: "read the file in the container's command"},
		{Path: "spec.containers[].resources", Support: Supported},
		{Path: "spec.containers[].resources.limits", Support: Supported, Values: resources, Note: noteResources},
		{Path: "spec.containers[].resources.requests", Support: Supported, Values: resources, Note: noteResources},
		{Path: "spec.containers[].resources.claims", Support: Refused, Note: noteClaims},
		{Path: "spec.containers[].resizePolicy", Support: Ignored, Note: noteResize},
		{Path: "spec.containers[].restartPolicy", Support: Supported, Note: noteRestart},
		{Path: "spec.containers[].restartPolicyRules", Support: Supported, Note: noteRestart},
		{Path: "spec.containers[].volumeDevices", Support: NotYet, Note: "needs a CSI driver"},
		{Path: "spec.containers[].stdin", Support: Supported, Note: "an input that is open and says nothing until somebody attaches"},
		{Path: "spec.containers[].stdinOnce", Support: NotYet, Note: "comes with attach; leave it out"},
		{Path: "spec.initContainers[].restartPolicy", Support: Supported, Note: "Always makes it a sidecar"},
		{Path: "spec.initContainers[].livenessProbe", Support: Supported, Note: noteSidecar},
		{Path: "spec.initContainers[].readinessProbe", Support: Supported, Note: noteSidecar},
		{Path: "spec.initContainers[].startupProbe", Support: Supported, Note: noteSidecar},
		{Path: "spec.initContainers[].lifecycle", Support: Supported, Note: noteSidecar},
		{Path: "spec.ephemeralContainers[].targetContainerName", Support: Supported, Note: "whose processes it sees"},
	},
	none(Invalid, "of no use to a container that comes later to look", "spec.ephemeralContainers[].", "ports", "resources", "resizePolicy",
		"restartPolicy", "restartPolicyRules", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle",
		"volumeMounts[].subPath", "volumeMounts[].subPathExpr"),
)

var (
	httpFields = []string{".httpGet", ".httpGet.path", ".httpGet.port", ".httpGet.host", ".httpGet.scheme",
		".httpGet.httpHeaders", ".httpGet.httpHeaders[].name", ".httpGet.httpHeaders[].value"}
	handlerFields = slices.Concat([]string{"", ".exec", ".exec.command", ".tcpSocket", ".tcpSocket.port", ".tcpSocket.host"}, httpFields)
	probeFields   = slices.Concat(handlerFields, []string{".grpc", ".grpc.port", ".grpc.service", ".initialDelaySeconds", ".timeoutSeconds",
		".periodSeconds", ".successThreshold", ".failureThreshold"})
)

var probeRows = slices.Concat(
	all("spec.containers[].livenessProbe", probeFields...),
	all("spec.containers[].livenessProbe", ".terminationGracePeriodSeconds"),
	all("spec.containers[].readinessProbe", probeFields...),
	none(Invalid, "only what kills a container needs a grace period", "spec.containers[].readinessProbe", ".terminationGracePeriodSeconds"),
	all("spec.containers[].startupProbe", probeFields...),
	all("spec.containers[].startupProbe", ".terminationGracePeriodSeconds"),
	all("spec.containers[].lifecycle", ""),
	all("spec.containers[].lifecycle.postStart", handlerFields...),
	all("spec.containers[].lifecycle.postStart", ".sleep", ".sleep.seconds"),
	all("spec.containers[].lifecycle.preStop", handlerFields...),
	all("spec.containers[].lifecycle.preStop", ".sleep", ".sleep.seconds"),
	[]Row{{Path: "spec.containers[].lifecycle.stopSignal", Support: Supported, Note: "needs spec.os; Kubernetes' gate ContainerStopSignals is off by default"}},
)
