package support

import (
	"slices"

	v1 "k8s.io/api/core/v1"
)

const (
	noteScheduler = "the pod is on this node already"
	noteClass     = "comes with joining a cluster: RuntimeClasses are objects of the API server"
)

var podRows = slices.Concat(
	all("spec.", "restartPolicy", "terminationGracePeriodSeconds", "activeDeadlineSeconds", "hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace",
		"imagePullSecrets", "imagePullSecrets[].name", "hostname", "subdomain", "setHostnameAsFQDN", "hostnameOverride",
		"hostAliases", "hostAliases[].ip", "hostAliases[].hostnames", "os",
		"dnsConfig", "dnsConfig.nameservers", "dnsConfig.searches", "dnsConfig.options", "dnsConfig.options[].name", "dnsConfig.options[].value",
		"readinessGates", "readinessGates[].conditionType", "resources"),
	[]Row{
		{Path: "spec.dnsPolicy", Support: Supported, Note: "ClusterFirst without dns.servers, or with hostNetwork, is Default"},
		{Path: "spec.os.name", Support: Supported, Values: []string{string(v1.Linux)}},
		{Path: "spec.hostUsers", Support: Supported, Values: []string{"true"}, Note: "pods in user namespaces of their own: not yet"},
		{Path: "spec.resources.limits", Support: Supported, Values: resources},
		{Path: "spec.resources.requests", Support: Supported, Values: resources},
		{Path: "spec.resources.claims", Support: Invalid, Note: "claims are containers'"},
		{Path: "spec.enableServiceLinks", Support: Ignored, Note: "davit knows no Services yet, so there are no variables for them"},
		{Path: "spec.runtimeClassName", Support: NotYet, Note: noteClass},
		{Path: "spec.overhead", Support: NotYet, Note: noteClass},
		{Path: "spec.resourceClaims", Support: Refused, Note: noteClaims},
		{Path: "spec.schedulingGates", Support: NotYet, Note: "nobody would lift them here: leave them out"},
	},
	none(Ignored, noteToken, "spec.", "serviceAccountName", "serviceAccount", "automountServiceAccountToken"),
	none(Ignored, noteScheduler, "spec.", "nodeSelector", "nodeName", "affinity", "schedulerName", "tolerations", "priorityClassName", "priority",
		"preemptionPolicy", "topologySpreadConstraints", "schedulingGroup"),
)
