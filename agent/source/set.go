package source

import (
	"reflect"
	"slices"
	"strings"
	"sync"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/podspec"
)

// Pod is a pod that is wanted: decoded, defaults filled in, valid and supported.
type Pod struct {
	Pod    *v1.Pod // not to be changed by readers
	Origin string  // the file it stands in; "" if it is from none
	Line   int     // 1-based, where it begins there
}

// Snapshot is all that one source wants at one time.
type Snapshot struct {
	Pods     map[string]*Pod // by UID
	Problems []podspec.Problem
	Broken   []string // files that could not be read whole: what they want is not fully known
	Complete bool     // false: pods that are not in Pods are not known to be unwanted
}

// changesSize is the number of wakes that may wait.
const changesSize = 256

// Set is the desired set: what all sources want together. Its methods may be
// called from any goroutine.
type Set struct {
	changes chan string

	mu       sync.Mutex
	sources  []*sourceState
	pods     map[string]*Pod
	names    map[string]string // namespace/name -> UID, of pods
	problems []podspec.Problem // of merging
}

type sourceState struct {
	name   string
	synced bool
	last   Snapshot
}

// NewSet returns a set that is fed by the sources of these names; where two want
// the same pod, the first named wins.
func NewSet(sources ...string) *Set {
	s := &Set{changes: make(chan string, changesSize), pods: map[string]*Pod{}, names: map[string]string{}}
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
	i := slices.IndexFunc(s.sources, func(st *sourceState) bool { return st.name == name })
	if i < 0 {
		i = len(s.sources)
		s.sources = append(s.sources, &sourceState{name: name})
	}
	st := s.sources[i]
	if !snap.Complete {
		snap.Pods = withKept(snap.Pods, st.last.Pods)
	}
	before, broken := s.syncedLocked(), st.last.Broken
	st.synced = st.synced || snap.Complete
	st.last = snap
	s.mergeLocked()
	// What is in no source, and what came from a file that is whole again or
	// gone, can be told only now.
	if !before && s.syncedLocked() || !slices.Equal(broken, snap.Broken) {
		s.wakeLocked("")
	}
}

// syncedLocked is Synced for callers that hold the lock.
func (s *Set) syncedLocked() bool {
	return !slices.ContainsFunc(s.sources, func(st *sourceState) bool { return !st.synced })
}

// withKept returns now and those of before whose UID and name it lacks.
func withKept(now, before map[string]*Pod) map[string]*Pod {
	out := make(map[string]*Pod, len(now))
	names := map[string]bool{}
	for uid, p := range now {
		out[uid] = p
		names[key(p.Pod)] = true
	}
	for uid, p := range before {
		if _, has := out[uid]; !has && !names[key(p.Pod)] {
			out[uid] = p
		}
	}
	return out
}

func key(p *v1.Pod) string { return p.Namespace + "/" + p.Name }

// mergeLocked computes the desired set anew and wakes whom it concerns.
func (s *Set) mergeLocked() {
	pods, names := map[string]*Pod{}, map[string]string{}
	s.problems = nil
	for _, st := range s.sources {
		for _, uid := range sortedUIDs(st.last.Pods) {
			p := st.last.Pods[uid]
			other := pods[uid]
			if other == nil {
				other = pods[names[key(p.Pod)]]
			}
			if other != nil {
				s.problems = append(s.problems, duplicate(p, other))
				continue
			}
			pods[uid], names[key(p.Pod)] = p, uid
		}
	}
	old := s.pods
	s.pods, s.names = pods, names
	for _, uid := range sortedUIDs(pods) {
		if o := old[uid]; o == nil || (o != pods[uid] && !reflect.DeepEqual(o, pods[uid])) {
			s.wakeLocked(uid)
		}
	}
	for _, uid := range sortedUIDs(old) {
		if pods[uid] == nil {
			s.wakeLocked(uid)
		}
	}
}

func sortedUIDs(pods map[string]*Pod) []string {
	out := make([]string, 0, len(pods))
	for uid := range pods {
		out = append(out, uid)
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
// went or was changed, and "" after anything may have: look at all then. One
// reader; it may be slow. The channel is never closed.
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

// Synced tells whether every source has delivered a complete Snapshot once.
// Before that, the absence of a pod means nothing.
func (s *Set) Synced() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.syncedLocked()
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
// it is wanted, or it cannot be told yet that it is not. origin is the file that
// it came from.
func (s *Set) Keep(uid, namespace, name, origin string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pods[uid] != nil {
		return true
	}
	if _, replaced := s.names[namespace+"/"+name]; replaced {
		return false
	}
	return !s.syncedLocked() || s.brokenLocked(origin)
}
