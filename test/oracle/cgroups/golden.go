package cgroups

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"

	"sigs.k8s.io/yaml"
)

// Variant is a configuration under which values are compared. Its keys have the
// same names and meanings in kubelet's configuration and in davit's.
type Variant struct {
	Name   string
	Config map[string]any
}

// Variants are those that are recorded; the first is nobody's choice.
var Variants = []Variant{
	{Name: "default"},
	{Name: "configured", Config: map[string]any{
		"kubeReserved":   map[string]string{"cpu": "150m", "memory": "200Mi", "pid": "1000"},
		"systemReserved": map[string]string{"cpu": "50m", "memory": "56Mi", "pid": "234"},
		"podPidsLimit":   333,
	}},
}

// Golden is what kubelet set: variant -> values, normalised.
type Golden map[string]Values

// Load reads a golden; none is an empty one.
func Load(file string) (Golden, error) {
	g := Golden{}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return g, nil
	}
	if err != nil {
		return nil, err
	}
	if err := yaml.UnmarshalStrict(data, &g); err != nil {
		return nil, fmt.Errorf("decoding %s: %w", filepath.Base(file), err)
	}
	return g, nil
}

// Save writes a golden.
func (g Golden) Save(file string) error {
	data, err := yaml.Marshal(g)
	if err != nil {
		return err
	}
	return os.WriteFile(file, append([]byte("# Recorded from a real kubelet by make goldens; not to be edited.\n"), data...), 0o644)
}

// Difference is one that is on purpose. Cgroup and File are patterns of
// path.Match.
type Difference struct {
	Cgroup, File   string
	Kubelet, Davit string // values; "-" is none
	Why            string
}

// OnPurpose are all differences that are on purpose.
var OnPurpose = []Difference{
	{"kubepods", "cpuset.cpus", "CPUS", "", "v2: empty means all CPUs, also those that come later; kubelet writes those that it finds when it starts"},
}

// Compare returns the differences between what kubelet set and what davit set
// that are not on purpose, a line for each.
func Compare(kubelet, davit Values) []string {
	var out []string
	for _, cgroup := range keys(kubelet, davit) {
		for _, file := range keys(kubelet[cgroup], davit[cgroup]) {
			want, got := orNone(kubelet[cgroup], file), orNone(davit[cgroup], file)
			if want != got && !onPurpose(cgroup, file, want, got) {
				out = append(out, fmt.Sprintf("%s of %s: kubelet %q, davit %q", file, cgroup, want, got))
			}
		}
	}
	return out
}

func onPurpose(cgroup, file, want, got string) bool {
	return slices.ContainsFunc(OnPurpose, func(d Difference) bool {
		inCgroup, _ := path.Match(d.Cgroup, cgroup)
		ofFile, _ := path.Match(d.File, file)
		return inCgroup && ofFile && d.Kubelet == want && d.Davit == got
	})
}

func orNone(values map[string]string, file string) string {
	if v, ok := values[file]; ok {
		return v
	}
	return "-"
}

// keys returns the keys of both maps, in order.
func keys[V any](a, b map[string]V) []string {
	all := map[string]bool{}
	for _, m := range []map[string]V{a, b} {
		for k := range m {
			all[k] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}
