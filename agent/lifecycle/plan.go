package lifecycle

import (
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/lifecycle/retry"
	"github.com/davit-agent/davit/runtime"
)

// Input is everything that Decide and Status look at.
type Input struct {
	Pod   *v1.Pod // as accepted, defaults filled in
	Facts Facts   // with Seen already folded in by Observe
	Seen  Seen
	Now   time.Time
}

// Seen is what is there.
type Seen struct {
	BootID string
	// RuntimeDown: the runtime does not answer; Containers is what is known
	// without it, absence means nothing, and steps that need it are not worth
	// trying.
	RuntimeDown bool
	Sandbox     bool                // set up and intact
	Containers  []runtime.Container // of this pod, any attempt, the pod's init excluded
	// Pulling tells, by container, how far the pull of its image is, for people.
	// The container's OpCreate waits for the end of it.
	Pulling map[string]string
	// ObjectsAt and ImagesAt tell when ConfigMaps and Secrets, and the images
	// of this node, last changed: what failed before that for want of one of
	// them is tried again without its back-off.
	ObjectsAt, ImagesAt time.Time
	Health              map[string]Health // by container, as far as its probes are run by this process
	Hooks               []HookSeen        // those that this process began
}

// changes tells what failures wait for.
func (s *Seen) changes() retry.Changes {
	return retry.Changes{Objects: s.ObjectsAt, Images: s.ImagesAt}
}

// hooking tells whether this process has begun the hook of an attempt.
func (s *Seen) hooking(id string, kind HookKind) bool {
	return slices.ContainsFunc(s.Hooks, func(h HookSeen) bool { return h.ID == id && h.Kind == kind })
}

// Op is what a step does.
type Op string

// The steps. Each is idempotent and may be cut by kill -9 at any instant.
const (
	OpSetup    Op = "setup"    // volumes, cgroup, sandbox, network, files of the pod
	OpCreate   Op = "create"   // runtime.Create of one attempt
	OpStart    Op = "start"    // runtime.Start
	OpHook     Op = "hook"     // begin a lifecycle hook; Seen.Hooks tells how it ends
	OpSignal   Op = "signal"   // runtime.Signal
	OpRemove   Op = "remove"   // runtime.Delete; the exit is recorded by then
	OpTeardown Op = "teardown" // the opposite of OpSetup
	OpForget   Op = "forget"   // remove the record; the last step of a deletion
)

// Step is one thing to do.
type Step struct {
	Op        Op
	Container string // name in the spec, for the container steps
	Attempt   uint32
	ID        string // runtime.ContainerID, for the container steps
	Signal    string // "SIGTERM", for OpSignal; "" is the image's STOPSIGNAL, else SIGTERM
	Hook      HookKind
	Deadline  time.Time // of OpHook; zero: none
	Why       string    // for people
}

// Result is what became of a step. The zero Result is success.
type Result struct {
	Reason  string // non-empty: it failed; Kubernetes' reason (ErrImagePull, CreateContainerError, StartError, ...)
	Message string
	Pending bool   // of OpCreate: neither done nor failed; Seen.Pulling tells when to go on
	Final   bool   // of OpStart: this attempt will never run (runtime.ErrStart)
	Image   string // of OpCreate: normalised name and ID
	ImageID string
	User    *User // of OpCreate: whom the container will run as
}

// Plan is what to do now, in this order, stopping at the first failure.
type Plan struct {
	Steps []Step
	Again time.Time // decide anew at this time even if nothing wakes; zero: no need
}
