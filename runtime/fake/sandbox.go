package fake

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/davit-agent/davit/runtime"
)

// sandboxDir is where the fake's namespaces seem to be pinned.
const sandboxDir = "/run/fake/ns"

// sandbox is what a pod's containers share; a part of it may be lost.
type sandbox struct {
	made runtime.Sandbox
	lost bool
}

func (s *sandbox) damage() string {
	if s.lost {
		return " damaged"
	}
	return ""
}

// Sandboxes is a Node's runtime.Sandboxes.
type Sandboxes struct{ n *Node }

var _ runtime.Sandboxes = Sandboxes{}

// Sandboxes returns the node's sandboxes. From then on a container without one
// is impossible.
func (n *Node) Sandboxes() Sandboxes {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.guarded = true
	return Sandboxes{n}
}

// DamageSandbox has a part of a pod's sandbox vanish.
func (n *Node) DamageSandbox(uid string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.sandboxes[uid]
	if s == nil {
		n.impossibleLocked("the sandbox of pod %s is damaged, which has none", uid)
		return
	}
	s.lost = true
}

// Ensure implements runtime.Sandboxes.
func (s Sandboxes) Ensure(ctx context.Context, cfg *runtime.SandboxConfig) (*runtime.Sandbox, error) {
	n := s.n
	n.mu.Lock()
	defer n.mu.Unlock()
	uid := cfg.Pod.UID
	if uid == "" {
		n.impossibleLocked("a sandbox is made for no pod")
	}
	after, err := n.enterLocked(ctx, "ensure", uid, false)
	if err != nil {
		return nil, err
	}
	box := n.sandboxes[uid]
	if box == nil {
		box = &sandbox{made: sandboxOf(cfg)}
		n.sandboxes[uid] = box
	}
	if box.made != sandboxOf(cfg) {
		n.impossibleLocked("the sandbox of pod %s is wanted in another shape than it has", uid)
	}
	if box.lost {
		for _, c := range n.containers {
			if c.cfg.Pod.UID == uid && c.task != nil && c.task.exit == nil {
				n.impossibleLocked("the sandbox of pod %s is mended while %s runs in the old one", uid, nameOf(c.cfg.ContainerRef))
			}
		}
		box.lost = false
	}
	if err := after(nil); err != nil {
		return nil, err
	}
	made := box.made
	return &made, nil
}

func sandboxOf(cfg *runtime.SandboxConfig) runtime.Sandbox {
	pin := func(kind string) string { return filepath.Join(sandboxDir, cfg.Pod.UID, kind) }
	s := runtime.Sandbox{UID: cfg.Pod.UID}
	if !cfg.HostNetwork {
		s.NetNS, s.UTSNS = pin("net"), pin("uts")
	}
	if !cfg.HostIPC {
		s.IPCNS, s.ShmPath = pin("ipc"), pin("shm")
	}
	if cfg.SharePID {
		s.PIDNS = pin("pid")
	}
	if cfg.IDs != nil {
		s.UserNS = pin("user")
	}
	return s
}

// Inspect implements runtime.Sandboxes.
func (s Sandboxes) Inspect(ctx context.Context, uid string) (*runtime.Sandbox, error) {
	s.n.mu.Lock()
	defer s.n.mu.Unlock()
	after, err := s.n.enterLocked(ctx, "inspect", uid, false)
	if err != nil {
		return nil, err
	}
	box := s.n.sandboxes[uid]
	if box == nil || box.lost {
		return nil, fmt.Errorf("sandbox of pod %s: %w", uid, runtime.ErrNotFound)
	}
	if err := after(nil); err != nil {
		return nil, err
	}
	made := box.made
	return &made, nil
}

// Remove implements runtime.Sandboxes.
func (s Sandboxes) Remove(ctx context.Context, uid string) error {
	n := s.n
	n.mu.Lock()
	defer n.mu.Unlock()
	after, err := n.enterLocked(ctx, "remove", uid, false)
	if err != nil {
		return err
	}
	for _, c := range n.sortedLocked() {
		if c.cfg.Pod.UID == uid {
			n.impossibleLocked("the sandbox of pod %s is removed before container %s", uid, nameOf(c.cfg.ContainerRef))
			break
		}
	}
	delete(n.sandboxes, uid)
	return after(nil)
}

// List implements runtime.Sandboxes.
func (s Sandboxes) List(ctx context.Context) ([]string, error) {
	s.n.mu.Lock()
	defer s.n.mu.Unlock()
	after, err := s.n.enterLocked(ctx, "sandboxes", "", false)
	if err != nil {
		return nil, err
	}
	if err := after(nil); err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(s.n.sandboxes)), nil
}
