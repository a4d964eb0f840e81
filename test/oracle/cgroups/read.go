package cgroups

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/runtime/cgroup"
	"github.com/davit-agent/davit/runtime/cgroup/qos"
)

const mount = "/sys/fs/cgroup"

// Values are the contents of control files: cgroup -> file -> content. Cgroups
// are called kubepods, kubepods/burstable, burstable/<pod> (guaranteed pods:
// guaranteed/<pod>) and burstable/<pod>/<container>.
type Values map[string]map[string]string

// Node is what of a machine values depend on.
type Node struct {
	V2        bool             `json:"v2"`
	Memory    int64            `json:"memory"` // bytes
	PIDs      int64            `json:"pids"`
	MilliCPU  int64            `json:"milliCPU"`
	CPUs      string           `json:"cpus"`      // as cpuset.cpus has all of them
	Hugepages map[string]int64 `json:"hugepages"` // "2MB" -> bytes; none without a controller
}

// ReadNode reads this machine.
func ReadNode() (Node, error) {
	c, err := cgroup.ReadCapacity()
	if err != nil {
		return Node{}, err
	}
	cpu, memory, pids := c.Resources[v1.ResourceCPU], c.Resources[v1.ResourceMemory], c.Resources[qos.PIDs]
	n := Node{V2: c.V2, Memory: memory.Value(), PIDs: pids.Value(), MilliCPU: cpu.MilliValue()}
	file := "cpuset/cpuset.cpus"
	if n.V2 {
		file = "cpuset.cpus.effective"
	}
	cpus, err := os.ReadFile(filepath.Join(mount, file))
	if err != nil {
		return n, fmt.Errorf("reading the node's CPUs: %w", err)
	}
	n.CPUs = strings.TrimSpace(string(cpus))
	controllers, _ := os.ReadFile(filepath.Join(mount, "cgroup.controllers"))
	if _, err := os.Stat(filepath.Join(mount, "hugetlb")); err != nil && !slices.Contains(strings.Fields(string(controllers)), "hugetlb") {
		return n, nil
	}
	for name, q := range c.Resources {
		if size, ok := qos.HugepageSize(name); ok {
			if n.Hugepages == nil {
				n.Hugepages = map[string]int64{}
			}
			n.Hugepages[size] = q.Value()
		}
	}
	return n, nil
}

// files are what is read of each cgroup, as patterns, by the v1 controller that
// has them.
var files = map[string][]string{
	"cpu":     {"cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.weight", "cpu.max", "cpu.idle"},
	"cpuset":  {"cpuset.cpus", "cpuset.mems"},
	"memory":  {"memory.*limit_in_bytes", "memory.swappiness", "memory.max", "memory.high", "memory.low", "memory.min", "memory.swap.max", "memory.oom.group"},
	"pids":    {"pids.max"},
	"hugetlb": {"hugetlb.*.limit_in_bytes", "hugetlb.*.max"},
	"blkio":   {"blkio.weight"},
	"io":      {"io.weight"},
}

// ignored are files of files that nobody sets and that are going from kernels.
func ignored(file string) bool { return strings.HasPrefix(file, "memory.kmem.") }

// Read reads the cgroups below root/kubepods of pods, as they were reported with
// their UIDs and the IDs of their containers.
func Read(root string, pods []*v1.Pod) (Values, error) {
	out := Values{}
	kubepods := filepath.Join("/", root, "kubepods")
	var errs []error
	read := func(name, path string) {
		values, err := readCgroup(path)
		if err == nil && len(values) == 0 {
			err = fmt.Errorf("cgroup %s is not there", path)
		}
		errs = append(errs, err)
		out[name] = values
	}
	read("kubepods", kubepods)
	for _, class := range []string{"burstable", "besteffort"} {
		read("kubepods/"+class, filepath.Join(kubepods, class))
	}
	for _, pod := range pods {
		class, path, err := findPod(kubepods, string(pod.UID))
		if err != nil {
			errs = append(errs, fmt.Errorf("pod %s: %w", pod.Name, err))
			continue
		}
		name := class + "/" + strings.TrimSuffix(pod.Name, "-"+pod.Spec.NodeName)
		read(name, path)
		for _, c := range steady(pod) {
			at := filepath.Join(path, id(pod, c))
			read(name+"/"+c, at)
			score, err := oomScoreAdj(at)
			errs = append(errs, err)
			if values := out[name+"/"+c]; values != nil {
				values["oom_score_adj"] = score
			}
		}
	}
	return out, errors.Join(errs...)
}

// findPod returns the class in whose cgroup a pod is, and where.
func findPod(kubepods, uid string) (class, path string, err error) {
	for class, dir := range map[string]string{"guaranteed": "", "burstable": "burstable", "besteffort": "besteffort"} {
		path := filepath.Join(kubepods, dir, "pod"+uid)
		if len(dirs(path)) > 0 {
			return class, path, nil
		}
	}
	return "", "", fmt.Errorf("no cgroup pod%s in any class", uid)
}

// dirs returns where a cgroup is, by controller; on v2 for all the same.
func dirs(path string) map[string]string {
	out := map[string]string{}
	_, err := os.Stat(filepath.Join(mount, "cgroup.controllers"))
	for controller := range files {
		dir := filepath.Join(mount, controller, path)
		if err == nil {
			dir = filepath.Join(mount, path)
		}
		if _, err := os.Stat(dir); err == nil {
			out[controller] = dir
		}
	}
	return out
}

func readCgroup(path string) (map[string]string, error) {
	out := map[string]string{}
	for controller, dir := range dirs(path) {
		for _, pattern := range files[controller] {
			found, err := filepath.Glob(filepath.Join(dir, pattern))
			if err != nil {
				return nil, err
			}
			for _, file := range found {
				data, err := os.ReadFile(file)
				if errors.Is(err, fs.ErrNotExist) || ignored(filepath.Base(file)) {
					continue
				}
				if err != nil {
					return nil, err
				}
				out[filepath.Base(file)] = strings.TrimSpace(string(data))
			}
		}
	}
	return out, nil
}

// oomScoreAdj returns that of the processes of a cgroup.
func oomScoreAdj(path string) (string, error) {
	for _, controller := range slices.Sorted(maps.Keys(files)) {
		dir, ok := dirs(path)[controller]
		if !ok {
			continue
		}
		procs, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil {
			return "", err
		}
		pid, _, _ := strings.Cut(string(procs), "\n")
		if _, err := strconv.Atoi(pid); err != nil {
			return "", fmt.Errorf("no process is in cgroup %s", path)
		}
		score, err := os.ReadFile(filepath.Join("/proc", pid, "oom_score_adj"))
		return strings.TrimSpace(string(score)), err
	}
	return "", fmt.Errorf("no process is in cgroup %s", path)
}

// id is the ID of a container that runs, "" if it does not.
func id(pod *v1.Pod, name string) string {
	for _, c := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if c.Name == name && c.State.Running != nil {
			_, id, _ := strings.Cut(c.ContainerID, "://")
			return id
		}
	}
	return ""
}
