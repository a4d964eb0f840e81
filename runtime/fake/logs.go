package fake

import (
	"context"
	"maps"
	"path/filepath"
	"slices"

	"github.com/davit-agent/davit/runtime"
)

// Logs is a Node's runtime.Logs. The node's Runtimes open and close streams
// themselves; this is for looking, for closing orphans, and for streams that
// somebody else wants.
type Logs struct{ n *Node }

var _ runtime.Logs = Logs{}

// Logs returns the node's log streams.
func (n *Node) Logs() Logs { return Logs{n} }

// Open implements runtime.Logs.
func (l Logs) Open(ctx context.Context, s runtime.LogStream) (stdout, stderr string, err error) {
	n := l.n
	n.mu.Lock()
	defer n.mu.Unlock()
	if s.ID == "" || !filepath.IsAbs(s.Path) {
		n.impossibleLocked("log stream %q is opened with the path %q", s.ID, s.Path)
	}
	after, err := n.enterLocked(ctx, "open", s.ID, false)
	if err != nil {
		return "", "", err
	}
	if _, there := n.streams[s.ID]; !there {
		n.streams[s.ID] = s
	}
	if err := after(nil); err != nil {
		return "", "", err
	}
	stdout = filepath.Join("/run/fake/logs", s.ID+".stdout")
	if !s.Terminal {
		stderr = filepath.Join("/run/fake/logs", s.ID+".stderr")
	}
	return stdout, stderr, nil
}

// Close implements runtime.Logs.
func (l Logs) Close(ctx context.Context, id string) error {
	n := l.n
	n.mu.Lock()
	defer n.mu.Unlock()
	after, err := n.enterLocked(ctx, "close", id, false)
	if err != nil {
		return err
	}
	if c := n.containers[id]; c != nil && c.task != nil && c.task.exit == nil {
		n.impossibleLocked("the log streams of %s are closed while it runs", nameOf(c.cfg.ContainerRef))
	}
	delete(n.streams, id)
	return after(nil)
}

// List implements runtime.Logs.
func (l Logs) List(ctx context.Context) ([]string, error) {
	l.n.mu.Lock()
	defer l.n.mu.Unlock()
	after, err := l.n.enterLocked(ctx, "streams", "", false)
	if err != nil {
		return nil, err
	}
	if err := after(nil); err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(l.n.streams)), nil
}
