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

// set writes what r asks for into the cgroup at p. What fails keeps nothing else
// from being set: the kernel refuses a memory limit below what is in use.
func (t *Tree) set(p string, r qos.Resources) error {
	all, suffix := settingsV1(r), "limit_in_bytes"
	if t.v2 {
		all, suffix = settingsV2(r), "max"
	}
	if r.Pids > 0 {
		all = append(all, setting{file: "pids.max", value: strconv.FormatInt(r.Pids, 10)})
	}
	all = append(all, hugetlb(r, t.hugepageSizes(p, suffix), suffix)...)
	var errs []error
	for _, s := range all {
		if err := t.writeSetting(p, s); err != nil {
			errs = append(errs, fmt.Errorf("setting %s of cgroup %s: %w", s.file, p, err))
		}
	}
	return errors.Join(errs...)
}

// writeSetting writes s where its controller is.
func (t *Tree) writeSetting(p string, s setting) error {
	controller, _, _ := strings.Cut(s.file, ".")
	dir := t.with(controller)
	if dir == "" && s.optional {
		return nil
	}
	if dir == "" {
		return fmt.Errorf("controller %s is not mounted", controller)
	}
	err := write(filepath.Join(dir, p), s.file, s.value)
	switch {
	case s.optional && errors.Is(err, fs.ErrNotExist):
		return nil
	case t.v2 && errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: controller %s does not reach %s; enable it in cgroup.subtree_control of every cgroup above (systemd: Delegate=yes)", err, controller, t.root)
	}
	return err
}

// with returns the hierarchy that may have a controller, on v2 the only one; ""
// if there is none.
func (t *Tree) with(controller string) string {
	for _, h := range t.hierarchies {
		if t.v2 || slices.Contains(strings.Split(h.name, ","), controller) {
			return h.dir
		}
	}
	return ""
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
	return s
}

func settingsV2(r qos.Resources) []setting {
	s := []setting{{file: "cpu.weight", value: strconv.FormatUint(qos.Weight(r.Shares), 10)}}
	if r.Quota > 0 {
		s = append(s, setting{file: "cpu.max", value: fmt.Sprintf("%d %d", r.Quota, qos.Period)})
	}
	if r.Memory > 0 {
		s = append(s, setting{file: "memory.max", value: strconv.FormatInt(r.Memory, 10)})
	}
	return s
}

// hugepageSizes returns the sizes of huge pages that can be limited in the
// cgroup at p, by the files that the kernel has put there.
func (t *Tree) hugepageSizes(p, suffix string) []string {
	dir := t.with("hugetlb")
	if dir == "" {
		return nil
	}
	var sizes []string
	files, _ := filepath.Glob(filepath.Join(dir, p, "hugetlb.*."+suffix))
	for _, file := range files {
		size := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "hugetlb."), "."+suffix)
		if !strings.Contains(size, ".") { // not 2MB.rsvd
			sizes = append(sizes, size)
		}
	}
	return sizes
}

// hugetlb limits every size that the node has, pages in use and reserved ones
// alike. Where the controller is not there nothing could enforce a limit; as to
// kubelet, that is no error.
func hugetlb(r qos.Resources, sizes []string, suffix string) []setting {
	var s []setting
	for _, size := range sizes {
		bytes, ok := r.Hugepage[size]
		if !ok {
			bytes = r.OtherHugepages
		}
		value := strconv.FormatInt(bytes, 10)
		s = append(s,
			setting{file: "hugetlb." + size + "." + suffix, value: value, optional: true},
			setting{file: "hugetlb." + size + ".rsvd." + suffix, value: value, optional: true})
	}
	return s
}
