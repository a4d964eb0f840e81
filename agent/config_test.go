package agent

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spf13/pflag"
)

var byValue = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})

// lines returns the lines of an error.
func lines(err error) []string {
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}

func completed(t *testing.T) *Config {
	t.Helper()
	c := DefaultConfig()
	err := c.Complete(Host{
		Name: func() (string, error) { return "Host1", nil },
		IPs:  func() ([]netip.Addr, error) { return []netip.Addr{netip.MustParseAddr("192.0.2.10")}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConfigDefaults(t *testing.T) {
	c := completed(t)
	if c.NodeName != "host1" || len(c.NodeIPs) != 1 || len(c.Network.ClusterCIDRs) != 1 {
		t.Errorf("%+v", c)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	// What is set is not asked for.
	set := DefaultConfig()
	set.NodeName, set.NodeIPs = "n", c.NodeIPs
	if err := set.Complete(Host{}); err != nil {
		t.Error(err)
	}
	broken := errors.New("broken")
	for _, tc := range []struct {
		host Host
		want string
	}{
		{Host{Name: func() (string, error) { return "", broken }}, "finding the host name (set nodeName to do without): broken"},
		{Host{Name: func() (string, error) { return "n", nil }, IPs: func() ([]netip.Addr, error) { return nil, broken }},
			"finding the address of the default route (set nodeIPs to do without): broken"},
	} {
		if err := DefaultConfig().Complete(tc.host); !errors.Is(err, broken) || err.Error() != tc.want {
			t.Errorf("got %v, want %s", err, tc.want)
		}
	}
}

// TestConfigDesign reads all that is in the design's example and acts.
func TestConfigDesign(t *testing.T) {
	text := `
nodeName: n1
nodeIPs: [192.0.2.10]
stateDir: /s
runDir: /r
logDir: /l
containerd: {address: /c.sock, namespace: x, runtimes: {"": io.containerd.runc.v2, kata: k}, ociRuntime: crun, podsPerShim: 25}
cgroup: {driver: cgroupfs, root: /davit}
images: {preload: /i, hosts: "", credentials: /c, maxParallelPulls: 7, pullStall: 90s}
source:
  manifests: /m
  url: https://example.org/pods
  urlHeaders: {X-Node: n1}
  urlCA: /ca
  urlCert: /cert
  urlKey: /key
  pollInterval: 5s
  kubeconfig: ""
network: {mode: ptp, podCIDRs: [10.1.0.0/24, "fd00:1::/64"], clusterCIDRs: [10.0.0.0/8], mtu: 1400, hostPorts: false}
dns: {servers: [192.0.2.53], domain: example.org}
proxy: {enabled: no, nodePortAddresses: [], serviceCIDRs: []}
server: {address: "", port: 0, clientCA: "", tlsCert: "", tlsKey: ""}
logs: {external: true, maxSize: 1Mi, maxFiles: 3}
seccompDefault: Unconfined
metrics: {address: ""}
maxPods: 10
kubeReserved: {cpu: 100m, memory: 200Mi}
systemReserved: {pid: "1000"}
podPidsLimit: 4096
memorySwap: {swapBehavior: LimitedSwap}
singleProcessOOMKill: true
allowedUnsafeSysctls: ["net.core.*", kernel.sem]
`
	want := &Config{
		NodeName: "n1", NodeIPs: []netip.Addr{netip.MustParseAddr("192.0.2.10")}, StateDir: "/s", RunDir: "/r", LogDir: "/l",
		Containerd: ContainerdConfig{Address: "/c.sock", Namespace: "x", Runtimes: map[string]string{"": "io.containerd.runc.v2", "kata": "k"}, OCIRuntime: "crun", PodsPerShim: 25},
		Cgroup:     CgroupConfig{Driver: "cgroupfs", Root: "/davit"}, Images: ImagesConfig{Preload: "/i", Credentials: "/c", MaxParallelPulls: 7, PullStall: Duration(90 * time.Second)},
		Source: SourceConfig{Manifests: "/m", URL: "https://example.org/pods", URLHeaders: map[string]string{"X-Node": "n1"},
			URLCA: "/ca", URLCert: "/cert", URLKey: "/key", PollInterval: Duration(5 * time.Second)},
		Network: NetworkConfig{Mode: "ptp", PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/24"), netip.MustParsePrefix("fd00:1::/64")},
			ClusterCIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, MTU: 1400},
		DNS: DNSConfig{Servers: []netip.Addr{netip.MustParseAddr("192.0.2.53")}, Domain: "example.org"}, Logs: LogsConfig{External: true, MaxSize: 1 << 20, MaxFiles: 3},
		SeccompDefault: "Unconfined", MaxPods: 10,
		ResourcesConfig: ResourcesConfig{
			KubeReserved: map[string]string{"cpu": "100m", "memory": "200Mi"}, SystemReserved: map[string]string{"pid": "1000"},
			PodPidsLimit: 4096, MemorySwap: MemorySwapConfig{SwapBehavior: "LimitedSwap"}, SingleProcessOOMKill: true,
		},
		AllowedUnsafeSysctls: []string{"net.core.*", "kernel.sem"},
	}
	c := DefaultConfig()
	if err := c.Parse([]byte(text), "config.yaml"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, c, byValue); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	// What is printed reads back equal.
	for _, c := range []*Config{c, completed(t), DefaultConfig()} {
		out, err := c.Print()
		if err != nil {
			t.Fatal(err)
		}
		again := DefaultConfig()
		if err := again.Parse(out, "printed"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if diff := cmp.Diff(c, again, byValue, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("printed:\n%s\n(-config +again):\n%s", out, diff)
		}
	}
}

func TestConfigPrint(t *testing.T) {
	want := `nodeName: host1
nodeIPs: ["192.0.2.10"]
stateDir: /var/lib/davit
runDir: /run/davit
logDir: /var/log/pods
containerd:
  address: /run/containerd/containerd.sock
  namespace: davit
  runtimes: {"":"io.containerd.runc.v2"}
  ociRuntime: ""
  podsPerShim: 1
cgroup:
  driver: auto
  root: /
images:
  preload: /etc/davit/images
  hosts: /etc/containerd/certs.d
  credentials: ""
  maxParallelPulls: 4
  pullStall: 1m0s
source:
  manifests: /etc/davit/manifests
  url: ""
  urlHeaders: {}
  urlCA: ""
  urlCert: ""
  urlKey: ""
  pollInterval: 10s
network:
  mode: ptp
  podCIDRs: ["10.85.0.0/24"]
  clusterCIDRs: ["10.85.0.0/24"]
  mtu: 0
dns:
  servers: []
  domain: cluster.local
logs:
  external: false
  maxSize: 10Mi
  maxFiles: 5
seccompDefault: RuntimeDefault
metrics:
  address: 127.0.0.1:9153
maxPods: 250
kubeReserved: {}
systemReserved: {}
podPidsLimit: -1
memorySwap:
  swapBehavior: NoSwap
singleProcessOOMKill: false
allowedUnsafeSysctls: []
`
	got, err := completed(t).Print()
	if diff := cmp.Diff(want, string(got)); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestConfigProblems(t *testing.T) {
	for _, tc := range []struct {
		text string
		want []string
	}{
		{"", nil},
		{"# nothing\n", nil},
		{"nodeName: n1\ncontainerd:\n  adress: /x\n", []string{"config.yaml:3: unknown key containerd.adress, did you mean address?"}},
		{"nodename: n\nstatedir: /x\n", []string{"config.yaml:1: unknown key nodename, did you mean nodeName?", "config.yaml:2: unknown key statedir, did you mean stateDir?"}},
		{"frobnicate: 1\n", []string{`config.yaml:1: unknown key frobnicate: remove it; "davit config print" shows all keys`}},
		{"nodeName: a\nnodeName: b\n", []string{"config.yaml:2: duplicate key nodeName: the key stands twice, first in line 1: remove one"}},
		{"maxPods: many\n", []string{`config.yaml:1: maxPods: want a whole number, got "many"`}},
		{"network:\n  podCIDRs: [10.0.0.0/33]\n", []string{`config.yaml:2: network.podCIDRs[0]: invalid value "10.0.0.0/33": netip.ParsePrefix("10.0.0.0/33"): prefix length out of range`}},
		{"network: {podCIDRs: 10.0.0.0/8}\n", []string{`config.yaml:1: network.podCIDRs: want a list, got "10.0.0.0/8"; write each item on a line of its own after "- "`}},
		{"logs: {maxSize: 10 MB}\n", []string{`config.yaml:1: logs.maxSize: invalid value "10 MB": write a number of bytes such as 10Mi`}},
		{"nodeName: 12\n", []string{`config.yaml:1: nodeName: want a string, got a number (12); put it in quotes: "12"`}},
		{"a: b: c\n", []string{"config.yaml:1: this is not valid YAML: mapping values are not allowed in this context"}},
		{"nodeName: a\n---\nnodeName: b\n", []string{"config.yaml:3: a configuration is one document, this is a second: remove it"}},
		{"[]\n", []string{"config.yaml:1: want a mapping (key: value), got a list"}},
		{"source:\n  kubeconfig: /k\n  url: ''\n  pollInterval: 5\n", []string{"config.yaml:2: not supported yet: source.kubeconfig", "config.yaml:4: source.pollInterval: invalid value a number (5): write a time with its unit such as 10s"}},
		{"source:\n  ulr: x\n", []string{"config.yaml:2: unknown key source.ulr, did you mean url?"}},
		{"proxy:\n  enabled: true\n  serviceCIDR: []\nserver: {port: 10250}\n", []string{
			"config.yaml:2: not supported yet: proxy.enabled", "config.yaml:3: unknown key proxy.serviceCIDR, did you mean serviceCIDRs?", "config.yaml:4: not supported yet: server.port"}},
		{"proxy: yes\nserver:\n", []string{"config.yaml:1: proxy: want a mapping (key: value)"}},
		{"prxy: {}\n", []string{"config.yaml:1: unknown key prxy, did you mean proxy?"}},
		{"images: {gcHighPercent: 85}\nnetwork: {hostPorts: true}\n", []string{"config.yaml:1: not supported yet: images.gcHighPercent", "config.yaml:2: not supported yet: network.hostPorts"}},
	} {
		got := lines(DefaultConfig().Parse([]byte(tc.text), "/etc/davit/config.yaml"))
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tc.text, diff)
		}
	}
	for _, key := range laterKeys {
		outer, inner, _ := strings.Cut(key, ".")
		got := lines(DefaultConfig().Parse([]byte(outer+": {"+inner+": [x]}"), "f"))
		if want := "f:1: not supported yet: " + key; len(got) != 1 || got[0] != want {
			t.Errorf("got %q, want %s", got, want)
		}
	}
}

func TestConfigValidate(t *testing.T) {
	prefix := netip.MustParsePrefix
	for _, tc := range []struct {
		change func(*Config)
		want   []string
	}{
		{func(c *Config) { c.NodeName = "a_b" }, []string{`nodeName: "a_b": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')`}},
		{func(c *Config) { c.NodeIPs = nil }, []string{"nodeIPs: none given, and there is no default route to take it from"}},
		{func(c *Config) { c.NodeIPs = []netip.Addr{netip.IPv4Unspecified(), netip.MustParseAddr("192.0.2.1")} }, []string{"nodeIPs[0]: 0.0.0.0 is no address of a node", "nodeIPs[1]: 192.0.2.1 is of the same family as 0.0.0.0"}},
		{func(c *Config) { c.StateDir, c.RunDir, c.LogDir = "x", "/", "/" }, []string{
			`stateDir: "x" is no absolute path (without . and .. and a / at the end)`, "runDir: it cannot be the root directory", "logDir: it cannot be the root directory", "logDir: / is runDir already"}},
		{func(c *Config) { c.RunDir = "/" + strings.Repeat("r", 80) }, []string{`runDir: "/` + strings.Repeat("r", 80) + `" is too long for the sockets in it, at most 80 bytes`}},
		{func(c *Config) { c.Images.Preload, c.Source.Manifests = "a", "b/" }, []string{
			`images.preload: "a" is no absolute path (without . and .. and a / at the end)`, `source.manifests: "b/" is no absolute path (without . and .. and a / at the end)`}},
		{func(c *Config) { c.Images.Preload, c.Source.Manifests = "", "" }, nil},
		{func(c *Config) { c.Images.Hosts, c.Images.MaxParallelPulls, c.Images.PullStall = "h", 0, 1 }, []string{
			`images.hosts: "h" is no absolute path (without . and .. and a / at the end)`, "images.maxParallelPulls: 0 is too few, at least 1", "images.pullStall: 1ns is too short, at least 1s"}},
		{func(c *Config) {
			c.Source.URL, c.Source.URLCert, c.Source.PollInterval = "ftp://user:secret@h", "/c", 0
		}, []string{
			"source.pollInterval: 0s is too short, at least 1s", "source.urlCert and source.urlKey go together", "source.url: it is no URL that begins with http:// or https:// and a host"}},
		{func(c *Config) { c.Source.URLHeaders = map[string]string{"a b": "c"} }, []string{`source.urlHeaders: "a b" is no header, or its value is none`}},
		{func(c *Config) {
			c.Containerd = ContainerdConfig{Address: "/x", Namespace: "x", Runtimes: map[string]string{"k": ""}}
		}, []string{
			`containerd.runtimes: there is no default: add "": io.containerd.runc.v2`, `containerd.runtimes: the handler "k" has no runtime`, "containerd.podsPerShim: 0 is too few, at least 1"}},
		{func(c *Config) { c.Containerd.Address, c.Containerd.Namespace = "tcp:1", "a.b" }, []string{
			`containerd.address: "tcp:1" is no absolute path (without . and .. and a / at the end)`, `containerd.namespace: "a.b": must not contain dots`}},
		{func(c *Config) { c.Cgroup = CgroupConfig{Driver: "systemd", Root: "/"} }, []string{"not supported yet: cgroup.driver systemd"}},
		{func(c *Config) { c.Cgroup = CgroupConfig{Driver: "x", Root: "y"} }, []string{`cgroup.driver: "x" is none of auto, cgroupfs`, `cgroup.root: "y" is no absolute path (without . and .. and a / at the end)`}},
		{func(c *Config) { c.Network.Mode = "cni" }, []string{"not supported yet: network.mode cni"}},
		{func(c *Config) { c.Network.Mode, c.Network.PodCIDRs = "bridge", nil }, []string{`network.mode: "bridge" is none of ptp`, "network.podCIDRs: none given: pods need addresses"}},
		{func(c *Config) {
			c.Network.PodCIDRs = []netip.Prefix{prefix("10.0.0.1/24"), prefix("10.0.0.128/25"), prefix("127.0.0.0/24"), {}}
		}, []string{
			"network.podCIDRs[0]: 10.0.0.1/24 has bits set after its length, write 10.0.0.0/24", "network.podCIDRs[1]: 10.0.0.128/25 overlaps with 10.0.0.1/24",
			"network.podCIDRs[2]: 127.0.0.0/24 is no range for pods", "network.podCIDRs[3]: it is no range"}},
		{func(c *Config) { c.Network.ClusterCIDRs = []netip.Prefix{prefix("10.0.0.1/8")} }, []string{"network.clusterCIDRs[0]: 10.0.0.1/8 has bits set after its length, write 10.0.0.0/8"}},
		{func(c *Config) { c.Network.MTU = 500 }, []string{"network.mtu: 500 is not from 576 to 65535 (or 0 for the uplink's)"}},
		{func(c *Config) { c.Network.MTU, c.Network.PodCIDRs = 1000, []netip.Prefix{prefix("fd00::/64")} }, []string{"network.mtu: 1000 is not from 1280 to 65535 (or 0 for the uplink's)"}},
		{func(c *Config) { c.DNS = DNSConfig{Servers: []netip.Addr{netip.IPv6Unspecified()}, Domain: "a b"} }, []string{"dns.servers[0]: :: is no address of a server", `dns.domain: "a b": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')`}},
		{func(c *Config) { c.Logs = LogsConfig{MaxSize: 10, MaxFiles: 1} }, []string{"logs.maxSize: 10 is too small, at least 1Ki", "logs.maxFiles: 1 is too few, at least 2"}},
		{func(c *Config) { c.SeccompDefault = "x" }, []string{`seccompDefault: "x" is none of RuntimeDefault, Unconfined`}},
		{func(c *Config) { c.Metrics.Address = "x:y" }, []string{`metrics.address: "x:y" is no address:port, such as 127.0.0.1:9153`}},
		{func(c *Config) { c.Metrics.Address = "" }, nil},
		{func(c *Config) { c.MaxPods = 0 }, []string{"maxPods: 0 is too few, at least 1"}},
	} {
		c := completed(t)
		tc.change(c)
		if diff := cmp.Diff(tc.want, lines(c.Validate())); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestConfigFlags(t *testing.T) {
	fs := pflag.NewFlagSet("davit", pflag.ContinueOnError)
	flags := BindFlags(fs)
	var names []string
	for _, k := range configKeys() {
		names = append(names, k.flag())
		f := fs.Lookup(k.flag())
		if f == nil || f.Usage == "" {
			t.Errorf("%s has no flag or no usage text", k.path)
		}
	}
	if len(flagUsage) != len(names) {
		t.Errorf("%d usage texts for %d keys", len(flagUsage), len(names))
	}
	want := "node-name node-ips state-dir run-dir log-dir containerd-address containerd-namespace containerd-runtimes containerd-oci-runtime " +
		"containerd-pods-per-shim cgroup-driver cgroup-root images-preload images-hosts images-credentials images-max-parallel-pulls images-pull-stall " +
		"source-manifests source-url source-url-headers source-url-ca source-url-cert source-url-key source-poll-interval network-mode network-pod-cidrs network-cluster-cidrs network-mtu " +
		"dns-servers dns-domain logs-external logs-max-size logs-max-files seccomp-default metrics-address max-pods " +
		"kube-reserved system-reserved pod-pids-limit memory-swap-swap-behavior single-process-oomkill allowed-unsafe-sysctls"
	if diff := cmp.Diff(strings.Fields(want), names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for flag, want := range map[string]string{"network-pod-cidrs": "10.85.0.0/24", "containerd-runtimes": "=io.containerd.runc.v2", "logs-max-size": "10Mi", "max-pods": "250", "logs-external": "false"} {
		if got := fs.Lookup(flag).DefValue; got != want {
			t.Errorf("the default of --%s is shown as %q, want %q", flag, got, want)
		}
	}

	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte("nodeName: file\nmaxPods: 7\nnetwork: {mtu: 1400}\nlogs: {maxFiles: 9}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := fs.Parse([]string{"--node-name=flag", "--node-ips=192.0.2.1,2001:db8::1", "--network-pod-cidrs", "10.1.0.0/24, fd00::/64", "--max-pods=8",
		"--containerd-runtimes==r,kata=k", "--logs-max-size=2Mi", "--logs-external", "--metrics-address="})
	if err != nil {
		t.Fatal(err)
	}
	got, err := LoadConfig(file, flags)
	if err != nil {
		t.Fatal(err)
	}
	expected := DefaultConfig()
	expected.NodeName, expected.MaxPods, expected.Network.MTU = "flag", 8, 1400
	expected.NodeIPs = []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}
	expected.Network.PodCIDRs = []netip.Prefix{netip.MustParsePrefix("10.1.0.0/24"), netip.MustParsePrefix("fd00::/64")}
	expected.Containerd.Runtimes = map[string]string{"": "r", "kata": "k"}
	expected.Logs = LogsConfig{External: true, MaxSize: 2 << 20, MaxFiles: 9}
	expected.Metrics.Address = ""
	if diff := cmp.Diff(expected, got, byValue); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestConfigFlagErrors(t *testing.T) {
	for arg, want := range map[string]string{
		"--max-pods=x":              `invalid argument "x" for "--max-pods" flag: want a whole number, got "x"`,
		"--node-ips=x":              `invalid argument "x" for "--node-ips" flag: invalid value "x": ParseAddr("x"): unable to parse IP`,
		"--containerd-runtimes=abc": `invalid argument "abc" for "--containerd-runtimes" flag: want key=value, got "abc"`,
		"--logs-external=maybe":     `invalid argument "maybe" for "--logs-external" flag: want true or false, got "maybe"`,
		"--logs-max-size=x":         `invalid argument "x" for "--logs-max-size" flag: invalid value "x": write a number of bytes such as 10Mi`,
	} {
		fs := pflag.NewFlagSet("davit", pflag.ContinueOnError)
		BindFlags(fs)
		if err := fs.Parse([]string{arg}); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", arg, err, want)
		}
	}
}

func TestLoadConfigErrors(t *testing.T) {
	if _, err := LoadConfig("/nonexistent/c.yaml", nil); !errors.Is(err, os.ErrNotExist) || err.Error() != "reading the configuration: open /nonexistent/c.yaml: no such file or directory" {
		t.Errorf("got %v", err)
	}
	if c, err := LoadConfig("", nil); err != nil || !reflect.DeepEqual(c, DefaultConfig()) {
		t.Errorf("got %+v, %v", c, err)
	}
}

func TestConceal(t *testing.T) {
	c := completed(t)
	c.Source.URL, c.Source.URLHeaders = "https://me:hunter2@example.org:8443/a%20b?token=hunter2", map[string]string{"Authorization": "Bearer hunter2"}
	shown := c.Conceal()
	out, err := shown.Print()
	if err != nil || strings.Contains(string(out), "hunter2") {
		t.Errorf("%v\n%s", err, out)
	}
	if want := "https://***@example.org:8443/a%20b?***"; shown.Source.URL != want || shown.Source.URLHeaders["Authorization"] != "***" {
		t.Errorf("shows %+v, want %s", shown.Source, want)
	}
	if c.Source.URLHeaders["Authorization"] != "Bearer hunter2" {
		t.Error("the configuration itself is changed")
	}
	for text, want := range map[string]string{
		"": "", "https://example.org/pods": "https://example.org/pods", "http://[::1": "***", "me:hunter2@h": "***",
	} {
		if got := concealURL(text); got != want {
			t.Errorf("%q shows as %q, want %q", text, got, want)
		}
	}
}

func FuzzConfig(f *testing.F) {
	f.Add("nodeName: n\nproxy: {enabled: true}\n")
	f.Add("containerd: {runtimes: {a: b}}\nlogs: {maxSize: 1}")
	f.Fuzz(func(t *testing.T, text string) {
		c := DefaultConfig()
		if c.Parse([]byte(text), "f") != nil || c.Validate() != nil {
			return
		}
		out, err := c.Print()
		if err != nil {
			t.Fatal(err)
		}
		again := DefaultConfig()
		if err := again.Parse(out, "printed"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if diff := cmp.Diff(c, again, byValue, cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
	})
}
