// Package explain has the words in which davit tells people and programs why a pod
// is where it is: what it waits for, and what comes. It is pure; package lifecycle finds out which
// of them hold.
package explain

import (
	"fmt"
	"strings"
	"time"
)

// Cause is why something waits.
type Cause string

// The causes.
const (
	RuntimeDown  Cause = "RuntimeDown"  // the container runtime does not answer
	Stopping     Cause = "Stopping"     // what has to stop still runs
	Admission    Cause = "Admission"    // the node cannot take the pod on: too many pods, no address, no disk
	Setup        Cause = "Setup"        // volumes, namespaces or network cannot be made
	Pulling      Cause = "Pulling"      // the image is on its way
	PullFailed   Cause = "PullFailed"   // the image could not be pulled
	ImageMissing Cause = "ImageMissing" // the image is not here and may not be pulled
	ImageName    Cause = "ImageName"    // the image's name does not parse
	Config       Cause = "Config"       // a ConfigMap, a Secret or a key of it is missing
	Create       Cause = "Create"       // creating the container fails
	Start        Cause = "Start"        // starting it fails
	Signal       Cause = "Signal"       // it cannot be signalled
	CrashLoop    Cause = "CrashLoop"    // it ended more than once
	Init         Cause = "Init"         // an init container or sidecar before it is not that far
	Hook         Cause = "Hook"         // its postStart hook runs
	Unhealthy    Cause = "Unhealthy"    // it is stopped for a failed probe or postStart hook
	Stuck        Cause = "Stuck"        // its process, its shim or its OCI runtime hangs
	Cleanup      Cause = "Cleanup"      // what is left of it cannot be removed
	Probe        Cause = "Probe"        // its startup or readiness probe has not succeeded
)

// Wait is one thing that is waited for.
type Wait struct {
	Cause     Cause     `json:"cause"`
	Container string    `json:"container,omitempty"` // who waits; "": the pod
	For       []string  `json:"for,omitempty"`       // the containers it waits for
	Detail    string    `json:"detail"`
	Tries     int32     `json:"tries,omitempty"` // that failed in a row
	Until     time.Time `json:"until,omitzero"`  // when it is tried again, or forced; zero: when it happens
}

const whenChanged = ", sooner if a ConfigMap or Secret changes"

// Act tells what happens when the wait is over.
func (w Wait) Act() string {
	switch w.Cause {
	case RuntimeDown:
		return "the container runtime is asked again"
	case Stopping:
		return "what still runs then is killed, after 2 s more if it has had no signal yet: " + strings.Join(w.For, ", ")
	case Setup:
		return "setting up the pod is tried again" + whenChanged
	case PullFailed:
		return "the image of container " + w.Container + " is pulled again"
	case Config:
		return "creating container " + w.Container + " is tried again" + whenChanged
	case ImageMissing:
		return "creating container " + w.Container + " is tried again, sooner if the image is loaded"
	case ImageName, Create:
		return "creating container " + w.Container + " is tried again"
	case Start:
		return "starting container " + w.Container + " is tried again"
	case Signal:
		return "container " + w.Container + " is signalled again"
	case CrashLoop:
		return "container " + w.Container + " is started again"
	}
	return ""
}

// Sentence tells in one sentence why who waits does.
func (w Wait) Sentence() string {
	who := "the pod"
	if w.Container != "" {
		who = "container " + w.Container
	}
	switch w.Cause {
	case RuntimeDown:
		return w.Detail
	case Stopping:
		return fmt.Sprintf("%s; still running: %s", w.Detail, strings.Join(w.For, ", "))
	case Admission:
		return "the node cannot take the pod on, and tries again every few seconds: " + w.Detail
	case Setup:
		return "setting up the pod failed: " + w.Detail
	case Pulling:
		return who + " waits for its image: " + w.Detail
	case CrashLoop:
		return who + " does not keep running: " + w.Detail
	case Init:
		return fmt.Sprintf("%s waits: %s", who, w.Detail)
	case Stuck:
		return who + " is stuck: " + w.Detail
	case Cleanup:
		return who + " cannot be cleaned up: " + w.Detail
	case Hook, Probe:
		return who + " is not ready: " + w.Detail
	}
	return who + " cannot run: " + w.Detail
}

// Dying is a deletion under way.
type Dying struct {
	Since  time.Time `json:"since"` // it was asked for
	Until  time.Time `json:"until"` // what runs then is killed
	Reason string    `json:"reason"`
}

// Coming is something that will happen.
type Coming struct {
	At        time.Time `json:"at"` // not after now: it is due
	What      string    `json:"what"`
	Container string    `json:"container,omitempty"`
}

// Container is what is told of one container.
type Container struct {
	Name     string    `json:"name"`
	Kind     string    `json:"kind"`  // container, init container or sidecar
	State    string    `json:"state"` // waiting, running or terminated
	Reason   string    `json:"reason,omitempty"`
	Message  string    `json:"message,omitempty"`
	Since    time.Time `json:"since,omitzero"` // it runs, or has ended
	Restarts int32     `json:"restarts,omitempty"`
	// Ends is how its last attempts ended, newest first; two at most are known.
	Ends []End `json:"ends,omitempty"`
}

// End is how one attempt to run a container ended.
type End struct {
	Attempt uint32    `json:"attempt"`
	Code    int32     `json:"code"`
	Reason  string    `json:"reason"`
	Message string    `json:"message,omitempty"`
	Started time.Time `json:"started,omitzero"`
	At      time.Time `json:"at"`
}
