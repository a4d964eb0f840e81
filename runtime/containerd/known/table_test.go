package known

import (
	"log/slog"
	"testing"
	"time"

	"github.com/davit-agent/davit/runtime"
)

func seen(id string, s runtime.State) Entry {
	e := Entry{Container: runtime.Container{ContainerRef: runtime.ContainerRef{ID: id, Pod: runtime.PodRef{UID: "u"}}, State: s}, Made: true}
	if s == runtime.StateExited {
		e.Exit = &runtime.Exit{Code: 9}
	}
	return e
}

func TestAContainerOnlyMovesForward(t *testing.T) {
	tab := NewTable()
	tab.Put(seen("a", runtime.StateCreated))
	seq := tab.Begin()
	tab.Running("a", 7, "g", time.Unix(1, 0))
	// A List that read the daemon before the start comes late.
	if c, ok := tab.Merge(seq, seen("a", runtime.StateCreated)); !ok || c.State != runtime.StateRunning || c.Pid != 7 {
		t.Errorf("running became %+v", c)
	}
	if x, uid, ok := tab.Exited("a", runtime.Exit{Code: 3, OOMKilled: true}); !ok || uid != "u" || x.Code != 3 {
		t.Errorf("exit is %+v of %q", x, uid)
	}
	for _, s := range []runtime.State{runtime.StateUnknown, runtime.StateRunning, runtime.StateExited} {
		if c, _ := tab.Merge(seq, seen("a", s)); c.State != runtime.StateExited || c.Exit.Code != 3 {
			t.Errorf("exited became %+v by %s", c, s)
		}
	}
	if x, _, _ := tab.Exited("a", runtime.Exit{Code: 4}); x.Code != 3 {
		t.Errorf("a second exit with %d counts", x.Code)
	}
	tab.End(seq)
}

func TestWhatWasDeletedDoesNotComeBack(t *testing.T) {
	tab := NewTable()
	tab.Put(seen("a", runtime.StateRunning))
	late, early := tab.Begin(), tab.Begin()
	tab.Remove("a")
	tab.End(early)
	if c, ok := tab.Merge(late, seen("a", runtime.StateRunning)); ok {
		t.Errorf("deleted container came back as %+v", c)
	}
	tab.End(late)
	if n := len(tab.deleted); n > 0 {
		t.Errorf("%d deletions are kept for ever", n)
	}
	if _, _, ok := tab.Exited("a", runtime.Exit{}); ok || len(tab.States()) > 0 {
		t.Errorf("table has %v", tab.States())
	}
}

func TestVanishedIsNoLateNews(t *testing.T) {
	tab := NewTable()
	tab.Put(seen("a", runtime.StateCreated))
	before := tab.States()
	tab.Running("a", 7, "g", time.Unix(1, 0))
	tab.Vanished("a", before["a"]) // the List had not seen it start
	if e, _ := tab.Get("a"); e.State != runtime.StateRunning {
		t.Errorf("state is %s", e.State)
	}
	tab.Vanished("a", runtime.StateRunning)
	if e, _ := tab.Get("a"); e.State != runtime.StateUnknown {
		t.Errorf("state is %s", e.State)
	}
	tab.Prune(tab.Begin(), nil)
	if len(tab.States()) > 0 {
		t.Errorf("table has %v", tab.States())
	}
}

// A list of all that began while a container was being made has not seen it. It
// is known all the same, or nobody would ask for it any more.
func TestPruneSparesWhatIsBeingMade(t *testing.T) {
	for name, end := range map[string]func(*Table){
		"made":      func(tab *Table) { tab.Put(seen("a", runtime.StateCreated)) },
		"half made": func(tab *Table) { tab.Adopt(seen("a", runtime.StateCreated).ContainerRef, nil) },
		"made again": func(tab *Table) {
			tab.Merge(tab.Begin(), seen("a", runtime.StateCreated))
			tab.Put(seen("a", runtime.StateCreated))
		},
	} {
		tab := NewTable()
		tab.Adopt(seen("a", runtime.StateCreated).ContainerRef, nil)
		tab.Put(seen("old", runtime.StateRunning))
		all := tab.Begin()
		end(tab)
		tab.Prune(all, nil)
		tab.End(all)
		if es := tab.OfPod("u"); len(es) != 1 || es[0].ID != "a" {
			t.Errorf("%s: the table has %v", name, tab.States())
		}
		tab.Prune(tab.Begin(), nil)
		if len(tab.States()) > 0 {
			t.Errorf("%s: the next list of all did not see it either, and the table has %v", name, tab.States())
		}
	}
}

func TestMarks(t *testing.T) {
	k := Marks{Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)}
	if k.Get("a") != nil || len(k.IDs()) > 0 {
		t.Error("there is a mark that nobody set")
	}
	for range 2 {
		if err := k.Set("a", Mark{Group: "g", Cgroup: "/c"}); err != nil {
			t.Fatal(err)
		}
	}
	if m := k.Get("a"); m == nil || m.Group != "g" || m.Cgroup != "/c" || time.Since(m.At) > time.Minute {
		t.Errorf("mark is %+v", m)
	}
	if ids := k.IDs(); len(ids) != 1 || !ids["a"] {
		t.Errorf("marks are %v", ids)
	}
	tab := NewTable()
	tab.Adopt(runtime.ContainerRef{ID: "a"}, k.Get("a"))
	tab.Adopt(runtime.ContainerRef{ID: "b"}, k.Get("b"))
	if a, _ := tab.Get("a"); !a.Made || a.Group != "g" {
		t.Errorf("adopted container is %+v", a)
	}
	if b, _ := tab.Get("b"); b.Made {
		t.Error("a container is taken as made without a sign of it")
	}
	for range 2 {
		if err := k.Remove("a"); err != nil {
			t.Error(err)
		}
	}
}
