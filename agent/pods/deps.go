package pods

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/lifecycle"
	"github.com/davit-agent/davit/agent/pods/etc"
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

// Images gets containers their images.
type Images interface {
	// Ensure answers at once: with the image of an attempt, or with why it is
	// not there. A pending Result tells that it is on its way: the pod is woken
	// when that ends, and now and then while it lasts.
	Ensure(ctx context.Context, req ImageRequest) (*runtime.Image, lifecycle.Result)
	// Pulling tells how far what a pod waits for is, by ImageRequest.ID.
	Pulling(uid string) map[string]string
	// Release gives up what a pod waits for.
	Release(uid string)
	// Generation changes when an image comes to the node other than for a pod
	// that waits for it. Everybody is woken then.
	Generation() uint64
}

// ImageRequest asks for the image of one attempt of a container.
type ImageRequest struct {
	Pod       *v1.Pod
	Container *v1.Container
	ID        string // of the attempt: imagePullPolicy Always pulls once for each
	Policy    v1.PullPolicy
}

// Probes runs the probes of pods' containers. Nothing that it is told lasts
// longer than the process.
type Probes interface {
	// Set tells all that is to be probed of a pod, and where. An equal Set does
	// nothing. When a result changes, the pod is woken.
	Set(pod *v1.Pod, podIP netip.Addr, attempts []lifecycle.Probing)
	// Health returns what has come of it, by container.
	Health(uid string) map[string]lifecycle.Health
	Forget(uid string)
}

// Hooks runs the hooks of pods' containers.
type Hooks interface {
	// Begin begins a hook, once. When it ends, the pod is woken.
	Begin(req HookRequest)
	// Seen returns the hooks of a pod that were begun and not released.
	Seen(uid string) []lifecycle.HookSeen
	// Release ends the hooks of an attempt, or of all of the pod's for id "", and
	// forgets them.
	Release(uid, id string)
}

// HookRequest asks for a hook of one attempt of a container.
type HookRequest struct {
	Pod       *v1.Pod
	Container *v1.Container
	ID        string // of the attempt
	PodIP     netip.Addr
	Kind      lifecycle.HookKind
	Deadline  time.Time // zero: none
}

// Objects is what pods refer to. What it returns is not changed.
type Objects interface {
	ConfigMap(namespace, name string) (*v1.ConfigMap, bool)
	Secret(namespace, name string) (*v1.Secret, bool)
	// Generation changes when any of them does. Whom it concerns is woken then.
	Generation() uint64
	// Synced tells whether one that is not there is known not to be.
	Synced() bool
}

// Volumes makes a pod's volumes below its directory. The pod has its node's name
// and its addresses filled in.
type Volumes interface {
	// Setup makes the volumes and brings the files of those that exist up to
	// date, which costs little where nothing has changed.
	Setup(ctx context.Context, pod *v1.Pod, dir string) (map[string]string, error) // volume name -> host path
	// SubPath returns a host path that stands for a path in a volume, whatever
	// the pod's containers do to what is in it. The error is fit for the pod's
	// status; slog shows more of it.
	SubPath(ctx context.Context, req SubPathRequest) (string, error)
	// OverLimit returns what kubelet says of a pod that has put more into a
	// volume than that may hold; "": none has.
	OverLimit(ctx context.Context, pod *v1.Pod, dir string) (string, error)
	Teardown(ctx context.Context, dir string) error
}

// SubPathRequest asks for a part of a volume for one volumeMount.
type SubPathRequest struct {
	Dir       string // the pod's
	Volume    string // name
	HostPath  string // of the volume
	Path      string // in the volume, expanded, relative, without ..
	Container string
	Index     int // of the volumeMount
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
	Objects   Objects
	Images    Images
	Probes    Probes
	Hooks     Hooks
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
	Allocatable v1.ResourceList // what pods may use of the node, all together
	// Reject tells why a pod cannot run on this node, as kubelet's admission does;
	// reason "": it can.
	Reject      func(pod *v1.Pod) (reason, message string)
	LogMaxSize  int64
	LogMaxFiles int
	DNS         etc.DNS
	Node        oci.Node // facts of the node that specs depend on
}
