package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/davit-agent/davit/test/oracle/golden"
	"github.com/davit-agent/davit/test/oracle/scenario"
)

// width is how many scenarios are played at a time.
const width = 20

// static are the differences that all pods from manifests have.
var static = []scenario.Difference{
	{Facet: "final *bservedGeneration", Reason: "a pod from a file has no generation"},
}

// Pods behave as on kubelet: what davit shows of the scenarios that are marked
// real is what the real kubelet was recorded to show.
func TestGoldens(t *testing.T) {
	playGoldens(t, chosen(t, func(s *scenario.Scenario) bool { return s.Real }), 0)
}

// chosen returns the scenarios that can be played here and are wanted. RUN is
// the name of one to play alone, or a pattern of names.
func chosen(t *testing.T, want func(*scenario.Scenario) bool) []scenario.Scenario {
	t.Helper()
	all, err := scenario.Load(os.DirFS("../oracle/scenarios"))
	if err != nil {
		t.Fatal(err)
	}
	only := os.Getenv("RUN")
	return slices.DeleteFunc(all, func(s scenario.Scenario) bool {
		if only != "" {
			ok, err := filepath.Match(only, s.Name)
			return err != nil || !ok || !playable(&s)
		}
		return !playable(&s) || !want(&s)
	})
}

// playGoldens plays scenarios and compares them with their goldens. Those that
// kill davit themselves have a node of their own, for the others' sake.
func playGoldens(t *testing.T, all []scenario.Scenario, every time.Duration) {
	if len(all) == 0 {
		t.Fatal("there is no scenario to play")
	}
	var calm, harsh []scenario.Scenario
	for _, s := range all {
		if slices.ContainsFunc(s.Script, func(a scenario.Action) bool { return a.Restart != "" }) {
			harsh = append(harsh, s)
		} else {
			calm = append(calm, s)
		}
	}
	for name, some := range map[string][]scenario.Scenario{"calm": calm, "harsh": harsh} {
		if len(some) == 0 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newStage(t)
			g.load(t)
			results := g.run(t, some, width, every)
			for i := range some {
				t.Run(some[i].Name, func(t *testing.T) { compareGolden(t, &some[i], results[some[i].Name]) })
			}
			noLeaks(t, g.n)
		})
	}
}

// compareGolden holds what was seen against the golden of a scenario.
func compareGolden(t *testing.T, s *scenario.Scenario, got played) {
	if got.err != nil {
		t.Errorf("playing: %v\nseen:\n%s", got.err, told(got))
		return
	}
	data, err := os.ReadFile(filepath.Join("../oracle/goldens", s.Name+".yaml"))
	if errors.Is(err, os.ErrNotExist) {
		t.Fatalf("there is no golden of this scenario: record it with make goldens")
	}
	if err != nil {
		t.Fatal(err)
	}
	want, err := golden.Unmarshal(data)
	if err != nil {
		t.Fatal(err)
	}
	found := golden.Compare(want, golden.Reduce(s.About, got.rec), slices.Concat(s.Differs, static))
	for _, d := range found {
		t.Errorf("%v", d)
	}
	if len(found) > 0 {
		t.Logf("seen:\n%s", told(got))
	}
}
