package oci_test

import (
	"errors"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/davit-agent/davit/runtime/oci"
)

func TestHostname(t *testing.T) {
	long := strings.Repeat("a", 62)
	for _, c := range []struct {
		name           string
		pod            string
		spec           v1.PodSpec
		host, dom, uts string // uts "" is an error unless host is "", too
	}{
		{"name", "web-0", v1.PodSpec{}, "web-0", "", "web-0"},
		{"hostname", "web-0", v1.PodSpec{Hostname: "h"}, "h", "", "h"},
		{"subdomain", "web-0", v1.PodSpec{Subdomain: "sub"}, "web-0", "sub.prod.svc.cluster.local", "web-0"},
		{"as FQDN", "web-0", v1.PodSpec{Hostname: "h", Subdomain: "sub", SetHostnameAsFQDN: ptr.To(true)},
			"h", "sub.prod.svc.cluster.local", "h.sub.prod.svc.cluster.local"},
		{"as FQDN without a domain", "web-0", v1.PodSpec{SetHostnameAsFQDN: ptr.To(true)}, "web-0", "", "web-0"},
		{"not as FQDN", "web-0", v1.PodSpec{Subdomain: "sub", SetHostnameAsFQDN: ptr.To(false)}, "web-0", "sub.prod.svc.cluster.local", "web-0"},
		{"FQDN of 64", strings.Repeat("a", 37), v1.PodSpec{Subdomain: "s", SetHostnameAsFQDN: ptr.To(true)},
			strings.Repeat("a", 37), "s.prod.svc.cluster.local", strings.Repeat("a", 37) + ".s.prod.svc.cluster.local"},
		{"FQDN of more", long, v1.PodSpec{Subdomain: "s", SetHostnameAsFQDN: ptr.To(true)}, long, "s.prod.svc.cluster.local", ""},
		{"hostNetwork", "web-0", v1.PodSpec{HostNetwork: true, Hostname: "h", Subdomain: "s", SetHostnameAsFQDN: ptr.To(true)}, "", "", ""},
		{"override", "web-0", v1.PodSpec{HostnameOverride: ptr.To("a.example.com"), Hostname: "h", Subdomain: "s"}, "a.example.com", "", "a.example.com"},
		{"empty override", "web-0", v1.PodSpec{HostnameOverride: ptr.To(""), Hostname: "h"}, "h", "", "h"},
		{"long", long + "bcd", v1.PodSpec{}, long + "b", "", long + "b"},
		{"long, ending badly", long + "-.b", v1.PodSpec{}, long, "", long},
		{"63", long + "b", v1.PodSpec{}, long + "b", "", long + "b"},
	} {
		pod := &v1.Pod{Spec: c.spec}
		pod.Name, pod.Namespace = c.pod, "prod"
		if got := oci.Hostname(pod); got != c.host {
			t.Errorf("%s: host name %q", c.name, got)
		}
		if got := oci.HostDomain(pod, "cluster.local"); got != c.dom {
			t.Errorf("%s: domain %q", c.name, got)
		}
		got, err := oci.Nodename(pod, "cluster.local")
		if got != c.uts || (err != nil) != (c.uts == "" && c.host != "") {
			t.Errorf("%s: node name %q, %v", c.name, got, err)
		}
		if err != nil && (!errors.Is(err, oci.ErrCreate) || !strings.HasSuffix(err.Error(), "is too long (64 characters is the max, 87 characters requested)")) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	pod := &v1.Pod{Spec: v1.PodSpec{Subdomain: "s"}}
	pod.Namespace = "n"
	if got := oci.HostDomain(pod, ""); got != "s.n.svc" {
		t.Errorf("without a cluster domain: %q", got)
	}
}
