package runtime

import (
	"context"
	"io"
	"syscall"
	"time"

	imagespec "github.com/opencontainers/image-spec/specs-go/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Runtime runs containers. See the package comment for what holds of all
// methods. Methods are safe for concurrent use.
type Runtime interface {
	// Image returns the unpacked image that ref names, ready for Create.
	// ErrImageNotFound: it is not on this node. ErrInvalidImageName: ref does
	// not parse. It never pulls.
	Image(ctx context.Context, ref string) (*Image, error)

	// Create makes the container: its object (labelled from cfg), snapshot and
	// log streams, but no process.
	Create(ctx context.Context, cfg *ContainerConfig) error

	// Start makes the task and runs it. On success the process has been
	// executed. An error that wraps ErrStart is final for this attempt (bad
	// command, bad mount, ...): its text is fit for a termination message.
	// Start of a running container returns nil; of an exited one, ErrExited.
	Start(ctx context.Context, id string) error

	// Signal sends sig to the container's init process. ErrNotFound: there is no such
	// container.
	Signal(ctx context.Context, id string, sig syscall.Signal) error

	// Delete removes task, container, snapshot and, once all output is in the
	// log file, the log streams. It kills (SIGKILL) a task that still runs.
	Delete(ctx context.Context, id string) error

	// List returns the containers of one pod, or of all pods for uid "",
	// ordered by CreatedAt, then ID. While the daemon is away it returns what
	// is known without it together with an error that wraps ErrUnavailable:
	// then what is in the result is true, and what is not may still exist.
	List(ctx context.Context, uid string) ([]Container, error)

	// Exec runs a further process in a running container, with the
	// container's own environment, user, capabilities and working directory.
	// It returns the exit code once the process has ended and all output was
	// copied. A cancelled context kills the process.
	Exec(ctx context.Context, id string, cfg ExecConfig) (int, error)
}

// Watcher tells of changes. Wakes carry no payload beyond whom they concern.
type Watcher interface {
	// Events returns a channel on which the UID of a pod appears soon after
	// one of its containers exited, and "" after the daemon came, went or
	// anything may have been missed (list everything). The channel is never
	// closed; slow readers get coalesced wakes, never block the sender.
	Events() <-chan string

	// Adopt tells of containers that a record names, so that List answers for
	// them also when the daemon is away from the start.
	Adopt(known []ContainerRef)
}

// Sandboxes makes what the containers of a pod share.
type Sandboxes interface {
	// Ensure makes or completes the sandbox and returns it. What exists and
	// is intact stays as it is.
	Ensure(ctx context.Context, cfg *SandboxConfig) (*Sandbox, error)

	// Inspect returns the sandbox if it is there and intact (every namespace
	// pinned, shm mounted, init alive), else ErrNotFound.
	Inspect(ctx context.Context, uid string) (*Sandbox, error)

	// Remove removes whatever of the sandbox is there. Containers must have
	// been deleted.
	Remove(ctx context.Context, uid string) error

	// List returns the UIDs of all pods of which any part of a sandbox is
	// there, in ascending order.
	List(ctx context.Context) ([]string, error)
}

// Logs is the log pump as the runtime sees it: it hands out FIFOs and copies
// what comes through them to CRI-format files.
type Logs interface {
	// Open makes the FIFOs of a container and has the pump read them; the
	// paths are returned ("" for stderr of a terminal). Idempotent by ID.
	Open(ctx context.Context, s LogStream) (stdout, stderr string, err error)
	// Close has the pump write out all that is in the FIFOs, then removes
	// them. To be called when no writer is left.
	Close(ctx context.Context, id string) error
	// List returns the IDs that are open, in ascending order.
	List(ctx context.Context) ([]string, error)
}

// PodRef names a pod.
type PodRef struct {
	UID       string
	Namespace string
	Name      string
}

// ContainerRef names one attempt of one container of a pod.
type ContainerRef struct {
	Pod     PodRef
	Name    string // of the container in the pod's spec; "" for the pod's init
	Attempt uint32 // 0 for the first
	ID      string // ContainerID(Pod.UID, Name, Attempt)
}

// ContainerConfig is what Create needs. Spec is complete but for Root, which
// Create fills, and for the annotations of the shim group.
type ContainerConfig struct {
	ContainerRef
	Image    *Image // nil: RootFS is used
	RootFS   string // absolute host path of a read-only root, instead of Image
	Handler  string // RuntimeClass handler; "" is the default runtime
	Spec     *specs.Spec
	Log      LogStream // its ID is set by Create; zero Path: output is discarded
	Stdin    bool
	Terminal bool
}

// LogStream is where a container's output goes.
type LogStream struct {
	ID       string
	Path     string // absolute; the live file, rotated to Path.<timestamp>
	Terminal bool   // one stream only
	MaxSize  int64  // bytes at which a file is rotated
	MaxFiles int    // files kept, the live one included
}

// State is a container's state, derived from what the runtime shows.
type State string

// The states of a container; see the package comment.
const (
	// StateCreated: made, and its process was never started. Either its task
	// waits to be started, or there is none and the daemon has not restarted
	// since Create.
	StateCreated State = "created"
	StateRunning State = "running"
	StateExited  State = "exited" // Exit is set
	// StateUnknown: made, no task, and the daemon restarted since Create (or the
	// machine did): whether it ever ran cannot be told from here. The caller's
	// record of having meant to start it decides.
	StateUnknown State = "unknown"
)

// Container is a container as it was seen.
type Container struct {
	ContainerRef
	State     State
	Pid       uint32    // 0 unless running
	CreatedAt time.Time // of the object
	StartedAt time.Time // zero if not known; from the process, not from a record
	Exit      *Exit     // set in StateExited
	ImageName string
	ImageID   string // Image.Identity
	// Stuck tells people what hangs: its process inside of the kernel, its shim,
	// its OCI runtime. "": nothing does. While its shim does not answer, the
	// rest is what was known last; one that has a start mark runs then.
	Stuck string
}

// Exit is how a container ended.
type Exit struct {
	Code      int32     // 128+n for death by signal n, as a shell has it
	At        time.Time // as the shim saw it
	OOMKilled bool      // the container's cgroup counted an oom_kill
}

// Image is an image that is present and unpacked.
type Image struct {
	Name        string // the reference, normalised (docker.io/library/x:latest)
	ID          string // digest of the image's config
	RepoDigests []string
	Size        int64 // bytes of content, compressed as stored
	Config      imagespec.ImageConfig
	Passwd      []byte // /etc/passwd of the image, at most 1 MiB; nil if none
	Group       []byte // /etc/group likewise
	Snapshot    string // parent key for the container's snapshot
}

// Identity is what kubelet on containerd reports as a container's imageID: what
// the registry calls the image, or the digest of the configuration of one that
// came from no registry.
func (i *Image) Identity() string {
	if len(i.RepoDigests) > 0 {
		return i.RepoDigests[0]
	}
	return i.ID
}

// ExecConfig is a further process in a container.
type ExecConfig struct {
	Command []string
	Stdin   io.Reader // nil: none
	Stdout  io.Writer
	Stderr  io.Writer // unused with TTY
	TTY     bool
	Resize  <-chan WinSize
}

// WinSize is the size of a terminal in character cells.
type WinSize struct{ Width, Height uint16 }

// SandboxConfig is what Ensure needs.
type SandboxConfig struct {
	Pod          PodRef
	Hostname     string
	Sysctls      map[string]string // name with dots -> value, of the pod's namespaces
	HostNetwork  bool              // no net and no UTS namespace of its own
	HostIPC      bool              // no IPC namespace and no shm of its own
	SharePID     bool              // one PID namespace with davit's init as PID 1
	CgroupParent string            // made by the caller; the init's goes below it
	ShmSize      int64             // bytes; 0 is 64 MiB
	IDs          *IDRange          // user namespace; nil is the host's
}

// IDRange is a range of host uids and gids that a user namespace maps from 0.
type IDRange struct{ Host, Size uint32 }

// Sandbox is a sandbox that is there. A path is "" where the pod uses the
// host's.
type Sandbox struct {
	UID     string
	NetNS   string // /<runDir>/ns/<uid>/net
	IPCNS   string
	UTSNS   string
	UserNS  string
	PIDNS   string // only with SharePID
	ShmPath string // host directory that becomes /dev/shm
}
