package cgroup

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/runtime/cgroup/qos"
)

// QOSClass returns the pod's QoS class; see qos.Class.
func QOSClass(pod *v1.Pod) v1.PodQOSClass { return qos.Class(pod) }

// PodResources returns what the pod's cgroup is set to; see qos.PodResources.
func PodResources(pod *v1.Pod) qos.Resources { return qos.PodResources(pod) }

// OOMKills returns how many processes of a cgroup the kernel's OOM killer has
// killed. cgroupsPath is as in an OCI spec: an absolute path, or systemd's
// slice:prefix:name. It wraps fs.ErrNotExist once the cgroup is gone, which
// runtimes do when a container is deleted: read it before.
//
// It reads oom_kill from memory.oom_control (v1, the cgroup's own) or
// memory.events (v2, those below included).
func OOMKills(cgroupsPath string) (int64, error) {
	return oomKills(defaultMount, qos.FromSpecPath(cgroupsPath))
}

func oomKills(mount, path string) (int64, error) {
	file := filepath.Join(mount, "memory", path, "memory.oom_control")
	if exists(filepath.Join(mount, "cgroup.controllers")) {
		file = filepath.Join(mount, path, "memory.events")
	}
	f, err := os.Open(file)
	if err != nil {
		return 0, fmt.Errorf("reading OOM kills: %w", err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), "oom_kill "); ok {
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("reading OOM kills: %s: %w", file, err)
			}
			return n, nil
		}
	}
	return 0, fmt.Errorf("reading OOM kills: %s has no oom_kill; Linux 4.13 or later is needed", file)
}
