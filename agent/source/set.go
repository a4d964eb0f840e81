package source

import (
	"slices"
	"strings"
	"sync"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/podspec"
)

// changesSize is the number of wakes that may wait.
const changesSize = 256

// Set is the desired set: what all sources want together. Its methods may be
// called from any goroutine.
type Set struct {
	changes chan string

	mu         sync.Mutex
	sources    []*sourceState
	holders    map[string]holder // by id: who has a name that several may claim
	origins    map[string]string // file or URL -> name of the source that it is of
	pods       map[string]*Pod
	uids       map[string]string // namespace/name -> UID, of pods
	objects    map[string]*Object
	generation uint64
	problems   []podspec.Problem // of merging
}

type sourceState struct {
	name      string
	delivered bool // anything
	synced    bool
	last      Snapshot
}

// NewSet returns a set that is fed by the sources of these names. Where two want
// the same name, the one that had it first keeps it; of two that come at once,
// the first named.
func NewSet(sources ...string) *Set {
	s := &Set{
		changes: make(chan string, changesSize), holders: map[string]holder{}, origins: map[string]string{},
		pods: map[string]*Pod{}, uids: map[string]string{}, objects: map[string]*Object{},
	}
	for _, name := range sources {
		s.sources = append(s.sources, &sourceState{name: name})
	}
	return s
}

// Deliver replaces what a source wants. A name that NewSet was not told is
// added after the others.
func (s *Set) Deliver(name string, snap Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.sourceLocked(name)
	if st == nil {
		st = &sourceState{name: name}
		s.sources = append(s.sources, st)
	}
	if !snap.Complete {
		snap = snap.keeping(st.last)
	}
	synced, old, settled := st.synced, st.last, s.settledLocked()
	st.delivered, st.synced, st.last = true, synced || snap.Complete, snap
	s.noteLocked(st)
	s.releaseLocked(name, old, snap)
	s.mergeLocked()
	// What is in no source, and what came from a file that is whole again or
	// gone, can be told only now.
	if st.synced != synced || settled != s.settledLocked() {
		s.generation++
	}
	if st.synced != synced || !slices.Equal(old.Broken, snap.Broken) {
		s.wakeLocked("")
	}
}

func (s *Set) sourceLocked(name string) *sourceState {
	if i := slices.IndexFunc(s.sources, func(st *sourceState) bool { return st.name == name }); i >= 0 {
		return s.sources[i]
	}
	return nil
}

// syncedLocked is Synced for callers that hold the lock.
func (s *Set) syncedLocked() bool {
	return !slices.ContainsFunc(s.sources, func(st *sourceState) bool { return !st.synced })
}

func key(p *v1.Pod) string { return p.Namespace + "/" + p.Name }

// mergeLocked computes the desired set anew and wakes whom it concerns.
func (s *Set) mergeLocked() {
	next := s.assignLocked()
	pods, objects, uids := s.pods, s.objects, make(map[string]string, len(next.Pods))
	for uid, p := range next.Pods {
		uids[key(p.Pod)] = uid
	}
	s.pods, s.objects, s.uids = next.Pods, next.Objects, uids

	woken := map[string]bool{}
	for uid := range differing(pods, next.Pods) {
		woken[uid] = true
	}
	changed := differing(objects, next.Objects)
	if len(changed) > 0 {
		s.generation++
		for uid, p := range s.pods {
			if refers(p.Pod, changed) {
				woken[uid] = true
			}
		}
	}
	if len(changed) > 0 && !s.settledLocked() {
		s.wakeLocked("") // pods that are kept and in no source may refer to it
	}
	for _, uid := range sorted(woken) {
		s.wakeLocked(uid)
	}
}

// differing returns the keys whose values are not the same in both.
func differing[T any](a, b map[string]*T) map[string]bool {
	out := map[string]bool{}
	for k, v := range a {
		if !equal(v, b[k]) {
			out[k] = true
		}
	}
	for k := range b {
		if a[k] == nil {
			out[k] = true
		}
	}
	return out
}

func sorted(m map[string]bool) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// wakeLocked never blocks: the last free place in the channel is kept for "",
// which stands for every pod, so when the channel is full a "" is in it.
func (s *Set) wakeLocked(uid string) {
	if len(s.changes) >= changesSize-1 {
		uid = ""
	}
	select {
	case s.changes <- uid:
	default:
	}
}

// Changes returns a channel on which the UID of a pod appears after it came,
// went or was changed, or a ConfigMap or Secret that it names did, and "" after
// anything may have: look at all then. One reader; it may be slow. The channel is
// never closed.
func (s *Set) Changes() <-chan string { return s.changes }

// Get returns the pod of a UID if it is wanted.
func (s *Set) Get(uid string) (*Pod, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.pods[uid]
	return p, ok
}

// List returns all pods that are wanted, ordered by namespace, then name.
func (s *Set) List() []*Pod {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*Pod, 0, len(s.pods))
	for _, p := range s.pods {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *Pod) int { return strings.Compare(key(a.Pod), key(b.Pod)) })
	return out
}

// Object returns a ConfigMap, Secret or Service and where it stands.
func (s *Set) Object(kind, namespace, name string) (*Object, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.objects[ID(kind, namespace, name)]
	return o, ok
}

// ConfigMap returns a ConfigMap; it is not to be changed. That there is none
// means something only when Settled.
func (s *Set) ConfigMap(namespace, name string) (*v1.ConfigMap, bool) {
	o, ok := s.Object(podspec.KindConfigMap, namespace, name)
	if !ok {
		return nil, false
	}
	return o.ConfigMap, true
}

// Secret returns a Secret, its stringData in its data; it is not to be changed.
// That there is none means something only when Settled.
func (s *Set) Secret(namespace, name string) (*v1.Secret, bool) {
	o, ok := s.Object(podspec.KindSecret, namespace, name)
	if !ok {
		return nil, false
	}
	return o.Secret, true
}

// Services returns all Services, ordered by namespace, then name. They are not
// to be changed.
func (s *Set) Services() []*v1.Service {
	return listed(s, func(o *Object) *v1.Service { return o.Service })
}

// Generation counts the changes of ConfigMaps, Secrets and Services, and those of
// Synced and Settled: while it is the same, so are they, and so is what it means
// that one of them is not there.
func (s *Set) Generation() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.generation
}

// Synced tells whether every source has delivered a complete Snapshot once.
// Before that, the absence of a pod means nothing.
func (s *Set) Synced() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.syncedLocked()
}

// Settled tells whether all sources are synced and no file is broken, so that
// what is in none of them is known not to be wanted. While it is false, a
// ConfigMap that is not there may be in what cannot be read: a volume that was
// made of it stays as it is.
func (s *Set) Settled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settledLocked()
}

func (s *Set) settledLocked() bool {
	return !slices.ContainsFunc(s.sources, func(st *sourceState) bool { return !st.synced || len(st.last.Broken) > 0 })
}

// Problems returns what is wrong now, source by source.
func (s *Set) Problems() []podspec.Problem {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []podspec.Problem
	for _, st := range s.sources {
		out = append(out, st.last.Problems...)
	}
	return append(out, s.problems...)
}

// Broken tells whether what a file wants is not fully known now.
func (s *Set) Broken(file string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.brokenLocked(file)
}

func (s *Set) brokenLocked(file string) bool {
	return slices.ContainsFunc(s.sources, func(st *sourceState) bool { return slices.Contains(st.last.Broken, file) })
}

// Keep tells whether a pod that runs (or is on record) must not be stopped:
// it is wanted, or it cannot be told yet that it is not. origin is the file or
// URL that it came from; the source that this is of (see Hold) must have synced,
// or all of them if that is not known.
func (s *Set) Keep(uid, namespace, name, origin string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pods[uid] != nil {
		return true
	}
	if _, replaced := s.uids[namespace+"/"+name]; replaced {
		return false
	}
	if st := s.sourceLocked(s.origins[origin]); st != nil {
		return !st.synced || s.brokenLocked(origin)
	}
	return !s.syncedLocked()
}
