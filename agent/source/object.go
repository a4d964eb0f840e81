package source

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/podspec"
)

// Pod is a pod that is wanted: decoded, defaults filled in, valid and supported.
type Pod struct {
	Pod    *v1.Pod // not to be changed by readers
	Origin string  // the file or URL it stands in; "" if it is from none
	Line   int     // 1-based, where it begins there
}

// Object is a ConfigMap, Secret or Service that is wanted: decoded, defaults
// filled in and valid. One of the three is set.
type Object struct {
	ConfigMap *v1.ConfigMap // not to be changed by readers, any of the three
	Secret    *v1.Secret
	Service   *v1.Service
	Origin    string // the file or URL it stands in; "" if it is from none
	Line      int    // 1-based, where it begins there
}

// ID returns the key of a ConfigMap, Secret or Service in Snapshot.Objects.
func ID(kind, namespace, name string) string { return kind + "/" + namespace + "/" + name }

// item is a Pod or an Object.
type item interface {
	id() string                       // kind/namespace/name
	uid() string                      // of a pod
	where() (origin string, line int) // it stands
}

func (p *Pod) id() string           { return ID(podspec.KindPod, p.Pod.Namespace, p.Pod.Name) }
func (p *Pod) uid() string          { return string(p.Pod.UID) }
func (p *Pod) where() (string, int) { return p.Origin, p.Line }

func (o *Object) id() string {
	switch {
	case o.ConfigMap != nil:
		return ID(podspec.KindConfigMap, o.ConfigMap.Namespace, o.ConfigMap.Name)
	case o.Secret != nil:
		return ID(podspec.KindSecret, o.Secret.Namespace, o.Secret.Name)
	}
	return ID(podspec.KindService, o.Service.Namespace, o.Service.Name)
}
func (o *Object) uid() string          { return "" }
func (o *Object) where() (string, int) { return o.Origin, o.Line }

// Snapshot is all that one source wants at one time.
type Snapshot struct {
	Pods     map[string]*Pod    // by UID
	Objects  map[string]*Object // by ID
	Problems []podspec.Problem
	Broken   []string // files that could not be read whole: what they want is not fully known
	Complete bool     // false: what is not in Pods and Objects is not known to be unwanted
}

// add puts an item in and returns the one that has its place.
func (s *Snapshot) add(it item) (other item) {
	switch it := it.(type) {
	case *Pod:
		if has := s.Pods[it.uid()]; has != nil {
			return has
		}
		s.Pods[it.uid()] = it
	case *Object:
		if has := s.Objects[it.id()]; has != nil {
			return has
		}
		s.Objects[it.id()] = it
	}
	return nil
}

// items returns all that is wanted, ordered by id.
func (s *Snapshot) items() []item {
	out := make([]item, 0, len(s.Pods)+len(s.Objects))
	for _, p := range s.Pods {
		out = append(out, p)
	}
	for _, o := range s.Objects {
		out = append(out, o)
	}
	slices.SortFunc(out, func(a, b item) int { return strings.Compare(a.id(), b.id()) })
	return out
}

// keeping returns the snapshot with what before had and it lacks, by UID and
// name.
func (s Snapshot) keeping(before Snapshot) Snapshot {
	out := s
	out.Pods, out.Objects = maps.Clone(s.Pods), maps.Clone(s.Objects)
	if out.Pods == nil {
		out.Pods = map[string]*Pod{}
	}
	if out.Objects == nil {
		out.Objects = map[string]*Object{}
	}
	ids := map[string]bool{}
	for _, it := range s.items() {
		ids[it.id()] = true
	}
	for _, it := range before.items() {
		if !ids[it.id()] {
			out.add(it)
		}
	}
	return out
}

// taken is the problem of a, whose name or UID b has.
func taken(a, b item) podspec.Problem {
	kind, name, _ := strings.Cut(a.id(), "/")
	if kind == podspec.KindPod {
		kind = "pod"
	}
	what, field := "the name of "+kind+" "+name, "metadata.name"
	if a.id() != b.id() {
		what, field = "the UID of "+kind+" "+name+", "+a.uid()+",", "metadata.uid"
	}
	origin, line := a.where()
	otherOrigin, otherLine := b.where()
	return podspec.Problem{File: origin, Line: line, Object: a.id(), Field: field, Message: fmt.Sprintf(
		"%s is taken by %s:%d, which was there first: change or remove one of them", what, otherOrigin, otherLine)}
}

// names decides within one source who gets a name that several claim.
type names struct {
	holders map[string]string // id -> origin of the one that has it
}

// merge makes one set of items that are in the order of their age. unreadable
// tells whether what an origin wants cannot be told now; complete, whether the
// items are all there are.
func (n *names) merge(items []item, unreadable func(origin string) bool, complete bool) Snapshot {
	snap := Snapshot{Pods: map[string]*Pod{}, Objects: map[string]*Object{}, Complete: complete}
	claims := map[string][]item{}
	var order []string
	for _, it := range items {
		id := it.id()
		if claims[id] == nil {
			order = append(order, id)
		}
		claims[id] = append(claims[id], it)
	}
	for _, id := range order {
		winner := n.winner(claims[id], unreadable)
		for _, it := range claims[id] {
			if winner == nil {
				snap.Problems = append(snap.Problems, n.withheld(it))
			} else if it != winner {
				snap.Problems = append(snap.Problems, taken(it, winner))
			}
		}
		if winner == nil {
			continue
		}
		if other := snap.add(winner); other != nil {
			snap.Problems = append(snap.Problems, taken(winner, other))
			continue
		}
		n.holders[id], _ = winner.where()
	}
	// A name that nobody claims any more is free, unless its file cannot be read.
	maps.DeleteFunc(n.holders, func(id, origin string) bool { return complete && claims[id] == nil && !unreadable(origin) })
	return snap
}

// winner returns which of those that claim a name gets it: the one whose origin
// holds it, else the first. nil: it is held by what cannot be read.
func (n *names) winner(claims []item, unreadable func(origin string) bool) item {
	holder := n.holders[claims[0].id()]
	for _, it := range claims {
		if origin, _ := it.where(); origin == holder {
			return it
		}
	}
	if holder != "" && unreadable(holder) {
		return nil
	}
	return claims[0]
}

func (n *names) withheld(it item) podspec.Problem {
	origin, line := it.where()
	kind, _, _ := strings.Cut(it.id(), "/")
	return podspec.Problem{File: origin, Line: line, Object: it.id(), Field: "metadata.name", Message: fmt.Sprintf(
		"the name is that of a %s from %s, which cannot be read now: repair or remove that file", strings.ToLower(kind[:1])+kind[1:], n.holders[it.id()])}
}
