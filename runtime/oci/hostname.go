package oci

import (
	"strings"

	v1 "k8s.io/api/core/v1"
)

// The longest host name that kubelet gives a pod, and the longest that the
// kernel keeps (__NEW_UTS_LEN), in bytes.
const (
	longestHostname = 63
	longestNodename = 64
)

// Hostname returns what the pod calls itself, without a domain:
// spec.hostnameOverride, spec.hostname or else the pod's name, at most 63
// characters; "" for hostNetwork pods, which have the node's.
func Hostname(pod *v1.Pod) string {
	spec := &pod.Spec
	if spec.HostNetwork {
		return ""
	}
	name := pod.Name
	switch {
	case override(spec):
		name = *spec.HostnameOverride
	case spec.Hostname != "":
		name = spec.Hostname
	}
	if len(name) > longestHostname {
		name = strings.TrimRight(name[:longestHostname], "-.")
	}
	return name
}

func override(spec *v1.PodSpec) bool {
	return spec.HostnameOverride != nil && *spec.HostnameOverride != ""
}

// HostDomain returns the domain that a pod with a subdomain is in:
// subdomain.namespace.svc.clusterDomain; "" for others.
func HostDomain(pod *v1.Pod, clusterDomain string) string {
	spec := &pod.Spec
	if spec.HostNetwork || spec.Subdomain == "" || override(spec) {
		return ""
	}
	return strings.TrimSuffix(spec.Subdomain+"."+pod.Namespace+".svc."+clusterDomain, ".")
}

// Nodename returns the host name in the pod's UTS namespace, which is its
// $HOSTNAME too: Hostname, or the full name if spec.setHostnameAsFQDN asks for
// that; "" for hostNetwork pods. An error wraps ErrCreate: the full name does not
// fit.
func Nodename(pod *v1.Pod, clusterDomain string) (string, error) {
	name, domain := Hostname(pod), HostDomain(pod, clusterDomain)
	if domain == "" || pod.Spec.SetHostnameAsFQDN == nil || !*pod.Spec.SetHostnameAsFQDN {
		return name, nil
	}
	fqdn := name + "." + domain
	if len(fqdn) > longestNodename {
		return "", create("", "", "failed to construct FQDN from pod hostname and cluster domain, FQDN %s is too long (%d characters is the max, %d characters requested)",
			fqdn, longestNodename, len(fqdn))
	}
	return fqdn, nil
}
