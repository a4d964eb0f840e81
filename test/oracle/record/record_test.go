//go:build goldens

package record

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/davit-agent/davit/test/node"
	"github.com/davit-agent/davit/test/oracle/actor/image"
	"github.com/davit-agent/davit/test/oracle/cluster"
	"github.com/davit-agent/davit/test/oracle/golden"
	"github.com/davit-agent/davit/test/oracle/scenario"
)

const (
	scenarios = "../scenarios"
	goldens   = "../goldens"
	// lanes is how many clusters play the scenarios that kill kubelet.
	lanes = 3
)

// TestGoldens records. RUN is an expression that names of scenarios match,
// RECORD_TWICE=1 records twice and compares, RECORD_RAW names a directory that
// takes what was seen before it is reduced and the clusters' logs.
func TestGoldens(t *testing.T) {
	if dir := os.Getenv("RECORD_RAW"); dir != "" {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	chosen := choose(t)
	archives := image.Archives(t, t.TempDir())
	start := func(t *testing.T) *cluster.Cluster {
		return cluster.Start(t, cluster.Options{Images: archives, KeepLogs: os.Getenv("RECORD_RAW")})
	}
	var calm []*scenario.Scenario
	harsh := make([][]*scenario.Scenario, lanes)
	n := 0
	for i := range chosen {
		if s := &chosen[i]; restarts(s) {
			harsh[n%lanes] = append(harsh[n%lanes], s)
			n++
		} else {
			calm = append(calm, s)
		}
	}
	if len(calm) > 0 {
		t.Run("calm", func(t *testing.T) {
			c := start(t)
			for _, s := range calm {
				t.Run(s.Name, func(t *testing.T) {
					t.Parallel()
					recordOne(t, c, s)
				})
			}
		})
	}
	t.Run("harsh", func(t *testing.T) {
		for i, lane := range harsh {
			if len(lane) == 0 {
				continue
			}
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				c := start(t)
				for _, s := range lane {
					t.Run(s.Name, func(t *testing.T) { recordOne(t, c, s) })
				}
			})
		}
	})
}

// load reads all scenarios. One that is wrong fails the test and does not keep
// the others from being recorded.
func load(t *testing.T) (all []scenario.Scenario, known map[string]bool) {
	files, err := filepath.Glob(filepath.Join(scenarios, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("looking for scenarios: %v, %v", files, err)
	}
	known = map[string]bool{}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".yaml")
		known[name] = true
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		s, err := scenario.Decode(name, data)
		if err != nil {
			t.Error(err)
			continue
		}
		all = append(all, s)
	}
	return all, known
}

// choose returns the scenarios to record. When these are all, goldens of which
// there is no scenario are removed.
func choose(t *testing.T) []scenario.Scenario {
	all, known := load(t)
	pattern := os.Getenv("RUN")
	if pattern == "" {
		files, err := filepath.Glob(filepath.Join(goldens, "*.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if name := strings.TrimSuffix(filepath.Base(f), ".yaml"); !known[name] {
				t.Logf("removing the golden %s: there is no such scenario", name)
				if err := os.Remove(f); err != nil {
					t.Fatal(err)
				}
			}
		}
		return all
	}
	form, err := regexp.Compile(pattern)
	if err != nil {
		t.Fatalf("reading RUN: %v", err)
	}
	var chosen []scenario.Scenario
	for _, s := range all {
		if form.MatchString(s.Name) {
			chosen = append(chosen, s)
		}
	}
	if len(chosen) == 0 {
		t.Fatalf("RUN=%s matches none of %d scenarios", pattern, len(all))
	}
	return chosen
}

// restarts tells whether kubelet is killed in a scenario.
func restarts(s *scenario.Scenario) bool {
	for _, a := range s.Script {
		if a.Restart != "" {
			return true
		}
	}
	return false
}

// recordOne records a scenario and writes its golden.
func recordOne(t *testing.T, c *cluster.Cluster, s *scenario.Scenario) {
	got := reduce(t, c, s)
	if os.Getenv("RECORD_TWICE") != "" {
		again := reduce(t, c, s)
		for _, d := range golden.Compare(got, again, skip(s.Differs)) {
			t.Errorf("two recordings of %s differ: %s", s.Name, d)
		}
		// davit is not compared with these.
		for _, d := range golden.CompareEvents(got, again) {
			t.Logf("two recordings of %s differ in events: %s", s.Name, d)
		}
	}
	if err := store(t, s.Name, got); err != nil {
		t.Error(err)
	}
}

// skip returns differences on purpose as those of which nothing is compared:
// kubelet's own part in them may be chance.
func skip(differs []scenario.Difference) []scenario.Difference {
	out := slices.Clone(differs)
	for i := range out {
		out[i].Davit = nil
	}
	return out
}

// reduce plays a scenario and reduces what was seen.
func reduce(t *testing.T, c *cluster.Cluster, s *scenario.Scenario) *golden.Golden {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), s.Until.Limit.Duration+2*time.Minute)
	defer cancel()
	rec, err := play(ctx, c, s)
	keepRaw(t, s.Name, rec)
	if err != nil {
		t.Fatalf("playing %s: %v\nlast seen: %s", s.Name, err, brief(rec))
	}
	return golden.Reduce(s.About, rec)
}

// brief says in a line how the pod was at last.
func brief(rec golden.Recording) string {
	for i := len(rec.Observations) - 1; i >= 0; i-- {
		if pod := rec.Observations[i].Pod; pod != nil {
			return node.Brief(pod)
		}
	}
	return "nothing"
}

// differences are all in which two goldens differ, events among it.
func differences(a, b *golden.Golden) []golden.Difference {
	return append(golden.Compare(a, b, nil), golden.CompareEvents(a, b)...)
}

// store writes a golden unless what is stored says the same.
func store(t *testing.T, name string, g *golden.Golden) error {
	file := filepath.Join(goldens, name+".yaml")
	data, err := g.Marshal()
	if err != nil {
		return err
	}
	old, err := os.ReadFile(file)
	if err == nil && bytes.Equal(old, data) {
		return nil
	}
	if err == nil {
		if was, err := golden.Unmarshal(old); err == nil {
			changed := differences(was, g)
			if len(changed) == 0 && was.About == g.About {
				t.Logf("%s is as it was, but for chance", name)
				return nil
			}
			for _, d := range changed {
				t.Logf("%s has changed: %s", name, d)
			}
		}
	}
	if err := os.WriteFile(file+".new", data, 0o644); err != nil {
		return fmt.Errorf("writing golden %s: %w", name, err)
	}
	return os.Rename(file+".new", file)
}

// keepRaw writes what was seen of a scenario into RECORD_RAW.
func keepRaw(t *testing.T, name string, rec golden.Recording) {
	dir := os.Getenv("RECORD_RAW")
	if dir == "" {
		return
	}
	data, err := json.MarshalIndent(rec, "", " ")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".json"), data, 0o644)
	}
	if err != nil {
		t.Errorf("keeping what was seen: %v", err)
	}
}
