package report

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

func pod(ns, name, uid string, phase v1.PodPhase) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, UID: types.UID(uid)},
		Status:     v1.PodStatus{Phase: phase},
	}
}

func text(ev watch.Event) string {
	p := ev.Object.(*v1.Pod)
	return fmt.Sprintf("%s %s/%s %s", ev.Type, p.Namespace, p.Name, p.Status.Phase)
}

func expect(t *testing.T, ch <-chan watch.Event, want ...string) {
	t.Helper()
	for _, w := range want {
		synctest.Wait()
		select {
		case ev := <-ch:
			if got := text(ev); got != w {
				t.Fatalf("event %q, want %q", got, w)
			}
		default:
			t.Fatalf("no event, want %q", w)
		}
	}
	synctest.Wait()
	select {
	case ev, ok := <-ch:
		if ok {
			t.Fatalf("unexpected event %q", text(ev))
		}
		t.Fatal("channel closed early")
	default:
	}
}

func TestListIsSorted(t *testing.T) {
	tab := NewTable()
	for _, p := range []*v1.Pod{pod("b", "a", "1", ""), pod("a", "z", "2", ""), pod("a", "b", "4", ""), pod("a", "b", "3", "")} {
		tab.Set(p)
	}
	got := ""
	for _, p := range tab.List() {
		got += string(p.UID)
	}
	if got != "3421" {
		t.Errorf("order %s, want 3421", got)
	}
}

func TestGetPrefersTheLiving(t *testing.T) {
	tab := NewTable()
	dying := pod("a", "x", "1", "")
	dying.DeletionTimestamp = &metav1.Time{Time: time.Unix(5, 0)}
	dying.CreationTimestamp = metav1.Unix(9, 0)
	old, young := pod("a", "x", "2", ""), pod("a", "x", "3", "")
	old.CreationTimestamp, young.CreationTimestamp = metav1.Unix(1, 0), metav1.Unix(2, 0)
	for _, p := range []*v1.Pod{dying, old, young} {
		tab.Set(p)
	}
	for _, want := range []string{"3", "2", "1"} {
		p, ok := tab.Get("a", "x")
		if !ok || string(p.UID) != want {
			t.Fatalf("got %v, want UID %s", p, want)
		}
		tab.Delete(want)
	}
	if _, ok := tab.Get("a", "x"); ok {
		t.Error("found a pod that was deleted")
	}
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tab := NewTable()
		ctx, cancel := context.WithCancel(t.Context())
		tab.Set(pod("b", "x", "1", v1.PodPending))
		tab.Set(pod("a", "y", "2", v1.PodPending))
		ch := tab.Watch(ctx)
		expect(t, ch, "ADDED a/y Pending", "ADDED b/x Pending")

		tab.Set(pod("a", "y", "2", v1.PodPending)) // equal: nothing
		tab.Delete("no such")
		expect(t, ch)

		tab.Set(pod("a", "y", "2", v1.PodRunning))
		tab.Delete("1")
		expect(t, ch, "MODIFIED a/y Running", "DELETED b/x Pending")

		cancel()
		synctest.Wait()
		if _, ok := <-ch; ok {
			t.Error("channel is open after its context is done")
		}
		if len(tab.watchers) != 0 {
			t.Error("a watcher is left in the table")
		}
	})
}

// A reader that reads nothing blocks no writer and then finds each pod once,
// in its newest state, and no pod that came and went meanwhile.
func TestSlowWatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tab := NewTable()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ch := tab.Watch(ctx)
		tab.Set(pod("a", "first", "0", v1.PodPending))
		synctest.Wait() // the watcher now holds this one event in its hand
		for i := range 1000 {
			p := pod("a", "x", "1", v1.PodRunning)
			p.Status.Message = fmt.Sprint(i)
			tab.Set(p)
			tab.Set(pod("a", "ghost", fmt.Sprint("g", i), v1.PodPending))
			tab.Delete(fmt.Sprint("g", i))
		}
		expect(t, ch, "ADDED a/first Pending", "ADDED a/x Running")
		tab.Delete("1")
		tab.Set(pod("a", "x", "1", v1.PodFailed)) // deleted and back: one change
		expect(t, ch, "MODIFIED a/x Failed")
	})
}
