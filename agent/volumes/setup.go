package volumes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
)

// Mount is a volume that is ready to be mounted into containers.
type Mount struct {
	HostPath string // absolute
	ReadOnly bool   // for all containers, whatever their volumeMounts say
}

const emptyDirs = "volumes/kubernetes.io~empty-dir"

// ErrUnsupported is returned for volumes that are not supported yet.
var ErrUnsupported = errors.New("not supported yet")

// Setup makes the volumes of a pod that are not there yet and returns all of
// them by name. podDir is the pod's own directory, absolute, and exists.
func Setup(ctx context.Context, pod *v1.Pod, podDir string) (map[string]Mount, error) {
	out := make(map[string]Mount, len(pod.Spec.Volumes))
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("setting up volumes: %w", err)
		}
		path, err := setup(ctx, v, pod, podDir)
		if err != nil {
			return nil, fmt.Errorf("setting up volume %q: %w", v.Name, err)
		}
		out[v.Name] = Mount{HostPath: path}
	}
	return out, nil
}

func setup(ctx context.Context, v *v1.Volume, pod *v1.Pod, podDir string) (string, error) {
	switch {
	case v.HostPath != nil:
		kind := v1.HostPathUnset
		if v.HostPath.Type != nil {
			kind = *v.HostPath.Type
		}
		return v.HostPath.Path, checks.run(ctx, v.HostPath.Path, kind)
	case v.EmptyDir != nil || v.VolumeSource == (v1.VolumeSource{}):
		dir, err := emptyDir(podDir, v.Name)
		if err != nil || v.EmptyDir == nil || v.EmptyDir.Medium != v1.StorageMediumMemory {
			return dir, err
		}
		return dir, mountMemory(dir, memorySize(v.EmptyDir, pod))
	}
	return "", ErrUnsupported
}

// emptyDir makes a directory that any user may write to.
func emptyDir(podDir, name string) (string, error) {
	if name == "" || name != filepath.Base(name) || name[0] == '.' {
		return "", fmt.Errorf("%q is no name of a volume", name)
	}
	parent := filepath.Join(podDir, emptyDirs)
	if err := os.MkdirAll(parent, 0o750); err != nil {
		return "", fmt.Errorf("making the directory of the volumes: %w", err)
	}
	dir := filepath.Join(parent, name)
	switch info, err := os.Lstat(dir); {
	case err == nil && info.IsDir():
		return dir, nil
	case err == nil:
		return "", fmt.Errorf("%s is not a directory", dir)
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	making := filepath.Join(parent, ".making-"+name) // no volume's name begins with a dot
	if err := os.Mkdir(making, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	if err := os.Chmod(making, 0o777); err != nil {
		return "", err
	}
	return dir, os.Rename(making, dir)
}

// mountMemory mounts a tmpfs on dir unless there is one.
func mountMemory(dir string, size int64) error {
	real, err := resolveParent(dir)
	if err != nil {
		return err
	}
	mounts, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(real))
	if err != nil {
		return fmt.Errorf("reading the mount table: %w", err)
	}
	if len(mounts) > 0 {
		if t := mounts[0].FSType; t != "tmpfs" {
			return fmt.Errorf("a file system of type %s is mounted on %s", t, dir)
		}
		return nil
	}
	options := "mode=0777"
	if size > 0 {
		options += ",size=" + strconv.FormatInt(size, 10)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		return fmt.Errorf("mounting a tmpfs on %s: %w", dir, err)
	}
	return nil
}

// memorySize returns the size of a tmpfs in bytes; 0 is the kernel's default.
func memorySize(e *v1.EmptyDirVolumeSource, pod *v1.Pod) int64 {
	size := int64(0)
	if e.SizeLimit != nil {
		size = e.SizeLimit.Value()
	}
	if limit := memoryLimit(pod); limit > 0 && (size == 0 || limit < size) {
		size = limit
	}
	return size
}

// memoryLimit returns what the containers that run together may use, or the
// largest init container if that is more; 0: one of them has no limit.
func memoryLimit(pod *v1.Pod) int64 {
	var sum, sidecars, largest int64
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		limit := c.Resources.Limits.Memory().Value()
		if limit == 0 {
			return 0
		}
		if c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways {
			sidecars += limit
			limit = 0
		}
		largest = max(largest, sidecars+limit)
	}
	for i := range pod.Spec.Containers {
		limit := pod.Spec.Containers[i].Resources.Limits.Memory().Value()
		if limit == 0 {
			return 0
		}
		sum += limit
	}
	return max(sum+sidecars, largest)
}
