package shimgroup

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

func TestGroupsOfAPod(t *testing.T) {
	gs := New(1)
	want := func(id, group string) {
		t.Helper()
		if got := gs.NameOf(id); got != group {
			t.Errorf("%s is in %q, want %q", id, got, group)
		}
	}
	start := func(id string) {
		t.Helper()
		gs.Enter(id, false)
		gs.Leave(id, true)
	}
	gs.Choose("a0", "pod", "runc")
	gs.Choose("b0", "pod", "runc")
	gs.Choose("x0", "other", "runc")
	want("a0", "a0")
	want("b0", "a0")
	want("x0", "x0")
	start("a0")
	start("b0")
	// The founder goes, its group lives on in b0.
	if err := gs.Retire(t.Context(), "a0"); err != nil {
		t.Fatal(err)
	}
	gs.Drop("a0")
	gs.Choose("a1", "pod", "runc")
	want("a1", "a0")
	// The last task goes before a1's is made: a1 may not join a dying shim.
	if err := gs.Retire(t.Context(), "b0"); err != nil {
		t.Fatal(err)
	}
	gs.Choose("b1", "pod", "runc")
	want("b1", "b1")
	gs.Leave("b0", false)
	gs.Drop("b0")
	if g, left := gs.Enter("a1", false); left != "a0" || g == "a0" {
		t.Errorf("a1 was started in group %q and left %q", g, left)
	}
	gs.Leave("a1", true)
	// Only containers of one runtime share a shim.
	gs.Choose("k", "pod", "kata")
	want("k", "k")
}

func TestGroupIsLeftAfterItsShimFailed(t *testing.T) {
	gs := New(1)
	gs.Choose("a", "pod", "runc")
	first, _ := gs.Enter("a", false)
	gs.Leave("a", false)
	second, _ := gs.Enter("a", true)
	gs.Leave("a", false)
	third, _ := gs.Enter("a", true)
	if first == second || second == third || first == third {
		t.Errorf("groups are %q, %q, %q: a name came twice", first, second, third)
	}
}

func TestPodsShareAShim(t *testing.T) {
	gs := New(2)
	for _, c := range []struct{ id, pod, want string }{
		{"a", "p1", "a"}, {"b", "p2", "a"}, {"c", "p3", "c"}, {"d", "p1", "a"}, {"e", "p4", "c"}, {"f", "p5", "f"},
	} {
		if got := gs.Choose(c.id, c.pod, "runc"); got != c.want {
			t.Errorf("%s of %s is in %q, want %q", c.id, c.pod, got, c.want)
		}
	}
}

func TestDeletionWaitsForACreationThatNeedsTheShim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gs := New(2)
		gs.Choose("a", "p1", "runc")
		gs.Enter("a", false)
		gs.Leave("a", true)
		gs.Choose("b", "p2", "runc")
		gs.Enter("b", false)
		done := make(chan error)
		go func() { done <- gs.Retire(t.Context(), "a") }()
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("a's deletion did not wait: %v", err)
		default:
		}
		gs.Leave("b", true)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if gs.Idle("a") {
			t.Error("b's task does not count")
		}
		gs.Enter("b", true)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		gs.Choose("c", "p1", "runc")
		gs.Enter("c", false)
		if err := gs.Retire(ctx, "a"); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestSeededGroups(t *testing.T) {
	gs := New(1)
	gs.Seed("a", "p1", "runc", "a", true)
	gs.Seed("b", "p1", "runc", "a", false)
	gs.Seed("c", "p2", "runc", "gone", false) // its founder went while nobody looked
	gs.Seed("d", "p3", "runc", "d", false)    // a founder that was never started
	for id, want := range map[string]string{"b": "a", "d": "d"} {
		if got, _ := gs.Enter(id, false); got != want {
			t.Errorf("%s starts in %q, want %q", id, got, want)
		}
	}
	if got, _ := gs.Enter("c", false); got == "gone" {
		t.Error("c joined a group that nobody lives in")
	}
}
