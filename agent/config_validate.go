package agent

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Validate returns all that is wrong with a completed configuration, a line for
// each key.
func (c *Config) Validate() error {
	v := &configValidator{}
	v.node(c)
	v.containerd(&c.Containerd)
	v.network(&c.Network)
	v.url(&c.Source)
	for i, s := range c.DNS.Servers {
		v.check(s.IsValid() && !s.IsUnspecified(), fmt.Sprintf("dns.servers[%d]", i), "%s is no address of a server", s)
	}
	v.names("dns.domain", c.DNS.Domain, validation.IsDNS1123Subdomain(c.DNS.Domain))
	switch c.Cgroup.Driver {
	case "auto", "cgroupfs":
	case "systemd":
		v.fail("cgroup.driver", "not supported yet: cgroup.driver systemd")
	default:
		v.fail("cgroup.driver", "%q is none of auto, cgroupfs", c.Cgroup.Driver)
	}
	v.path("cgroup.root", c.Cgroup.Root)
	v.check(c.Logs.MaxSize >= 1<<10, "logs.maxSize", "%s is too small, at least 1Ki", c.Logs.MaxSize)
	v.check(c.Logs.MaxFiles >= 2, "logs.maxFiles", "%d is too few, at least 2", c.Logs.MaxFiles)
	v.check(slices.Contains([]string{"RuntimeDefault", "Unconfined"}, c.SeccompDefault), "seccompDefault", "%q is none of RuntimeDefault, Unconfined", c.SeccompDefault)
	if c.Metrics.Address != "" {
		v.hostPort("metrics.address", c.Metrics.Address)
	}
	v.check(c.MaxPods >= 1, "maxPods", "%d is too few, at least 1", c.MaxPods)
	v.resources(c)
	return errors.Join(v.errs...)
}

type configValidator struct{ errs []error }

func (v *configValidator) fail(key, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !strings.Contains(text, key) {
		text = key + ": " + text
	}
	v.errs = append(v.errs, errors.New(text))
}

func (v *configValidator) check(ok bool, key, format string, args ...any) {
	if !ok {
		v.fail(key, format, args...)
	}
}

func (v *configValidator) names(key, value string, problems []string) {
	for _, p := range problems {
		v.fail(key, "%q: %s", value, p)
	}
}

func (v *configValidator) path(key, value string) {
	v.check(filepath.IsAbs(value) && filepath.Clean(value) == value, key, "%q is no absolute path (without . and .. and a / at the end)", value)
}

func (v *configValidator) hostPort(key, value string) {
	host, port, err := net.SplitHostPort(value)
	if err == nil && host != "" {
		_, err = netip.ParseAddr(host)
	}
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	v.check(err == nil, key, "%q is no address:port, such as 127.0.0.1:9153", value)
}

func (v *configValidator) node(c *Config) {
	v.names("nodeName", c.NodeName, validation.IsDNS1123Subdomain(c.NodeName))
	v.check(len(c.NodeIPs) > 0, "nodeIPs", "none given, and there is no default route to take it from")
	v.check(len(c.NodeIPs) <= 2, "nodeIPs", "at most one of each family")
	for i, ip := range c.NodeIPs {
		key := fmt.Sprintf("nodeIPs[%d]", i)
		v.check(ip.IsValid() && !ip.IsUnspecified() && !ip.IsMulticast(), key, "%s is no address of a node", ip)
		v.check(i != 1 || ip.Is4() != c.NodeIPs[0].Is4(), key, "%s is of the same family as %s", ip, c.NodeIPs[0])
	}
	dirs := map[string]string{}
	for _, d := range []struct{ key, path string }{{"stateDir", c.StateDir}, {"runDir", c.RunDir}, {"logDir", c.LogDir}} {
		v.path(d.key, d.path)
		v.check(d.path != "/", d.key, "it cannot be the root directory")
		if other := dirs[d.path]; other != "" {
			v.fail(d.key, "%s is %s already", d.path, other)
		}
		dirs[d.path] = d.key
	}
	// A Unix socket's path has at most 107 bytes (unix(7)).
	v.check(len(c.RunDir) <= 80, "runDir", "%q is too long for the sockets in it, at most 80 bytes", c.RunDir)
	for _, d := range []struct{ key, path string }{
		{"images.preload", c.Images.Preload}, {"images.hosts", c.Images.Hosts}, {"images.credentials", c.Images.Credentials},
		{"source.manifests", c.Source.Manifests}, {"source.urlCA", c.Source.URLCA}, {"source.urlCert", c.Source.URLCert}, {"source.urlKey", c.Source.URLKey},
	} {
		if d.path != "" {
			v.path(d.key, d.path)
		}
	}
	v.check(c.Images.MaxParallelPulls >= 1, "images.maxParallelPulls", "%d is too few, at least 1", c.Images.MaxParallelPulls)
	v.check(c.Images.PullStall >= Duration(time.Second), "images.pullStall", "%s is too short, at least 1s", c.Images.PullStall)
}

// url looks at source.url and what goes with it. Messages do not show it, for it
// may hold a password.
func (v *configValidator) url(s *SourceConfig) {
	v.check(s.PollInterval >= Duration(time.Second), "source.pollInterval", "%s is too short, at least 1s", s.PollInterval)
	v.check((s.URLCert == "") == (s.URLKey == ""), "source.urlCert", "source.urlCert and source.urlKey go together")
	for name, value := range s.URLHeaders {
		v.check(httpguts.ValidHeaderFieldName(name) && httpguts.ValidHeaderFieldValue(value), "source.urlHeaders", "%q is no header, or its value is none", name)
	}
	if s.URL == "" {
		return
	}
	u, err := url.Parse(s.URL)
	v.check(err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "", "source.url", "it is no URL that begins with http:// or https:// and a host")
}

func (v *configValidator) containerd(c *ContainerdConfig) {
	v.path("containerd.address", c.Address)
	v.names("containerd.namespace", c.Namespace, validation.IsDNS1123Label(c.Namespace))
	v.check(c.Runtimes[""] != "", "containerd.runtimes", `there is no default: add "": io.containerd.runc.v2`)
	handlers := make([]string, 0, len(c.Runtimes))
	for handler := range c.Runtimes {
		handlers = append(handlers, handler)
	}
	slices.Sort(handlers)
	for _, handler := range handlers {
		if handler == "" {
			continue
		}
		v.names("containerd.runtimes", handler, validation.IsDNS1123Label(handler))
		v.check(c.Runtimes[handler] != "", "containerd.runtimes", "the handler %q has no runtime", handler)
	}
	v.check(c.PodsPerShim >= 1, "containerd.podsPerShim", "%d is too few, at least 1", c.PodsPerShim)
}

func (v *configValidator) network(n *NetworkConfig) {
	switch n.Mode {
	case "ptp":
	case "cni":
		v.fail("network.mode", "not supported yet: network.mode cni")
	default:
		v.fail("network.mode", "%q is none of ptp", n.Mode)
	}
	v.check(len(n.PodCIDRs) > 0, "network.podCIDRs", "none given: pods need addresses")
	for i, p := range n.PodCIDRs {
		key := fmt.Sprintf("network.podCIDRs[%d]", i)
		v.prefix(key, p)
		for _, other := range n.PodCIDRs[:i] {
			v.check(!p.Overlaps(other), key, "%s overlaps with %s", p, other)
		}
	}
	for i, p := range n.ClusterCIDRs {
		v.prefix(fmt.Sprintf("network.clusterCIDRs[%d]", i), p)
	}
	// RFC 791 and RFC 8200: the least that IPv4 and IPv6 work with.
	least := 576
	if slices.ContainsFunc(n.PodCIDRs, func(p netip.Prefix) bool { return p.Addr().Is6() }) {
		least = 1280
	}
	v.check(n.MTU == 0 || (n.MTU >= least && n.MTU <= 65535), "network.mtu", "%d is not from %d to 65535 (or 0 for the uplink's)", n.MTU, least)
}

func (v *configValidator) prefix(key string, p netip.Prefix) {
	v.check(p.IsValid(), key, "it is no range")
	if p.IsValid() {
		v.check(p.Masked() == p, key, "%s has bits set after its length, write %s", p, p.Masked())
		v.check(!p.Addr().Is4In6() && !p.Addr().IsMulticast() && !p.Addr().IsLoopback(), key, "%s is no range for pods", p)
	}
}
