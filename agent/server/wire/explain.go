package wire

import (
	"time"

	"github.com/davit-agent/davit/agent/lifecycle"
)

// Explanation is the answer to GET /v1/pods/{ns}/{name}/explain.
type Explanation struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	UID       string `json:"uid,omitempty"`
	Origin    string `json:"origin,omitempty"` // the file or URL that it came from
	// Pod is nil if there is no such pod, since what defines it is refused: then
	// Problems tell why.
	Pod *lifecycle.Explanation `json:"pod,omitempty"`
	// Doing is under way; nil: nothing is.
	Doing *Doing `json:"doing,omitempty"`
	// Successor is the UID of the pod that takes this one's name once it is gone.
	Successor string    `json:"successor,omitempty"`
	Problems  []Problem `json:"problems,omitempty"` // of the pod and of its file
}

// Doing is what the node is at.
type Doing struct {
	What  string    `json:"what"`
	Since time.Time `json:"since"`
}
