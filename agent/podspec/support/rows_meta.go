package support

import "slices"

const noteServer = "kept by the API server"

var metaRows = slices.Concat(
	all("", "kind", "apiVersion", "metadata", "spec", "metadata.labels", "metadata.annotations"),
	[]Row{
		{Path: "metadata.name", Support: Supported, Note: "from a file: suffixed with the node's name"},
		{Path: "metadata.namespace", Support: Supported, Note: "default: default"},
		{Path: "metadata.uid", Support: Supported, Note: "from a file: default is a hash of content, node and file"},
		{Path: "metadata.generateName", Support: NotYet, Note: "only an API server makes names up: write metadata.name"},
		{Path: "metadata.generation", Support: Supported, Note: "told as status.observedGeneration"},
		{Path: "metadata.deletionTimestamp", Support: NotYet, Note: "to delete a pod, remove it from its file"},
		{Path: "metadata.deletionGracePeriodSeconds", Support: NotYet, Note: "to delete a pod, remove it from its file"},
		{Path: "status", Support: Ignored, Note: "written by davit, not read"},
	},
	none(Ignored, noteServer, "metadata.", "selfLink", "resourceVersion", "creationTimestamp", "ownerReferences", "finalizers", "managedFields"),
)
