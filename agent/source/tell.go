package source

import (
	"log/slog"
	"reflect"
	"slices"

	"github.com/davit-agent/davit/agent/podspec"
)

// same tells whether two snapshots say the same.
func same(a, b Snapshot) bool {
	return a.Complete == b.Complete && slices.Equal(a.Broken, b.Broken) && slices.Equal(a.Problems, b.Problems) &&
		sameMap(a.Pods, b.Pods) && sameMap(a.Objects, b.Objects)
}

func sameMap[T any](a, b map[string]*T) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if !equal(v, b[k]) {
			return false
		}
	}
	return true
}

// equal compares what pointers stand for.
func equal[T any](a, b *T) bool { return a == b || a != nil && b != nil && reflect.DeepEqual(a, b) }

// teller keeps problems in the log.
type teller struct {
	log  *slog.Logger
	told map[string]bool // by their text
}

// tell logs each problem once, and once more when it is back after it was gone.
func (t *teller) tell(problems []podspec.Problem) {
	now := make(map[string]bool, len(problems))
	for _, p := range problems {
		text := p.String()
		now[text] = true
		if !t.told[text] {
			t.log.Warn("manifest problem", "file", p.File, "line", p.Line, "object", p.Object, "field", p.Field, "problem", p.Message)
		}
	}
	if len(t.told) > 0 && len(now) == 0 {
		t.log.Info("manifest problems are solved")
	}
	t.told = now
}
