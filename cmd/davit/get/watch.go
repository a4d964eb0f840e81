package get

import (
	"context"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/watch"
)

// pollEvery is how often kinds are asked for that the daemon has no watch for.
const pollEvery = time.Second

// shown remembers what was printed, so that a line is printed when it says
// something new.
type shown struct {
	view view
	kind *Kind
	keys map[string]string // UID or name -> key
}

func idOf(e entry) string {
	if uid := string(e.meta.GetUID()); uid != "" {
		return uid
	}
	return e.meta.GetNamespace() + "/" + e.meta.GetName()
}

func (s *shown) remember(e entry) { s.keys[idOf(e)] = s.view.key(s.kind, e) }

func (s *shown) change(e entry) error {
	if s.keys[idOf(e)] == s.view.key(s.kind, e) {
		return nil
	}
	s.remember(e)
	return s.view.change(s.kind, e)
}

func (s *shown) gone(e entry) error {
	delete(s.keys, idOf(e))
	return s.view.change(s.kind, e)
}

// follow shows what changes, beginning with what was shown.
func (o *Get) follow(ctx context.Context, view view, t Target, before []entry) error {
	s := &shown{view: view, kind: t.Kind, keys: map[string]string{}}
	named := map[string]bool{}
	for _, e := range before {
		s.remember(e)
		named[e.meta.GetName()] = true
	}
	if t.Kind.Name != "pods" {
		return o.poll(ctx, s, t, before)
	}
	return o.Client.Watch(ctx, o.Namespace, func(typ watch.EventType, p *v1.Pod) error {
		e := podEntry(p)
		switch {
		case len(t.Names) > 0 && !named[p.Name], !o.labels.Matches(labels.Set(p.Labels)):
			return nil
		case typ == watch.Deleted:
			return s.gone(e)
		}
		return s.change(e)
	})
}

// poll asks again and again.
func (o *Get) poll(ctx context.Context, s *shown, t Target, before []entry) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		all, err := t.Kind.list(ctx, o.Client, o.Namespace)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		there := map[string]bool{}
		var now []entry
		for _, e := range all {
			if !o.wants(t, e) {
				continue
			}
			there[idOf(e)] = true
			now = append(now, e)
			if err := s.change(e); err != nil {
				return err
			}
		}
		for _, e := range before {
			if !there[idOf(e)] {
				if err := s.gone(e); err != nil {
					return err
				}
			}
		}
		before = now
	}
}

// wants tells whether an entry is one of those asked for.
func (o *Get) wants(t Target, e entry) bool {
	if len(t.Names) == 0 {
		return o.labels.Matches(labels.Set(e.meta.GetLabels()))
	}
	for _, name := range t.Names {
		if name == e.meta.GetName() {
			return true
		}
	}
	return false
}
