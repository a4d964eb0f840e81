package report

import (
	"cmp"
	"context"
	"slices"
	"sync"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/watch"
)

// Table holds the newest reported state of every pod of the node. Its zero
// value is not usable; see NewTable. Methods are safe for concurrent use.
type Table struct {
	mu       sync.Mutex
	pods     map[string]*v1.Pod // by UID
	watchers map[*watcher]struct{}
}

// NewTable returns an empty table.
func NewTable() *Table {
	return &Table{pods: map[string]*v1.Pod{}, watchers: map[*watcher]struct{}{}}
}

// Set stores pod, with its status, under its UID and tells the watchers if it
// differs from what was there. The pod must not be changed afterwards.
func (t *Table) Set(pod *v1.Pod) {
	uid := string(pod.UID)
	t.mu.Lock()
	defer t.mu.Unlock()
	if old, ok := t.pods[uid]; ok && equality.Semantic.DeepEqual(old, pod) {
		return
	}
	t.pods[uid] = pod
	t.tellLocked(uid, change{pod: pod})
}

// Delete forgets the pod with this UID. Deleting what is not there is no event.
func (t *Table) Delete(uid string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old, ok := t.pods[uid]
	if !ok {
		return
	}
	delete(t.pods, uid)
	t.tellLocked(uid, change{pod: old, gone: true})
}

// List returns all pods, ordered by namespace, name, then UID. The pods are
// shared and must not be changed.
func (t *Table) List() []*v1.Pod {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.listLocked()
}

// Get returns the pod of this name. If several bear it (one replaces the
// other), the one that is not being deleted, then the youngest.
func (t *Table) Get(namespace, name string) (*v1.Pod, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var best *v1.Pod
	for _, p := range t.pods {
		if p.Namespace == namespace && p.Name == name && (best == nil || preferred(p, best)) {
			best = p
		}
	}
	return best, best != nil
}

// Watch returns a channel that first carries an ADDED event for every pod of
// the table, in List's order, then an event whenever a pod changed. A reader
// that is slow finds the newest state of each pod, not every state there was.
// The channel is closed after ctx is done.
func (t *Table) Watch(ctx context.Context) <-chan watch.Event {
	w := newWatcher()
	t.mu.Lock()
	for _, p := range t.listLocked() {
		w.tell(string(p.UID), change{pod: p})
	}
	t.watchers[w] = struct{}{}
	t.mu.Unlock()

	out := make(chan watch.Event)
	go func() {
		defer close(out)
		w.run(ctx, out)
		t.mu.Lock()
		delete(t.watchers, w)
		t.mu.Unlock()
	}()
	return out
}

func (t *Table) listLocked() []*v1.Pod {
	list := make([]*v1.Pod, 0, len(t.pods))
	for _, p := range t.pods {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b *v1.Pod) int {
		return cmp.Or(
			cmp.Compare(a.Namespace, b.Namespace),
			cmp.Compare(a.Name, b.Name),
			cmp.Compare(a.UID, b.UID))
	})
	return list
}

func (t *Table) tellLocked(uid string, c change) {
	for w := range t.watchers {
		w.tell(uid, c)
	}
}

// preferred tells whether a is the better answer to a name that a and b bear.
func preferred(a, b *v1.Pod) bool {
	if (a.DeletionTimestamp == nil) != (b.DeletionTimestamp == nil) {
		return a.DeletionTimestamp == nil
	}
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return b.CreationTimestamp.Before(&a.CreationTimestamp)
	}
	return a.UID < b.UID
}
