package shimgroup

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

func enter(t *testing.T, gs *Groups, id string, again bool) (name, abandoned string) {
	t.Helper()
	name, abandoned, err := gs.Enter(t.Context(), id, again)
	if err != nil {
		t.Fatal(err)
	}
	return name, abandoned
}

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
		enter(t, gs, id, false)
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
	if g, left := enter(t, gs, "a1", false); left != "a0" || g == "a0" {
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
	first, _ := enter(t, gs, "a", false)
	gs.Leave("a", false)
	second, _ := enter(t, gs, "a", true)
	gs.Leave("a", false)
	third, _ := enter(t, gs, "a", true)
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
		enter(t, gs, "a", false)
		gs.Leave("a", true)
		gs.Choose("b", "p2", "runc")
		enter(t, gs, "b", false)
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
	})
}

func TestSeededGroups(t *testing.T) {
	gs := New(1)
	gs.Seed("a", "p1", "runc", "a", true)
	gs.Seed("b", "p1", "runc", "a", false)
	gs.Seed("c", "p2", "runc", "gone", false) // its founder went while nobody looked
	gs.Seed("d", "p3", "runc", "d", false)    // a founder that was never started
	for id, want := range map[string]string{"b": "a", "d": "d"} {
		if got, _ := enter(t, gs, id, false); got != want {
			t.Errorf("%s starts in %q, want %q", id, got, want)
		}
	}
	if got, _ := enter(t, gs, "c", false); got == "gone" {
		t.Error("c joined a group that nobody lives in")
	}
}

func TestTwoDeletionsDoNotRelyOnEachOther(t *testing.T) {
	gs := New(3)
	for _, id := range []string{"a", "b"} {
		gs.Choose(id, "p-"+id, "runc")
		enter(t, gs, id, false)
		gs.Leave(id, true)
	}
	gs.Choose("c", "p-c", "runc")
	enter(t, gs, "c", false)
	if err := gs.Retire(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// b is the last one now, and c's creation hangs on the shim.
	if err := gs.Retire(ctx, "b"); !errors.Is(err, context.Canceled) {
		t.Errorf("b's deletion did not wait: %v", err)
	}
}

func TestOnlyOneFoundsAGroup(t *testing.T) {
	for _, live := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			gs := New(2)
			gs.Choose("a", "p1", "runc")
			gs.Choose("b", "p2", "runc")
			enter(t, gs, "a", false)
			done := make(chan string)
			go func() {
				name, _ := enter(t, gs, "b", false)
				done <- name
			}()
			synctest.Wait()
			select {
			case name := <-done:
				t.Fatalf("b entered %q before a had founded it", name)
			default:
			}
			gs.Leave("a", live)
			if name := <-done; (name == "a") != live {
				t.Errorf("b entered %q, a's founding worked: %v", name, live)
			}
		})
	}
}
