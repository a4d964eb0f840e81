package support

import (
	"slices"

	v1 "k8s.io/api/core/v1"
)

const (
	noteToken   = "only a control plane can issue a token"
	noteCSI     = "needs a CSI driver: mount it on the node and use a hostPath"
	noteMount   = "mount it on the node and use a hostPath"
	noteRemoved = "removed from Kubernetes, too: mount it on the node and use a hostPath"
)

var (
	fileFields     = []string{"", ".items", ".items[].key", ".items[].path", ".items[].mode", ".optional"}
	downwardFields = []string{"", ".items", ".items[].path", ".items[].fieldRef", ".items[].fieldRef.apiVersion", ".items[].fieldRef.fieldPath",
		".items[].resourceFieldRef", ".items[].resourceFieldRef.containerName", ".items[].resourceFieldRef.resource",
		".items[].resourceFieldRef.divisor", ".items[].mode"}
)

var volumeRows = slices.Concat(
	all("spec.volumes", "", "[].name", "[].hostPath", "[].hostPath.path", "[].hostPath.type", "[].emptyDir"),
	[]Row{
		{Path: "spec.volumes[].emptyDir.medium", Support: Supported,
			Values: []string{string(v1.StorageMediumMemory), string(v1.StorageMediumHugePages), string(v1.StorageMediumHugePagesPrefix) + "*"}},
		{Path: "spec.volumes[].emptyDir.sizeLimit", Support: Supported, Note: "the size of the tmpfs; on disk the pod is evicted when it has more"},
	},
	all("spec.volumes[].secret", fileFields...),
	all("spec.volumes[].secret", ".secretName", ".defaultMode"),
	all("spec.volumes[].configMap", fileFields...),
	all("spec.volumes[].configMap", ".name", ".defaultMode"),
	all("spec.volumes[].downwardAPI", downwardFields...),
	all("spec.volumes[].downwardAPI", ".defaultMode"),
	all("spec.volumes[].projected", "", ".sources", ".defaultMode"),
	all("spec.volumes[].projected.sources[].secret", fileFields...),
	all("spec.volumes[].projected.sources[].secret", ".name"),
	all("spec.volumes[].projected.sources[].configMap", fileFields...),
	all("spec.volumes[].projected.sources[].configMap", ".name"),
	all("spec.volumes[].projected.sources[].downwardAPI", downwardFields...),
	[]Row{
		{Path: "spec.volumes[].projected.sources[].serviceAccountToken", Support: NotYet, Note: noteToken},
		{Path: "spec.volumes[].projected.sources[].clusterTrustBundle", Support: NotYet, Note: "only a control plane has them"},
		{Path: "spec.volumes[].projected.sources[].podCertificate", Support: NotYet, Note: "only a control plane issues them; off by default in Kubernetes 1.36"},
		{Path: "spec.volumes[].persistentVolumeClaim", Support: NotYet, Note: noteCSI},
		{Path: "spec.volumes[].csi", Support: NotYet, Note: noteCSI},
		{Path: "spec.volumes[].ephemeral", Support: NotYet, Note: noteCSI},
		{Path: "spec.volumes[].image", Support: NotYet, Note: "copy the files with an init container of that image"},
		{Path: "spec.volumes[].gitRepo", Support: Refused, Note: "disabled in Kubernetes 1.36, too: clone it in an init container, into an emptyDir"},
		{Path: "spec.volumes[].flexVolume", Support: Refused, Note: "deprecated by Kubernetes: mount it on the node and use a hostPath"},
	},
	none(Refused, noteMount, "spec.volumes[].", "nfs", "iscsi", "fc"),
	none(Refused, noteCSI, "spec.volumes[].", "gcePersistentDisk", "awsElasticBlockStore", "azureDisk", "azureFile", "cinder", "vsphereVolume", "portworxVolume"),
	none(Refused, noteRemoved, "spec.volumes[].", "glusterfs", "rbd", "cephfs", "quobyte", "flocker", "storageos", "scaleIO", "photonPersistentDisk"),
)
