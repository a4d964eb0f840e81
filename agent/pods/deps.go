package pods

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/oci"
)

// Desired is a pod that should be on this node.
type Desired struct {
	Pod    *v1.Pod
	Origin string // the file (later: URL, API server) it came from
}

// Source is the merged desired set.
type Source interface {
	Get(uid string) (Desired, bool)
	List() []Desired
	// Keep tells whether a pod on record must not be stopped: it is desired,
	// or it cannot be told yet that it is not (a source has not delivered, or
	// the file of origin cannot be read).
	Keep(uid, namespace, name, origin string) bool
	Changes() <-chan string // UID of what came, changed or went; "": look at all
}

// Network wires a pod's network namespace.
type Network interface {
	// Allocate chooses one address for each family, none of which is used.
	Allocate(used func(netip.Addr) bool) ([]netip.Addr, error)
	Attach(ctx context.Context, uid, netns string, addrs []netip.Addr) error
	Detach(ctx context.Context, uid string) error
	Attached(ctx context.Context) ([]string, error)
}

// Volumes makes a pod's volumes below its directory.
type Volumes interface {
	// Setup returns the mounts of one container by its volumeMounts' order;
	// it is called once for the pod and remembers nothing.
	Setup(ctx context.Context, pod *v1.Pod, dir string) (map[string]string, error) // volume name -> host path
	Teardown(ctx context.Context, dir string) error
}

// Cgroups keeps kubelet's cgroup layout.
type Cgroups interface {
	EnsurePod(pod *v1.Pod) (path string, err error)
	ContainerPath(podPath, containerID string) string
	RemovePod(uid string) error
	Pods() ([]string, error)
	// SetQoS tells the sum of the CPU requests of all burstable pods.
	SetQoS(burstableMilliCPU int64) error
}

// Logs is the log pump and its files.
type Logs interface {
	runtime.Logs
	// Unlink removes the links that collectors follow to files below dir.
	Unlink(dir string) error
}

// Report is where statuses go.
type Report interface {
	Set(pod *v1.Pod)
	Delete(uid string)
}

// Metrics takes measurements.
type Metrics interface {
	// Phase tells how long one phase of a pod's start took: record, setup,
	// create, start, running (the whole, from acceptance).
	Phase(name string, d time.Duration)
	// Restarted counts container restarts.
	Restarted()
}

// Deps is what the package drives.
type Deps struct {
	Source    Source
	Runtime   runtime.Runtime
	Watcher   runtime.Watcher
	Sandboxes runtime.Sandboxes
	Logs      Logs
	Network   Network
	Volumes   Volumes
	Cgroups   Cgroups
	Report    Report
	Metrics   Metrics
	Logger    *slog.Logger
	Now       func() time.Time
}

// Config is what the package needs to know of the node.
type Config struct {
	StateDir    string
	LogDir      string // /var/log/pods
	NodeName    string
	HostIPs     []netip.Addr
	BootID      string
	MaxPods     int
	LogMaxSize  int64
	LogMaxFiles int
	DNS         DNS
	Node        oci.Node // facts of the node that specs depend on
}

// DNS is what pods' resolv.conf is made of.
type DNS struct {
	Servers    []netip.Addr // of the cluster; empty: pods use the host's
	Domain     string       // of the cluster
	ResolvConf string       // the host's file, read when a pod is set up
}
