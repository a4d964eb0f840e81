package agent

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
)

// Config is davit's configuration. Each leaf is a key of the configuration file
// and a flag: network.podCIDRs is --network-pod-cidrs. Flags win over the file,
// the file over the defaults.
type Config struct {
	NodeName       string           `json:"nodeName"` // "": host name, lower case
	NodeIPs        []netip.Addr     `json:"nodeIPs"`  // empty: addresses of the default routes
	StateDir       string           `json:"stateDir"` // what survives a reboot
	RunDir         string           `json:"runDir"`   // sockets, pinned namespaces, FIFOs
	LogDir         string           `json:"logDir"`   // log files of containers
	Containerd     ContainerdConfig `json:"containerd"`
	Cgroup         CgroupConfig     `json:"cgroup"`
	Images         ImagesConfig     `json:"images"`
	Source         SourceConfig     `json:"source"`
	Network        NetworkConfig    `json:"network"`
	DNS            DNSConfig        `json:"dns"`
	Logs           LogsConfig       `json:"logs"`
	SeccompDefault string           `json:"seccompDefault"` // of pods that name no profile: RuntimeDefault or Unconfined
	Metrics        MetricsConfig    `json:"metrics"`
	MaxPods        int              `json:"maxPods"`

	ResourcesConfig
	AllowedUnsafeSysctls []string `json:"allowedUnsafeSysctls"` // names, or beginnings of names with * at the end
}

// ContainerdConfig says how containers are run.
type ContainerdConfig struct {
	Address     string            `json:"address"`     // path of the daemon's socket
	Namespace   string            `json:"namespace"`   // containerd's, not Kubernetes'
	Runtimes    map[string]string `json:"runtimes"`    // RuntimeClass handler -> containerd runtime; "" is the default
	OCIRuntime  string            `json:"ociRuntime"`  // name or path of the program, such as crun; "": containerd's
	PodsPerShim int               `json:"podsPerShim"` // pods that share one shim process
}

// CgroupConfig says where the pods' cgroups are.
type CgroupConfig struct {
	Driver string `json:"driver"` // auto or cgroupfs
	Root   string `json:"root"`   // kubepods is made below it
}

// ImagesConfig says where images come from.
type ImagesConfig struct {
	Preload          string   `json:"preload"`          // directory of archives; "": none
	Hosts            string   `json:"hosts"`            // directory of hosts.toml files: mirrors, CAs, plain HTTP; "": none
	Credentials      string   `json:"credentials"`      // docker's config.json; "": none
	MaxParallelPulls int      `json:"maxParallelPulls"` // others wait
	PullStall        Duration `json:"pullStall"`        // a pull that gets no byte for so long has failed
}

// SourceConfig says where pods come from.
type SourceConfig struct {
	Manifests    string            `json:"manifests"`    // directory; "": none
	URL          string            `json:"url"`          // polled; "": none
	URLHeaders   map[string]string `json:"urlHeaders"`   // sent with each request
	URLCA        string            `json:"urlCA"`        // PEM file; "": the system's
	URLCert      string            `json:"urlCert"`      // PEM file of the client's certificate; "": none
	URLKey       string            `json:"urlKey"`       // PEM file of its key
	PollInterval Duration          `json:"pollInterval"` // of URL
}

// NetworkConfig is the pod network.
type NetworkConfig struct {
	Mode         string         `json:"mode"`         // ptp
	PodCIDRs     []netip.Prefix `json:"podCIDRs"`     // of this node, any mix of families
	ClusterCIDRs []netip.Prefix `json:"clusterCIDRs"` // not masqueraded; empty: podCIDRs
	MTU          int            `json:"mtu"`          // bytes; 0: the uplink's
}

// DNSConfig is what pods with dnsPolicy ClusterFirst use.
type DNSConfig struct {
	Servers []netip.Addr `json:"servers"` // empty: ClusterFirst means Default
	Domain  string       `json:"domain"`
}

// LogsConfig bounds the log files of each container and says who writes them.
type LogsConfig struct {
	External bool  `json:"external"` // the log pump is started by somebody else, such as systemd
	MaxSize  Bytes `json:"maxSize"`  // a file that is larger is rotated
	MaxFiles int   `json:"maxFiles"` // kept, the live one included
}

// MetricsConfig says where Prometheus finds metrics.
type MetricsConfig struct {
	Address string `json:"address"` // host:port; "": nowhere
}

// Bytes is a number of bytes, written as a quantity such as 10Mi.
type Bytes int64

// String returns the quantity.
func (b Bytes) String() string { return resource.NewQuantity(int64(b), resource.BinarySI).String() }

// Value returns the number.
func (b Bytes) Value() int64 { return int64(b) }

// MarshalText returns the quantity.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalJSON reads a quantity or a number.
func (b *Bytes) UnmarshalJSON(data []byte) error {
	q, err := resource.ParseQuantity(strings.Trim(string(data), `"`))
	if err != nil {
		return errors.New("write a number of bytes such as 10Mi")
	}
	*b = Bytes(q.Value())
	return nil
}

// Duration is a time.Duration, written as 10s or 1m30s.
type Duration time.Duration

// String returns it in Go's form.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText returns it in Go's form.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalJSON reads Go's form.
func (d *Duration) UnmarshalJSON(data []byte) error {
	v, err := time.ParseDuration(strings.Trim(string(data), `"`))
	if err != nil {
		return errors.New("write a time with its unit such as 10s")
	}
	*d = Duration(v)
	return nil
}

// DefaultConfig returns the configuration without file and flags. NodeName and
// NodeIPs are filled in by Complete.
func DefaultConfig() *Config {
	return &Config{
		StateDir: "/var/lib/davit",
		RunDir:   "/run/davit",
		LogDir:   "/var/log/pods",
		Containerd: ContainerdConfig{
			Address:     "/run/containerd/containerd.sock",
			Namespace:   "davit",
			Runtimes:    map[string]string{"": "io.containerd.runc.v2"},
			PodsPerShim: 1,
		},
		Cgroup: CgroupConfig{Driver: "auto", Root: "/"},
		Images: ImagesConfig{
			Preload: "/etc/davit/images", Hosts: "/etc/containerd/certs.d",
			MaxParallelPulls: 4, PullStall: Duration(time.Minute),
		},
		Source:         SourceConfig{Manifests: "/etc/davit/manifests", URLHeaders: map[string]string{}, PollInterval: Duration(10 * time.Second)},
		Network:        NetworkConfig{Mode: "ptp", PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.85.0.0/24")}},
		DNS:            DNSConfig{Domain: "cluster.local"},
		Logs:           LogsConfig{MaxSize: 10 << 20, MaxFiles: 5},
		SeccompDefault: "RuntimeDefault",
		Metrics:        MetricsConfig{Address: "127.0.0.1:9153"},
		MaxPods:        250,

		ResourcesConfig:      defaultResources(),
		AllowedUnsafeSysctls: []string{},
	}
}

// Host tells what the defaults of a Config need to know of the machine.
type Host struct {
	Name func() (string, error)       // its host name
	IPs  func() ([]netip.Addr, error) // addresses of the default routes, at most one of a family
}

// Complete fills in what depends on the machine and is not set.
func (c *Config) Complete(host Host) error {
	if c.NodeName == "" {
		name, err := host.Name()
		if err != nil {
			return fmt.Errorf("finding the host name (set nodeName to do without): %w", err)
		}
		c.NodeName = strings.ToLower(name)
	}
	if len(c.NodeIPs) == 0 {
		ips, err := host.IPs()
		if err != nil {
			return fmt.Errorf("finding the address of the default route (set nodeIPs to do without): %w", err)
		}
		c.NodeIPs = ips
	}
	if len(c.Network.ClusterCIDRs) == 0 {
		c.Network.ClusterCIDRs = slices.Clone(c.Network.PodCIDRs)
	}
	return nil
}
