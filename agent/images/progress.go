package images

import (
	"fmt"

	"github.com/davit-agent/davit/runtime"
)

// Stages before those of package runtime.
const (
	// StageLooking: it is not known yet whether the image is on the node.
	StageLooking runtime.PullStage = "looking"
	// StageWaiting: as many pulls as may be are under way.
	StageWaiting runtime.PullStage = "waiting"
)

// Pulling is the error of an image that is on its way. Its text is for people.
type Pulling struct {
	Ref      string // as it was asked for
	Stage    runtime.PullStage
	Progress runtime.PullProgress
	Running  int // in StageWaiting: pulls under way
	Before   int // in StageWaiting: pulls that are begun before this one
}

// Error tells how far it is.
func (e *Pulling) Error() string {
	p := e.Progress
	switch e.Stage {
	case StageLooking:
		return fmt.Sprintf("Looking for image %q on this node", e.Ref)
	case StageWaiting:
		text := fmt.Sprintf("Waiting to pull image %q: %s under way", e.Ref, count(e.Running, "pull"))
		if e.Before > 0 {
			text += fmt.Sprintf(", %d waiting before it", e.Before)
		}
		return text
	case runtime.PullUnpacking:
		return fmt.Sprintf("Unpacking image %q: %s", e.Ref, count(p.Layers, "layer"))
	case runtime.PullFetching:
		text := fmt.Sprintf("Pulling image %q", e.Ref)
		if p.Layers > 0 {
			text += fmt.Sprintf(": %d of %s", p.LayersDone, count(p.Layers, "layer"))
		}
		if p.Total > 0 {
			text += ", " + amount(p.Bytes, p.Total)
		}
		return text
	default:
		return fmt.Sprintf("Pulling image %q: asking the registry", e.Ref)
	}
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// amount is so many of so many bytes, in the unit of the larger.
func amount(n, of int64) string {
	unit, size := "bytes", int64(1)
	for _, u := range []struct {
		name string
		size int64
	}{{"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}} {
		if of >= u.size {
			unit, size = u.name, u.size
		}
	}
	if size == 1 {
		return fmt.Sprintf("%d of %d %s", n, of, unit)
	}
	return fmt.Sprintf("%.1f of %.1f %s", float64(n)/float64(size), float64(of)/float64(size), unit)
}
