package source

import (
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// ConfigMaps returns all ConfigMaps, ordered by namespace, then name. They are
// not to be changed.
func (s *Set) ConfigMaps() []*v1.ConfigMap {
	return listed(s, func(o *Object) *v1.ConfigMap { return o.ConfigMap })
}

// Secrets returns all Secrets likewise.
func (s *Set) Secrets() []*v1.Secret {
	return listed(s, func(o *Object) *v1.Secret { return o.Secret })
}

// listed returns what pick finds in the objects, ordered by their keys.
func listed[T any](s *Set, pick func(*Object) *T) []*T {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []string
	for k, o := range s.objects {
		if pick(o) != nil {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, strings.Compare)
	out := make([]*T, 0, len(keys))
	for _, k := range keys {
		out = append(out, pick(s.objects[k]))
	}
	return out
}
