package etc

import (
	"net/netip"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestResolvConf(t *testing.T) {
	const host = "# comment\nnameserver 192.0.2.1 ; trailing\nnameserver 192.0.2.2\nsearch a.test b.test. .\noptions edns0 trust-ad\n"
	const asHost = "search a.test b.test .\nnameserver 192.0.2.1\nnameserver 192.0.2.2\noptions edns0 trust-ad\n"
	const asCluster = "search default.svc.cluster.local svc.cluster.local cluster.local a.test b.test .\nnameserver 10.96.0.10\noptions ndots:5\n"
	cluster := DNS{Servers: []netip.Addr{netip.MustParseAddr("10.96.0.10")}, Domain: "cluster.local"}
	option := func(name, value string) v1.PodDNSConfigOption {
		if value == "" {
			return v1.PodDNSConfigOption{Name: name}
		}
		return v1.PodDNSConfigOption{Name: name, Value: &value}
	}
	for _, c := range []struct {
		name        string
		policy      v1.DNSPolicy
		hostNetwork bool
		config      *v1.PodDNSConfig
		dns         DNS
		want        string
	}{
		{"default", v1.DNSDefault, false, nil, cluster, asHost},
		{"cluster first", v1.DNSClusterFirst, false, nil, cluster, asCluster},
		{"cluster first without servers", v1.DNSClusterFirst, false, nil, DNS{}, asHost},
		{"cluster first without a domain", v1.DNSClusterFirst, false, nil, DNS{Servers: cluster.Servers},
			"search a.test b.test .\nnameserver 10.96.0.10\noptions ndots:5\n"},
		{"cluster first on the host's network", v1.DNSClusterFirst, true, nil, cluster, asHost},
		{"cluster first with host net", v1.DNSClusterFirstWithHostNet, true, nil, cluster, asCluster},
		{"cluster first with host net, without servers", v1.DNSClusterFirstWithHostNet, true, nil, DNS{}, asHost},
		{"none", v1.DNSNone, false, nil, cluster, ""},
		{"none with all", v1.DNSNone, false, &v1.PodDNSConfig{Nameservers: []string{"192.0.2.9", "2001:db8::9", "192.0.2.9"},
			Searches: []string{"x.test", "x.test", "y.test."}, Options: []v1.PodDNSConfigOption{option("ndots", "2"), option("rotate", "")}}, cluster,
			"search x.test y.test.\nnameserver 192.0.2.9\nnameserver 2001:db8::9\noptions ndots:2 rotate\n"},
		{"cluster first and more", v1.DNSClusterFirst, false, &v1.PodDNSConfig{Nameservers: []string{"192.0.2.9", "10.96.0.10"},
			Searches: []string{"b.test", "x.test"}, Options: []v1.PodDNSConfigOption{option("ndots", "1"), option("edns0", ""), option("ndots", "3")}}, cluster,
			"search default.svc.cluster.local svc.cluster.local cluster.local a.test b.test . x.test\n" +
				"nameserver 10.96.0.10\nnameserver 192.0.2.9\noptions ndots:3 edns0\n"},
		{"default and more", v1.DNSDefault, false, &v1.PodDNSConfig{Nameservers: []string{"192.0.2.8", "192.0.2.9"},
			Options: []v1.PodDNSConfigOption{option("trust-ad", "")}}, cluster,
			"search a.test b.test .\nnameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.8\noptions edns0 trust-ad\n"},
	} {
		pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default"},
			Spec: v1.PodSpec{DNSPolicy: c.policy, HostNetwork: c.hostNetwork, DNSConfig: c.config}}
		if got := string(podResolver(pod, c.dns, parseResolvConf([]byte(host))).format()); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}

func TestEtcHosts(t *testing.T) {
	ips := []netip.Addr{netip.MustParseAddr("10.85.0.2"), netip.MustParseAddr("fd00::2")}
	aliases := []v1.HostAlias{{IP: "192.0.2.1", Hostnames: []string{"a", "a.test"}}, {IP: "2001:db8::1", Hostnames: []string{"b"}}}
	const own = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n" +
		"fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n"
	const added = "\n# Entries added by HostAliases.\n192.0.2.1\ta\ta.test\n2001:db8::1\tb\n"
	for name, c := range map[string]struct {
		spec v1.PodSpec
		want string
	}{
		"plain":       {v1.PodSpec{}, own + "10.85.0.2\tweb\nfd00::2\tweb\n"},
		"subdomain":   {v1.PodSpec{Hostname: "h", Subdomain: "s"}, own + "10.85.0.2\th.s.prod.svc.cluster.local\th\nfd00::2\th.s.prod.svc.cluster.local\th\n"},
		"aliases":     {v1.PodSpec{HostAliases: aliases}, own + "10.85.0.2\tweb\nfd00::2\tweb\n" + added},
		"hostNetwork": {v1.PodSpec{HostNetwork: true, Subdomain: "s"}, "# Kubernetes-managed hosts file (host network).\n192.0.2.5 node\n"},
		"hostNetwork and aliases": {v1.PodSpec{HostNetwork: true, HostAliases: aliases},
			"# Kubernetes-managed hosts file (host network).\n192.0.2.5 node\n" + added},
	} {
		pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "prod"}, Spec: c.spec}
		if got := string(Hosts(pod, "cluster.local", ips, []byte("192.0.2.5 node\n"))); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, c.want)
		}
	}
}

func TestResolvConfLimits(t *testing.T) {
	r := resolver{Nameservers: []string{"1", "2", "3", "4"}}
	for range 100 {
		r.Search = append(r.Search, strings.Repeat("s", 100+len(r.Search)))
	}
	got := string(r.format())
	if n := strings.Count(got, "nameserver"); n != maxNameservers {
		t.Errorf("%d name servers", n)
	}
	line, _, _ := strings.Cut(got, "\n")
	if n := len(strings.Fields(line)) - 1; n > maxSearch || len(line) > maxSearchBytes+len("search ") {
		t.Errorf("%d search domains in %d bytes", n, len(line))
	}
}

func FuzzResolvConf(f *testing.F) {
	f.Add([]byte("nameserver 192.0.2.1\nsearch a b\noptions x:1\n"), "x", "y")
	f.Add([]byte("search\ndomain .\nnameserver\n#;"), "", "")
	f.Fuzz(func(t *testing.T, host []byte, search, option string) {
		pod := &v1.Pod{Spec: v1.PodSpec{DNSPolicy: v1.DNSDefault, DNSConfig: &v1.PodDNSConfig{
			Searches: []string{search, search}, Options: []v1.PodDNSConfigOption{{Name: option}, {Name: option, Value: &search}}}}}
		got := podResolver(pod, DNS{}, parseResolvConf(host))
		if len(distinct(got.Search)) != len(got.Search) || len(distinct(got.Nameservers)) != len(got.Nameservers) {
			t.Errorf("%+v", got)
		}
		for line := range strings.Lines(string(got.format())) {
			if strings.HasPrefix(line, "search ") && len(line) > maxSearchBytes+len("search \n") {
				t.Errorf("a line of %d bytes", len(line))
			}
		}
	})
}
