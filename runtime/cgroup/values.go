package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/davit-agent/davit/runtime/cgroup/qos"
)

// setting is one control file and its value.
type setting struct {
	file, value string
	optional    bool // missing on kernels that lack the feature
}

// set writes what r asks for into the cgroup at p.
func (t *Tree) set(p string, r qos.Resources) error {
	all := settingsV1(r)
	if t.v2 {
		all = settingsV2(r)
	}
	for _, s := range all {
		if err := t.writeSetting(p, s); err != nil {
			return fmt.Errorf("setting %s of cgroup %s: %w", s.file, p, err)
		}
	}
	return nil
}

// writeSetting writes s where its controller is.
func (t *Tree) writeSetting(p string, s setting) error {
	controller, _, _ := strings.Cut(s.file, ".")
	for _, h := range t.hierarchies {
		if !t.v2 && !slices.Contains(strings.Split(h.name, ","), controller) {
			continue
		}
		err := write(filepath.Join(h.dir, p), s.file, s.value)
		switch {
		case s.optional && errors.Is(err, fs.ErrNotExist):
			return nil
		case t.v2 && errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("%w: controller %s does not reach %s; enable it in cgroup.subtree_control of every cgroup above (systemd: Delegate=yes)", err, controller, t.root)
		}
		return err
	}
	if s.optional {
		return nil
	}
	return fmt.Errorf("controller %s is not mounted", controller)
}

// settingsV1 lists cgroup v1's files. The quota is written after its period, as
// the kernel checks the pair against the parent's at each write.
func settingsV1(r qos.Resources) []setting {
	s := []setting{{file: "cpu.shares", value: strconv.FormatUint(r.Shares, 10)}}
	if r.Quota > 0 {
		s = append(s,
			setting{file: "cpu.cfs_period_us", value: strconv.Itoa(qos.Period)},
			setting{file: "cpu.cfs_quota_us", value: strconv.FormatInt(r.Quota, 10)})
	}
	if r.Memory > 0 {
		s = append(s, setting{file: "memory.limit_in_bytes", value: strconv.FormatInt(r.Memory, 10)})
	}
	return append(s, hugetlb(r, "limit_in_bytes")...)
}

func settingsV2(r qos.Resources) []setting {
	s := []setting{{file: "cpu.weight", value: strconv.FormatUint(qos.Weight(r.Shares), 10)}}
	if r.Quota > 0 {
		s = append(s, setting{file: "cpu.max", value: fmt.Sprintf("%d %d", r.Quota, qos.Period)})
	}
	if r.Memory > 0 {
		s = append(s, setting{file: "memory.max", value: strconv.FormatInt(r.Memory, 10)})
	}
	return append(s, hugetlb(r, "max")...)
}

// hugetlb limits the sizes that the pod asks for. Without the controller there
// is nothing that could enforce the limit, and the pages are still there: as
// kubelet does, that is not an error here.
func hugetlb(r qos.Resources, suffix string) []setting {
	var s []setting
	for size, bytes := range r.Hugepage {
		s = append(s, setting{file: "hugetlb." + size + "." + suffix, value: strconv.FormatInt(bytes, 10), optional: true})
	}
	slices.SortFunc(s, func(a, b setting) int { return strings.Compare(a.file, b.file) })
	return s
}
