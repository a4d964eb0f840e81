package containerd

import (
	"errors"
	"testing"

	"github.com/davit-agent/davit/runtime"
)

func (n *node) list(uid string) map[string]runtime.State {
	n.t.Helper()
	list, err := n.c.List(n.t.Context(), uid)
	if err != nil {
		n.t.Fatal(err)
	}
	found := map[string]runtime.State{}
	for _, c := range list {
		found[c.ID] = c.State
	}
	return found
}

// A pod's containers are asked for by their IDs. None is overlooked for that:
// neither one that was made half, nor one that came by other ways.
func TestListOfAPodOverlooksNothing(t *testing.T) {
	n := newNode(t, "", nil)
	half := n.config("p1", "half", 0, "sleep")
	whole := *half.Image
	half.Image = &whole
	half.Image.Snapshot = "sha256:none"
	if err := n.c.Create(t.Context(), half); !errors.Is(err, runtime.ErrImageNotFound) {
		t.Fatalf("without its image's snapshot: %v", err)
	}
	uid := half.Pod.UID
	if got := n.list(uid); len(got) != 1 {
		t.Fatalf("one container is half made, and listed are %v", got)
	}
	if err := n.c.Delete(t.Context(), half.ID); err != nil {
		t.Fatal(err)
	}
	if got := n.list(uid); len(got) != 0 {
		t.Fatalf("deleted, and listed are %v", got)
	}

	other, err := New(n.cfg) // what an earlier davit asked for as it was killed
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	late := n.config("p1", "late", 0, "sleep")
	if err := other.Create(t.Context(), late); err != nil {
		t.Fatal(err)
	}
	if got := n.list(""); len(got) != 1 {
		t.Fatalf("of all are listed %v", got)
	}
	if got := n.list(uid); got[late.ID] != runtime.StateCreated {
		t.Fatalf("after all were listed, of the pod are %v", got)
	}
	if err := n.Client("davit").ContainerService().Delete(n.c.withNS(t.Context()), late.ID); err != nil {
		t.Fatal(err)
	}
	if got := n.list(uid); len(got) != 0 {
		t.Errorf("the object has gone, and listed are %v", got)
	}
	if n.list(""); len(n.c.table.States()) != 0 {
		t.Errorf("all were listed, and known are %v", n.c.table.States())
	}
	if err := n.c.Delete(t.Context(), late.ID); err != nil { // the snapshot
		t.Fatal(err)
	}
}

// A list of all that began before a container was there, and ends after, does not
// make its pod's list forget it.
func TestListOfAllWhileAContainerComes(t *testing.T) {
	n := newNode(t, "", nil)
	n.list("")
	whole, half := n.config("p1", "whole", 0, "sleep"), n.config("p1", "half", 0, "sleep")
	img := *half.Image
	img.Snapshot = "sha256:none"
	half.Image = &img
	seen := map[string]bool{}
	for _, cfg := range []*runtime.ContainerConfig{whole, half} {
		n.c.table.Adopt(cfg.ContainerRef, nil) // as Create does at its beginning
		all := n.c.table.Begin()
		if err := n.c.Create(t.Context(), cfg); (err == nil) != (cfg == whole) {
			t.Fatal(err)
		}
		n.c.table.Prune(all, seen)
		n.c.table.End(all)
		seen[cfg.ID] = true // by the next list
	}
	if got := n.list(whole.Pod.UID); len(got) != 2 {
		t.Errorf("listed are %v", got)
	}
	for _, cfg := range []*runtime.ContainerConfig{whole, half} {
		if err := n.c.Delete(t.Context(), cfg.ID); err != nil {
			t.Fatal(err)
		}
	}
}
