package qos

import (
	"fmt"
	"path"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// The drivers: who makes the cgroups and what they are called.
const (
	Cgroupfs = "cgroupfs"
	Systemd  = "systemd"
)

// scopePrefix starts the names of container scopes under the systemd driver.
const scopePrefix = "davit"

// KubepodsPath returns the cgroup that holds all pods of one QoS class; "" is
// the one that holds them all. Guaranteed pods have none of their own. The
// path is absolute in the hierarchy, as everywhere in this package.
//
//	cgroupfs  <root>/kubepods/burstable
//	systemd   <root>/kubepods.slice/kubepods-burstable.slice
func KubepodsPath(driver, root string, class v1.PodQOSClass) string {
	names := []string{"kubepods"}
	if class == v1.PodQOSBurstable || class == v1.PodQOSBestEffort {
		names = append(names, strings.ToLower(string(class)))
	}
	return join(driver, root, names)
}

// PodPath returns the cgroup of a pod.
//
//	cgroupfs  <root>/kubepods/burstable/pod<uid>
//	systemd   <root>/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid, - as _>.slice
func PodPath(driver, root string, class v1.PodQOSClass, uid string) string {
	names := []string{"kubepods"}
	if class == v1.PodQOSBurstable || class == v1.PodQOSBestEffort {
		names = append(names, strings.ToLower(string(class)))
	}
	return join(driver, root, append(names, "pod"+uid))
}

// ContainerPath returns the cgroup of a container in a pod's.
//
//	cgroupfs  <pod>/<id>
//	systemd   <pod>/davit-<id>.scope
func ContainerPath(driver, podPath, id string) string {
	if driver == Systemd {
		return path.Join(podPath, scopePrefix+"-"+id+".scope")
	}
	return path.Join(podPath, id)
}

// CheckUID returns an error if uid cannot be part of a path.
func CheckUID(uid string) error {
	if uid == "" || strings.ContainsAny(uid, "/\x00\n") || uid == "." || uid == ".." {
		return fmt.Errorf("pod UID %q cannot name a cgroup", uid)
	}
	return nil
}

// SpecPath returns what the OCI spec's cgroupsPath is for a container's cgroup:
// the path itself, or systemd's slice:prefix:name for a path that ends in
// <slice>.slice/<prefix>-<name>.scope.
func SpecPath(containerPath string) string {
	dir, scope := path.Split(containerPath)
	slice := path.Base(dir)
	name, isScope := strings.CutSuffix(scope, ".scope")
	prefix, id, hasPrefix := strings.Cut(name, "-")
	if !isScope || !hasPrefix || !strings.HasSuffix(slice, ".slice") {
		return containerPath
	}
	return slice + ":" + prefix + ":" + id
}

// FromSpecPath is SpecPath's inverse, but for a root above the first slice.
func FromSpecPath(cgroupsPath string) string {
	parts := strings.Split(cgroupsPath, ":")
	if len(parts) != 3 || strings.Contains(cgroupsPath, "/") {
		return path.Join("/", cgroupsPath)
	}
	leaf := parts[2]
	if !strings.HasSuffix(leaf, ".slice") {
		leaf = parts[1] + "-" + leaf + ".scope"
	}
	return path.Join("/", ExpandSlice(parts[0]), leaf)
}

// ExpandSlice returns the path of a slice: a-b.slice lies in a.slice
// (systemd.slice(5)).
func ExpandSlice(slice string) string {
	name := strings.TrimSuffix(slice, ".slice")
	if name == "-" || name == "" {
		return "/"
	}
	p, prefix := "/", ""
	for part := range strings.SplitSeq(name, "-") {
		prefix += part
		p = path.Join(p, prefix+".slice")
		prefix += "-"
	}
	return p
}

func join(driver, root string, names []string) string {
	if driver != Systemd {
		return path.Join("/", root, path.Join(names...))
	}
	for i, n := range names {
		names[i] = strings.ReplaceAll(n, "-", "_")
	}
	return path.Join("/", root, ExpandSlice(strings.Join(names, "-")+".slice"))
}
