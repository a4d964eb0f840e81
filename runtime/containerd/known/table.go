package known

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/containerd/containerd/api/types"

	"github.com/davit-agent/davit/runtime"
)

// Entry is what this process knows of one container.
type Entry struct {
	runtime.Container
	Made   bool // the object was seen, or its start mark; false: only Adopt named it
	Group  string
	Cgroup string  // Linux.CgroupsPath of its spec
	Launch *Launch // what Start needs, if Create was called in this process

	noted uint64 // sequence number of when it was entered or last named
}

// Launch is what it takes to make a container's task.
type Launch struct {
	Stdin, Stdout, Stderr string
	Terminal              bool
	RootFS                []*types.Mount
}

// Table is what is known of the containers, by ID. It answers List while the
// daemon is away, holds the exits of tasks that the daemon threw away, and
// saves Start the round trips for what Create knew.
//
// What is seen of a container only ever moves it forward: created, running,
// exited. So a List that read the daemon before an exit event cannot undo it, and
// one that read it before a container was made does not remove that.
type Table struct {
	mu      sync.Mutex
	entries map[string]*Entry
	// deleted holds what Delete removed while a List was under way that may
	// have read it before; gone is the sequence number of the deletion.
	deleted map[string]uint64
	seq     uint64
	lists   map[uint64]struct{} // sequence numbers at which running Lists began
}

// NewTable makes an empty table.
func NewTable() *Table {
	return &Table{entries: map[string]*Entry{}, deleted: map[string]uint64{}, lists: map[uint64]struct{}{}}
}

// Begin marks the start of reading the daemon; End must be called with its result.
func (t *Table) Begin() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	seq := t.nextLocked()
	t.lists[seq] = struct{}{}
	return seq
}

// End is called when what was read has been merged.
func (t *Table) End(seq uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.lists, seq)
	if len(t.lists) == 0 {
		clear(t.deleted)
	}
}

// Get returns a copy of what is known of a container.
func (t *Table) Get(id string) (Entry, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e, ok := t.entries[id]; ok {
		return *e, true
	}
	return Entry{}, false
}

// Put enters a container that Create has just made or found.
func (t *Table) Put(e Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e.noted = t.nextLocked()
	if have, ok := t.entries[e.ID]; ok && have.Made {
		have.Group, have.Launch, have.noted = e.Group, e.Launch, e.noted
		return
	}
	t.entries[e.ID] = &e
}

func (t *Table) nextLocked() uint64 {
	t.seq++
	return t.seq
}

// Adopt enters a container that a record names, or that is about to be made.
func (t *Table) Adopt(ref runtime.ContainerRef, m *Mark) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.nextLocked()
	if have, ok := t.entries[ref.ID]; ok {
		have.noted = now
		return
	}
	e := &Entry{Container: runtime.Container{ContainerRef: ref, State: runtime.StateUnknown}, noted: now}
	if m != nil {
		e.Made, e.Group, e.Cgroup, e.StartedAt = true, m.Group, m.Cgroup, m.At
	}
	t.entries[ref.ID] = e
}

// Merge folds in what a List that began at seq saw and returns what is now
// known; false: the container was deleted meanwhile.
func (t *Table) Merge(seq uint64, seen Entry) (runtime.Container, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if at, ok := t.deleted[seen.ID]; ok && at >= seq {
		return runtime.Container{}, false
	}
	have, ok := t.entries[seen.ID]
	if !ok || !have.Made {
		seen.Made, seen.noted = true, t.nextLocked()
		t.entries[seen.ID] = &seen
		return seen.Container, true
	}
	if rank(seen.State) < rank(have.State) {
		seen.State, seen.Pid, seen.Exit = have.State, have.Pid, have.Exit
	}
	if have.State == runtime.StateExited {
		seen.Exit = have.Exit
	}
	if seen.StartedAt.IsZero() || !have.StartedAt.IsZero() {
		seen.StartedAt = have.StartedAt
	}
	have.Container = seen.Container
	have.Group = cmp.Or(seen.Group, have.Group)
	have.Cgroup = cmp.Or(seen.Cgroup, have.Cgroup)
	return seen.Container, true
}

// rank orders states by how far a container has come. Unknown stands lowest:
// it says what the daemon does not know.
func rank(s runtime.State) int {
	return slices.Index([]runtime.State{runtime.StateUnknown, runtime.StateCreated, runtime.StateRunning, runtime.StateExited}, s)
}

// Running notes that a task was started.
func (t *Table) Running(id string, pid uint32, group string, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e, ok := t.entries[id]; ok && e.State != runtime.StateExited {
		e.State, e.Pid, e.Group, e.StartedAt = runtime.StateRunning, pid, group, at
	}
}

// Vanished notes that a container has no task, or lost the one it had, and
// nobody saw its end; was is its state before the daemon was asked.
func (t *Table) Vanished(id string, was runtime.State) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e, ok := t.entries[id]; ok && e.State == was && was != runtime.StateExited {
		e.State, e.Pid = runtime.StateUnknown, 0
	}
}

// Exited notes an exit; the first one that is seen counts. It returns the
// exit that counts, and the pod's UID; false: the container is not known.
func (t *Table) Exited(id string, x runtime.Exit) (runtime.Exit, string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.entries[id]
	if !ok {
		return x, "", false
	}
	if e.State != runtime.StateExited {
		e.State, e.Pid, e.Exit, e.Made = runtime.StateExited, 0, &x, true
	}
	return *e.Exit, e.Pod.UID, true
}

// Remove forgets a container that was deleted.
func (t *Table) Remove(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.entries, id)
	if len(t.lists) > 0 {
		t.deleted[id] = t.nextLocked()
	}
}

// Prune forgets what was not among the containers seen by a List of all that
// began at seq, unless it was named since: that may have been made meanwhile.
func (t *Table) Prune(seq uint64, seen map[string]bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, e := range t.entries {
		if !seen[id] && e.noted < seq {
			delete(t.entries, id)
		}
	}
}

// States returns the states of all entries by ID.
func (t *Table) States() map[string]runtime.State {
	t.mu.Lock()
	defer t.mu.Unlock()
	states := make(map[string]runtime.State, len(t.entries))
	for id, e := range t.entries {
		states[id] = e.State
	}
	return states
}

// OfPod returns copies of the entries of a pod, or of all for "".
func (t *Table) OfPod(uid string) []Entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []Entry
	for _, e := range t.entries {
		if uid == "" || e.Pod.UID == uid {
			all = append(all, *e)
		}
	}
	return all
}

// Sort puts containers into the order that List promises.
func Sort(cs []runtime.Container) {
	slices.SortFunc(cs, func(a, b runtime.Container) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
}
