package source

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/davit-agent/davit/agent/podspec"
)

// holder is who has a name.
type holder struct {
	source string
	origin string // "" if it is not known
}

// Hold tells before anything is delivered that a pod of this namespace and name
// runs from a source: that source keeps the name if another claims it too. origin
// is the file or URL that the pod came from.
func (s *Set) Hold(source, namespace, name, origin string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holders[ID(podspec.KindPod, namespace, name)] = holder{source, origin}
	s.origins[origin] = source
}

// noteLocked notes which origins are a source's.
func (s *Set) noteLocked(st *sourceState) {
	for _, it := range st.last.items() {
		origin, _ := it.where()
		s.origins[origin] = st.name
	}
	for _, origin := range st.last.Broken {
		s.origins[origin] = st.name
	}
}

// releaseLocked frees the names that a source gave up between two snapshots.
func (s *Set) releaseLocked(source string, old, now Snapshot) {
	has := map[string]bool{}
	for _, it := range now.items() {
		has[it.id()] = true
	}
	for _, it := range old.items() {
		if id := it.id(); !has[id] && s.holders[id].source == source {
			delete(s.holders, id)
		}
	}
	// What a source was said to have (Hold) and does not.
	maps.DeleteFunc(s.holders, func(id string, h holder) bool {
		st := s.sourceLocked(h.source)
		return st == nil || (h.source == source && !has[id] && st.synced && len(st.last.Broken) == 0)
	})
}

// claim is an item and the source that wants it.
type claim struct {
	source *sourceState
	item   item
}

// assignLocked gives each name to one source. The Problems that it finds are in
// s.problems.
func (s *Set) assignLocked() Snapshot {
	next := Snapshot{Pods: map[string]*Pod{}, Objects: map[string]*Object{}}
	claims := map[string][]claim{}
	var order []string
	for _, st := range s.sources {
		for _, it := range st.last.items() {
			id := it.id()
			if claims[id] == nil {
				order = append(order, id)
			}
			claims[id] = append(claims[id], claim{st, it})
		}
	}
	// Who has a UID keeps it.
	slices.SortStableFunc(order, func(a, b string) int { return cmp.Compare(s.newcomerLocked(claims[a]), s.newcomerLocked(claims[b])) })
	// Until each source has said something, who is first is chance.
	settled := !slices.ContainsFunc(s.sources, func(st *sourceState) bool { return !st.delivered })
	s.problems = nil
	for _, id := range order {
		winner := s.winnerLocked(claims[id])
		if winner == nil {
			s.problems = append(s.problems, s.heldLocked(claims[id][0].item))
			continue
		}
		for _, c := range claims[id] {
			if c.item != winner.item {
				s.problems = append(s.problems, taken(c.item, winner.item))
			}
		}
		if other := next.add(winner.item); other != nil {
			s.problems = append(s.problems, taken(winner.item, other))
			continue
		}
		if _, held := s.holders[id]; held || settled {
			origin, _ := winner.item.where()
			s.holders[id] = holder{winner.source.name, origin}
		}
	}
	return next
}

// newcomerLocked returns 0 if one of these has its UID already, else 1.
func (s *Set) newcomerLocked(claims []claim) int {
	for _, c := range claims {
		if p := s.pods[c.item.uid()]; p != nil && p.id() == c.item.id() {
			return 0
		}
	}
	return 1
}

// winnerLocked returns who of those that claim a name gets it; nil: it belongs
// to a source of which it is not known whether it still wants it.
func (s *Set) winnerLocked(claims []claim) *claim {
	h, held := s.holders[claims[0].item.id()]
	if !held {
		return &claims[0]
	}
	for i, c := range claims {
		if c.source.name == h.source {
			return &claims[i]
		}
	}
	return nil
}

// heldLocked is the problem of an item whose name is held by a source that
// cannot be asked.
func (s *Set) heldLocked(it item) podspec.Problem {
	origin, line := it.where()
	return podspec.Problem{File: origin, Line: line, Object: it.id(), Field: "metadata.name", Message: fmt.Sprintf(
		"the name is that of a pod from %s, which cannot be read now: repair or remove that one, or choose another name", s.holders[it.id()].origin)}
}
