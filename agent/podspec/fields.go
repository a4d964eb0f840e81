package podspec

import (
	"slices"

	v1 "k8s.io/api/core/v1"
)

// Support says what davit does with a field.
type Support string

// What davit may do with a field.
const (
	Supported Support = "supported"
	Ignored   Support = "ignored by design"
	NotYet    Support = "not yet"
)

// Row is what davit does with one field of a Pod. The row of a field that is
// ignored or not yet supported stands for everything below it, too.
type Row struct {
	// Path of the field; [] stands for any index. Rows of spec.containers[]
	// hold for spec.initContainers[] too where that has none of its own.
	Path    string
	Support Support
	// Values, of a supported field: the only ones (of a map: the only keys)
	// that are supported yet; a * at the end stands for anything. Empty: all
	// that are valid.
	Values []string
	// If, of a supported field: the condition under which it is.
	If   Condition
	Note string // for people
}

// Condition is a condition on the pod that a Row may have.
type Condition string

// HostNetwork is the condition of rows that hold for pods on the host's network
// only.
const HostNetwork Condition = "hostNetwork is true"

// SafeSysctls are the sysctls that a pod may set: those that are namespaced and
// concern no other pod (kubelet's list of safe ones).
var SafeSysctls = []string{
	"kernel.shm_rmid_forced",
	"net.ipv4.ip_local_port_range",
	"net.ipv4.ip_local_reserved_ports",
	"net.ipv4.ip_unprivileged_port_start",
	"net.ipv4.ping_group_range",
	"net.ipv4.tcp_fin_timeout",
	"net.ipv4.tcp_keepalive_intvl",
	"net.ipv4.tcp_keepalive_probes",
	"net.ipv4.tcp_keepalive_time",
	"net.ipv4.tcp_rmem",
	"net.ipv4.tcp_syncookies",
	"net.ipv4.tcp_wmem",
}

const (
	noteScheduler = "the pod is on this node already"
	noteServer    = "kept by the API server"
	noteToken     = "only a control plane can issue a token"
)

// all are the rows of a field and of those below it, of which each is supported.
func all(path string, below ...string) []Row {
	var rows []Row
	for _, name := range below {
		rows = append(rows, Row{Path: path + name, Support: Supported})
	}
	return rows
}

// Rows is what davit does with each field of a Pod, in the order of the API.
var Rows = slices.Concat(
	[]Row{
		{Path: "kind", Support: Supported},
		{Path: "apiVersion", Support: Supported},
		{Path: "metadata", Support: Supported},
		{Path: "metadata.name", Support: Supported, Note: "from a file: suffixed with the node's name"},
		{Path: "metadata.generateName", Support: NotYet},
		{Path: "metadata.namespace", Support: Supported, Note: "default: default"},
		{Path: "metadata.selfLink", Support: Ignored, Note: noteServer},
		{Path: "metadata.uid", Support: Supported, Note: "from a file: default is a hash of content, node and file"},
		{Path: "metadata.resourceVersion", Support: Ignored, Note: noteServer},
		{Path: "metadata.generation", Support: Ignored, Note: noteServer},
		{Path: "metadata.creationTimestamp", Support: Ignored, Note: noteServer},
		{Path: "metadata.deletionTimestamp", Support: NotYet, Note: "to delete a pod, remove it from its file"},
		{Path: "metadata.deletionGracePeriodSeconds", Support: NotYet},
		{Path: "metadata.labels", Support: Supported},
		{Path: "metadata.annotations", Support: Supported},
		{Path: "metadata.ownerReferences", Support: Ignored, Note: noteServer},
		{Path: "metadata.finalizers", Support: Ignored, Note: noteServer},
		{Path: "metadata.managedFields", Support: Ignored, Note: noteServer},
		{Path: "status", Support: Ignored, Note: "written by davit, not read"},

		{Path: "spec", Support: Supported},
		{Path: "spec.volumes", Support: Supported},
		{Path: "spec.volumes[].name", Support: Supported},
		{Path: "spec.volumes[].hostPath", Support: Supported},
		{Path: "spec.volumes[].hostPath.path", Support: Supported},
		{Path: "spec.volumes[].hostPath.type", Support: Supported},
		{Path: "spec.volumes[].emptyDir", Support: Supported},
		{Path: "spec.volumes[].emptyDir.medium", Support: Supported, Values: []string{string(v1.StorageMediumMemory), string(v1.StorageMediumHugePages), string(v1.StorageMediumHugePagesPrefix) + "*"}},
		{Path: "spec.volumes[].emptyDir.sizeLimit", Support: Supported, Note: "the size of the tmpfs; on disk the pod is evicted when it has more"},
		{Path: "spec.volumes[].gcePersistentDisk", Support: NotYet},
		{Path: "spec.volumes[].awsElasticBlockStore", Support: NotYet},
		{Path: "spec.volumes[].gitRepo", Support: NotYet},
	},
	all("spec.volumes[].secret", "", ".secretName", ".items", ".items[].key", ".items[].path", ".items[].mode", ".defaultMode", ".optional"),
	[]Row{
		{Path: "spec.volumes[].nfs", Support: NotYet},
		{Path: "spec.volumes[].iscsi", Support: NotYet},
		{Path: "spec.volumes[].glusterfs", Support: NotYet},
		{Path: "spec.volumes[].persistentVolumeClaim", Support: NotYet},
		{Path: "spec.volumes[].rbd", Support: NotYet},
		{Path: "spec.volumes[].flexVolume", Support: NotYet},
		{Path: "spec.volumes[].cinder", Support: NotYet},
		{Path: "spec.volumes[].cephfs", Support: NotYet},
		{Path: "spec.volumes[].flocker", Support: NotYet},
	},
	all("spec.volumes[].downwardAPI", "", ".items", ".items[].path", ".items[].fieldRef", ".items[].fieldRef.apiVersion", ".items[].fieldRef.fieldPath",
		".items[].resourceFieldRef", ".items[].resourceFieldRef.containerName", ".items[].resourceFieldRef.resource", ".items[].resourceFieldRef.divisor", ".items[].mode", ".defaultMode"),
	[]Row{
		{Path: "spec.volumes[].fc", Support: NotYet},
		{Path: "spec.volumes[].azureFile", Support: NotYet},
	},
	all("spec.volumes[].configMap", "", ".name", ".items", ".items[].key", ".items[].path", ".items[].mode", ".defaultMode", ".optional"),
	[]Row{
		{Path: "spec.volumes[].vsphereVolume", Support: NotYet},
		{Path: "spec.volumes[].quobyte", Support: NotYet},
		{Path: "spec.volumes[].azureDisk", Support: NotYet},
		{Path: "spec.volumes[].photonPersistentDisk", Support: NotYet},
	},
	all("spec.volumes[].projected", "", ".sources"),
	all("spec.volumes[].projected.sources[].secret", "", ".name", ".items", ".items[].key", ".items[].path", ".items[].mode", ".optional"),
	all("spec.volumes[].projected.sources[].downwardAPI", "", ".items", ".items[].path", ".items[].fieldRef", ".items[].fieldRef.apiVersion", ".items[].fieldRef.fieldPath",
		".items[].resourceFieldRef", ".items[].resourceFieldRef.containerName", ".items[].resourceFieldRef.resource", ".items[].resourceFieldRef.divisor", ".items[].mode"),
	all("spec.volumes[].projected.sources[].configMap", "", ".name", ".items", ".items[].key", ".items[].path", ".items[].mode", ".optional"),
	[]Row{
		{Path: "spec.volumes[].projected.sources[].serviceAccountToken", Support: NotYet, Note: noteToken},
		{Path: "spec.volumes[].projected.sources[].clusterTrustBundle", Support: NotYet},
		{Path: "spec.volumes[].projected.sources[].podCertificate", Support: NotYet},
	},
	all("spec.volumes[].projected", ".defaultMode"),
	[]Row{
		{Path: "spec.volumes[].portworxVolume", Support: NotYet},
		{Path: "spec.volumes[].scaleIO", Support: NotYet},
		{Path: "spec.volumes[].storageos", Support: NotYet},
		{Path: "spec.volumes[].csi", Support: NotYet},
		{Path: "spec.volumes[].ephemeral", Support: NotYet},
		{Path: "spec.volumes[].image", Support: NotYet},
		{Path: "spec.initContainers", Support: Supported},
		{Path: "spec.initContainers[].restartPolicy", Support: Supported, Values: []string{string(v1.ContainerRestartPolicyAlways)}, Note: "makes it a sidecar"},
		{Path: "spec.containers", Support: Supported},
		{Path: "spec.containers[].name", Support: Supported},
		{Path: "spec.containers[].image", Support: Supported},
		{Path: "spec.containers[].command", Support: Supported},
		{Path: "spec.containers[].args", Support: Supported},
		{Path: "spec.containers[].workingDir", Support: Supported},
		{Path: "spec.containers[].ports", Support: Supported},
		{Path: "spec.containers[].ports[].name", Support: Supported},
		{Path: "spec.containers[].ports[].hostPort", Support: Supported, If: HostNetwork},
		{Path: "spec.containers[].ports[].containerPort", Support: Supported},
		{Path: "spec.containers[].ports[].protocol", Support: Supported},
		{Path: "spec.containers[].ports[].hostIP", Support: NotYet},
	},
	all("spec.containers[].envFrom", "", "[].prefix", "[].configMapRef", "[].configMapRef.name", "[].configMapRef.optional",
		"[].secretRef", "[].secretRef.name", "[].secretRef.optional"),
	[]Row{
		{Path: "spec.containers[].env", Support: Supported},
		{Path: "spec.containers[].env[].name", Support: Supported},
		{Path: "spec.containers[].env[].value", Support: Supported},
	},
	all("spec.containers[].env[].valueFrom", "", ".fieldRef", ".fieldRef.apiVersion", ".fieldRef.fieldPath",
		".resourceFieldRef", ".resourceFieldRef.containerName", ".resourceFieldRef.resource", ".resourceFieldRef.divisor",
		".configMapKeyRef", ".configMapKeyRef.name", ".configMapKeyRef.key", ".configMapKeyRef.optional",
		".secretKeyRef", ".secretKeyRef.name", ".secretKeyRef.key", ".secretKeyRef.optional"),
	[]Row{
		{Path: "spec.containers[].env[].valueFrom.fileKeyRef", Support: NotYet},
		{Path: "spec.containers[].resources", Support: Supported},
		{Path: "spec.containers[].resources.limits", Support: Supported, Values: resources},
		{Path: "spec.containers[].resources.requests", Support: Supported, Values: resources},
		{Path: "spec.containers[].resources.claims", Support: NotYet},
		{Path: "spec.containers[].resizePolicy", Support: Ignored, Note: "a pod is not resized in place; the API server fills this in"},
		{Path: "spec.containers[].restartPolicy", Support: NotYet},
		{Path: "spec.containers[].restartPolicyRules", Support: NotYet},
		{Path: "spec.containers[].volumeMounts", Support: Supported},
		{Path: "spec.containers[].volumeMounts[].name", Support: Supported},
		{Path: "spec.containers[].volumeMounts[].readOnly", Support: Supported},
		{Path: "spec.containers[].volumeMounts[].recursiveReadOnly", Support: Supported},
		{Path: "spec.containers[].volumeMounts[].mountPath", Support: Supported},
		{Path: "spec.containers[].volumeMounts[].subPath", Support: Supported},
		{Path: "spec.containers[].volumeMounts[].mountPropagation", Support: Supported},
		{Path: "spec.containers[].volumeMounts[].subPathExpr", Support: Supported},
		{Path: "spec.containers[].volumeDevices", Support: NotYet},
		{Path: "spec.containers[].livenessProbe", Support: NotYet},
		{Path: "spec.containers[].readinessProbe", Support: NotYet},
		{Path: "spec.containers[].startupProbe", Support: NotYet},
		{Path: "spec.containers[].lifecycle", Support: NotYet},
		{Path: "spec.containers[].terminationMessagePath", Support: Supported},
		{Path: "spec.containers[].terminationMessagePolicy", Support: Supported},
		{Path: "spec.containers[].imagePullPolicy", Support: Supported},
		{Path: "spec.containers[].securityContext", Support: Supported},
		{Path: "spec.containers[].securityContext.capabilities", Support: Supported},
		{Path: "spec.containers[].securityContext.capabilities.add", Support: Supported},
		{Path: "spec.containers[].securityContext.capabilities.drop", Support: Supported},
		{Path: "spec.containers[].securityContext.privileged", Support: Supported},
		{Path: "spec.containers[].securityContext.seLinuxOptions", Support: NotYet},
		{Path: "spec.containers[].securityContext.windowsOptions", Support: NotYet},
		{Path: "spec.containers[].securityContext.runAsUser", Support: Supported},
		{Path: "spec.containers[].securityContext.runAsGroup", Support: Supported},
		{Path: "spec.containers[].securityContext.runAsNonRoot", Support: Supported},
		{Path: "spec.containers[].securityContext.readOnlyRootFilesystem", Support: Supported},
		{Path: "spec.containers[].securityContext.allowPrivilegeEscalation", Support: Supported},
		{Path: "spec.containers[].securityContext.procMount", Support: Supported, Values: []string{string(v1.DefaultProcMount)}},
		{Path: "spec.containers[].securityContext.seccompProfile", Support: Supported},
		{Path: "spec.containers[].securityContext.seccompProfile.type", Support: Supported, Values: seccompTypes},
		{Path: "spec.containers[].securityContext.seccompProfile.localhostProfile", Support: NotYet},
		{Path: "spec.containers[].securityContext.appArmorProfile", Support: Supported},
		{Path: "spec.containers[].securityContext.appArmorProfile.type", Support: Supported, Values: []string{string(v1.AppArmorProfileTypeUnconfined)}},
		{Path: "spec.containers[].securityContext.appArmorProfile.localhostProfile", Support: NotYet},
		{Path: "spec.containers[].stdin", Support: NotYet},
		{Path: "spec.containers[].stdinOnce", Support: NotYet},
		{Path: "spec.containers[].tty", Support: Supported},
		{Path: "spec.ephemeralContainers", Support: NotYet},
		{Path: "spec.restartPolicy", Support: Supported},
		{Path: "spec.terminationGracePeriodSeconds", Support: Supported},
		{Path: "spec.activeDeadlineSeconds", Support: NotYet},
		{Path: "spec.dnsPolicy", Support: Supported, Note: "ClusterFirst without dns.servers, or with hostNetwork, is Default"},
		{Path: "spec.nodeSelector", Support: Ignored, Note: noteScheduler},
		{Path: "spec.serviceAccountName", Support: Ignored, Note: noteToken},
		{Path: "spec.serviceAccount", Support: Ignored, Note: noteToken},
		{Path: "spec.automountServiceAccountToken", Support: Ignored, Note: noteToken},
		{Path: "spec.nodeName", Support: Ignored, Note: noteScheduler},
		{Path: "spec.hostNetwork", Support: Supported},
		{Path: "spec.hostPID", Support: NotYet},
		{Path: "spec.hostIPC", Support: NotYet},
		{Path: "spec.shareProcessNamespace", Support: Supported},
		{Path: "spec.securityContext", Support: Supported},
		{Path: "spec.securityContext.seLinuxOptions", Support: NotYet},
		{Path: "spec.securityContext.windowsOptions", Support: NotYet},
		{Path: "spec.securityContext.runAsUser", Support: Supported},
		{Path: "spec.securityContext.runAsGroup", Support: Supported},
		{Path: "spec.securityContext.runAsNonRoot", Support: Supported},
		{Path: "spec.securityContext.supplementalGroups", Support: Supported},
		{Path: "spec.securityContext.supplementalGroupsPolicy", Support: Supported, Values: []string{string(v1.SupplementalGroupsPolicyMerge)}},
		{Path: "spec.securityContext.fsGroup", Support: Supported},
		{Path: "spec.securityContext.sysctls", Support: Supported},
		{Path: "spec.securityContext.sysctls[].name", Support: Supported, Values: SafeSysctls},
		{Path: "spec.securityContext.sysctls[].value", Support: Supported},
		{Path: "spec.securityContext.fsGroupChangePolicy", Support: Supported},
		{Path: "spec.securityContext.seccompProfile", Support: Supported},
		{Path: "spec.securityContext.seccompProfile.type", Support: Supported, Values: seccompTypes},
		{Path: "spec.securityContext.seccompProfile.localhostProfile", Support: NotYet},
		{Path: "spec.securityContext.appArmorProfile", Support: Supported},
		{Path: "spec.securityContext.appArmorProfile.type", Support: Supported, Values: []string{string(v1.AppArmorProfileTypeUnconfined)}},
		{Path: "spec.securityContext.appArmorProfile.localhostProfile", Support: NotYet},
		{Path: "spec.securityContext.seLinuxChangePolicy", Support: NotYet},
	},
	all("spec.imagePullSecrets", "", "[].name"),
	[]Row{
		{Path: "spec.hostname", Support: Supported},
		{Path: "spec.subdomain", Support: Supported},
		{Path: "spec.affinity", Support: Ignored, Note: noteScheduler},
		{Path: "spec.schedulerName", Support: Ignored, Note: noteScheduler},
		{Path: "spec.tolerations", Support: Ignored, Note: noteScheduler},
	},
	all("spec.hostAliases", "", "[].ip", "[].hostnames"),
	[]Row{
		{Path: "spec.priorityClassName", Support: Ignored, Note: noteScheduler},
		{Path: "spec.priority", Support: Ignored, Note: noteScheduler},
	},
	all("spec.dnsConfig", "", ".nameservers", ".searches", ".options", ".options[].name", ".options[].value"),
	[]Row{
		{Path: "spec.readinessGates", Support: NotYet},
		{Path: "spec.runtimeClassName", Support: NotYet},
		{Path: "spec.enableServiceLinks", Support: Ignored, Note: "davit knows no Services yet, so there are no variables for them"},
		{Path: "spec.preemptionPolicy", Support: Ignored, Note: noteScheduler},
		{Path: "spec.overhead", Support: NotYet},
		{Path: "spec.topologySpreadConstraints", Support: Ignored, Note: noteScheduler},
		{Path: "spec.setHostnameAsFQDN", Support: Supported},
		{Path: "spec.os", Support: Supported},
		{Path: "spec.os.name", Support: Supported, Values: []string{string(v1.Linux)}},
		{Path: "spec.hostUsers", Support: Supported, Values: []string{"true"}},
		{Path: "spec.schedulingGates", Support: NotYet},
		{Path: "spec.resourceClaims", Support: NotYet},
		{Path: "spec.resources", Support: NotYet},
		{Path: "spec.hostnameOverride", Support: Supported},
		{Path: "spec.schedulingGroup", Support: Ignored, Note: noteScheduler},
	},
)

// resources are what a container may ask for.
var resources = []string{string(v1.ResourceCPU), string(v1.ResourceMemory), v1.ResourceHugePagesPrefix + "*"}

var seccompTypes = []string{string(v1.SeccompProfileTypeRuntimeDefault), string(v1.SeccompProfileTypeUnconfined)}
