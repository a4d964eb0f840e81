package source

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func testPod(uid, name, origin string) *Pod {
	return &Pod{Pod: &v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: types.UID(uid), Namespace: "default", Name: name}}, Origin: origin, Line: 1}
}

func snapshot(complete bool, pods ...*Pod) Snapshot {
	s := Snapshot{Pods: map[string]*Pod{}, Complete: complete}
	for _, p := range pods {
		s.Pods[string(p.Pod.UID)] = p
	}
	return s
}

// drain returns the wakes that wait.
func drain(s *Set) []string {
	out := []string{}
	for {
		select {
		case uid := <-s.Changes():
			out = append(out, uid)
		default:
			slices.Sort(out)
			return out
		}
	}
}

func list(s *Set) []string {
	out := []string{}
	for _, p := range s.List() {
		out = append(out, string(p.Pod.UID))
	}
	return out
}

func TestSet(t *testing.T) {
	s := NewSet("dir", "url")
	check := func(step string, synced bool, pods, wakes []string) {
		t.Helper()
		if s.Synced() != synced {
			t.Errorf("%s: synced is %v", step, s.Synced())
		}
		if diff := cmp.Diff(pods, list(s)); diff != "" {
			t.Errorf("%s: pods (-want +got):\n%s", step, diff)
		}
		if diff := cmp.Diff(wakes, drain(s)); diff != "" {
			t.Errorf("%s: wakes (-want +got):\n%s", step, diff)
		}
	}
	a, b := testPod("ua", "a", "/f"), testPod("ub", "b", "/f")
	check("new", false, []string{}, []string{})
	s.Deliver("dir", snapshot(false, a))
	check("incomplete", false, []string{"ua"}, []string{"ua"})
	s.Deliver("dir", snapshot(true, a, b))
	check("first source", false, []string{"ua", "ub"}, []string{"", "ub"})
	s.Deliver("url", snapshot(true))
	check("second source", true, []string{"ua", "ub"}, []string{""})
	s.Deliver("dir", snapshot(true, testPod("ua", "a", "/f"), b))
	check("the same", true, []string{"ua", "ub"}, []string{})
	s.Deliver("dir", snapshot(false))
	check("incomplete removes nothing", true, []string{"ua", "ub"}, []string{})
	s.Deliver("dir", snapshot(false, testPod("ua2", "a", "/f")))
	check("incomplete replaces", true, []string{"ua2", "ub"}, []string{"ua", "ua2"})
	changed := testPod("ua2", "a", "/f")
	changed.Pod.Spec.Hostname = "h"
	s.Deliver("dir", snapshot(true, changed))
	check("removed and changed", true, []string{"ua2"}, []string{"ua2", "ub"})
	if p, ok := s.Get("ua2"); !ok || p != changed {
		t.Errorf("Get: %v, %v", p, ok)
	}
	if _, ok := s.Get("ub"); ok {
		t.Error("Get finds what was removed")
	}

	// Two sources want one name and one UID: the first source has it.
	s.Deliver("url", snapshot(true, testPod("x", "a", "u"), testPod("ua2", "c", "u"), testPod("y", "d", "u")))
	check("conflict", true, []string{"ua2", "y"}, []string{"y"})
	var got []string
	for _, p := range s.Problems() {
		got = append(got, p.String())
	}
	want := []string{
		"u:1: Pod/default/a: metadata.name: the name of pod default/a is taken by /f:1, which was there first: change or remove one of them",
		"u:1: Pod/default/c: metadata.uid: the UID of pod default/c, ua2, is taken by /f:1, which was there first: change or remove one of them",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	s.Deliver("dir", snapshot(true))
	check("the second steps in", true, []string{"x", "ua2", "y"}, []string{"ua2", "x"})
}

func TestChangesNeverBlock(t *testing.T) {
	s := NewSet("dir")
	const n = 3 * changesSize
	var pods []*Pod
	for i := range n {
		pods = append(pods, testPod(fmt.Sprint("u", i), fmt.Sprint("n", i), "/f"))
	}
	s.Deliver("dir", snapshot(true, pods...))
	wakes := drain(s)
	if len(wakes) != changesSize || wakes[0] != "" {
		t.Errorf("%d wakes, the first of them %q", len(wakes), wakes[0])
	}
	s.Deliver("dir", snapshot(true, pods[1:]...))
	if got := drain(s); !slices.Equal(got, []string{"u0"}) {
		t.Errorf("after draining: %q", got)
	}
}

func TestKeep(t *testing.T) {
	broken := snapshot(true, testPod("ua", "a", "/good"))
	broken.Broken = []string{"/bad"}
	unsynced, synced := NewSet("dir"), NewSet("dir")
	unsynced.Deliver("dir", snapshot(false, testPod("ua", "a", "/good")))
	synced.Deliver("dir", broken)
	for _, tc := range []struct {
		name             string
		set              *Set
		uid, pod, origin string
		want             bool
	}{
		{"wanted", synced, "ua", "a", "/good", true},
		{"not wanted", synced, "ub", "b", "/good", false},
		{"file gone", synced, "ub", "b", "/gone", false},
		{"file broken", synced, "ub", "b", "/bad", true},
		{"file broken, name given away", synced, "ub", "a", "/bad", false},
		{"not synced", unsynced, "ub", "b", "/gone", true},
		{"not synced, replaced", unsynced, "ua0", "a", "/good", false},
	} {
		if got := tc.set.Keep(tc.uid, "default", tc.pod, tc.origin); got != tc.want {
			t.Errorf("%s: Keep is %v", tc.name, got)
		}
	}
	if !synced.Broken("/bad") || synced.Broken("/good") {
		t.Error("Broken does not tell broken files from good ones")
	}
}
