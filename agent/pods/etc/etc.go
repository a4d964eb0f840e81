package etc

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/runtime/oci"
)

// DNS is what resolv.conf is made of beside the pod.
type DNS struct {
	Servers    []netip.Addr // of the cluster; empty: pods use the host's
	Domain     string       // of the cluster
	ResolvConf string       // the host's file, read when a pod is set up
}

// ResolvConf returns /etc/resolv.conf of a pod; host is what the host's says.
func ResolvConf(pod *v1.Pod, dns DNS, host []byte) []byte {
	return podResolver(pod, dns, parseResolvConf(host)).format()
}

// Limits of glibc's resolver before 2.26 for the search list, which kubelet
// still warns about, and MAXNS of resolv.h.
const (
	maxNameservers = 3
	maxSearch      = 32
	maxSearchBytes = 2048
)

// What stands first in the hosts files that kubelet makes: people and programs
// tell by it where they are.
const (
	hostsHeader            = "# Kubernetes-managed hosts file.\n"
	hostsHeaderHostNetwork = "# Kubernetes-managed hosts file (host network).\n"
)

// HostsOfItself are the names that a host has for itself in its hosts file.
const HostsOfItself = "127.0.0.1\tlocalhost\n" +
	"::1\tlocalhost ip6-localhost ip6-loopback\n" +
	"fe00::0\tip6-localnet\n" +
	"fe00::0\tip6-mcastprefix\n" +
	"fe00::1\tip6-allnodes\n" +
	"fe00::2\tip6-allrouters\n"

// Hosts returns /etc/hosts of a pod: with a network of its own the pod's own
// names, on the host's what stands in the node's file; its aliases in any case.
func Hosts(pod *v1.Pod, domain string, ips []netip.Addr, node []byte) []byte {
	var b bytes.Buffer
	if pod.Spec.HostNetwork {
		b.WriteString(hostsHeaderHostNetwork)
		b.Write(node)
	} else {
		b.WriteString(hostsHeader + HostsOfItself)
		names := oci.Hostname(pod)
		if d := oci.HostDomain(pod, domain); d != "" {
			names = names + "." + d + "\t" + names
		}
		for _, ip := range ips {
			fmt.Fprintf(&b, "%s\t%s\n", ip, names)
		}
	}
	if len(pod.Spec.HostAliases) > 0 {
		b.WriteString("\n# Entries added by HostAliases.\n")
	}
	for _, a := range pod.Spec.HostAliases {
		fmt.Fprintf(&b, "%s\t%s\n", a.IP, strings.Join(a.Hostnames, "\t"))
	}
	return b.Bytes()
}

// resolver is what a resolv.conf says (resolv.conf(5)).
type resolver struct {
	Nameservers, Search, Options []string
}

func parseResolvConf(data []byte) resolver {
	var r resolver
	for line := range strings.Lines(string(data)) {
		if i := strings.IndexAny(line, "#;"); i >= 0 {
			line = line[:i]
		}
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "nameserver":
			r.Nameservers = append(r.Nameservers, f[1])
		case "search":
			r.Search = relative(f[1:])
		case "domain":
			r.Search = relative(f[1:2])
		case "options":
			r.Options = append(r.Options, f[1:]...)
		}
	}
	return r
}

// relative writes domains as kubelet does, without a dot at the end; the root
// alone keeps it.
func relative(domains []string) []string {
	out := make([]string, len(domains))
	for i, d := range domains {
		if out[i] = d; d != "." {
			out[i] = strings.TrimSuffix(d, ".")
		}
	}
	return out
}

// podResolver returns what a pod's resolv.conf says. ClusterFirst without
// cluster servers, and on the host's network, is Default, as kubelet has it.
func podResolver(pod *v1.Pod, dns DNS, host resolver) resolver {
	var r resolver
	switch policy := pod.Spec.DNSPolicy; {
	case policy == v1.DNSNone:
	case policy == v1.DNSDefault, policy == v1.DNSClusterFirst && pod.Spec.HostNetwork, len(dns.Servers) == 0:
		r = host
	default:
		r.Options = []string{"ndots:5"}
		for _, s := range dns.Servers {
			r.Nameservers = append(r.Nameservers, s.String())
		}
		if dns.Domain != "" {
			r.Search = []string{pod.Namespace + ".svc." + dns.Domain, "svc." + dns.Domain, dns.Domain}
		}
		r.Search = append(r.Search, host.Search...)
	}
	if c := pod.Spec.DNSConfig; c != nil {
		r = resolver{
			Nameservers: slices.Concat(r.Nameservers, c.Nameservers),
			Search:      slices.Concat(r.Search, c.Searches),
			Options:     mergeOptions(r.Options, c.Options),
		}
	}
	r.Nameservers, r.Search = distinct(r.Nameservers), distinct(r.Search)
	return r
}

// distinct returns the texts that are not empty, each where it stood first.
func distinct(list []string) []string {
	var out []string
	for _, s := range list {
		if s != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// mergeOptions puts a pod's options over others: one of the same name takes its
// place.
func mergeOptions(base []string, over []v1.PodDNSConfigOption) []string {
	var out []string
	place := map[string]int{}
	put := func(option string) {
		name, _, _ := strings.Cut(option, ":")
		if i, ok := place[name]; ok {
			out[i] = option
			return
		}
		place[name] = len(out)
		out = append(out, option)
	}
	for _, option := range base {
		put(option)
	}
	for _, o := range over {
		if o.Value != nil && *o.Value != "" {
			put(o.Name + ":" + *o.Value)
		} else {
			put(o.Name)
		}
	}
	return out
}

// format writes a resolv.conf within the limits of resolvers.
func (r resolver) format() []byte {
	var b bytes.Buffer
	search := r.Search[:min(len(r.Search), maxSearch)]
	for len(strings.Join(search, " ")) > maxSearchBytes {
		search = search[:len(search)-1]
	}
	if len(search) > 0 {
		fmt.Fprintf(&b, "search %s\n", strings.Join(search, " "))
	}
	for _, n := range r.Nameservers[:min(len(r.Nameservers), maxNameservers)] {
		fmt.Fprintf(&b, "nameserver %s\n", n)
	}
	if len(r.Options) > 0 {
		fmt.Fprintf(&b, "options %s\n", strings.Join(r.Options, " "))
	}
	return b.Bytes()
}
