package volumes

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

const emptyDirs = "volumes/kubernetes.io~empty-dir"

// emptyDir makes an emptyDir and returns its path.
func emptyDir(e *v1.EmptyDirVolumeSource, name string, pod *v1.Pod, podDir string) (string, error) {
	group := fsGroup(pod)
	dir, err := directory(filepath.Join(podDir, emptyDirs), name, group)
	if err != nil || e == nil {
		return dir, err
	}
	switch medium := e.Medium; {
	case medium == v1.StorageMediumDefault:
		return dir, nil
	case medium == v1.StorageMediumMemory:
		return dir, mountTmpfs(dir, memorySize(e, pod), group)
	case strings.HasPrefix(string(medium), string(v1.StorageMediumHugePages)):
		return dir, mountHugePages(dir, e, pod)
	default:
		return "", fmt.Errorf("unknown storage medium %q: use \"\", Memory or HugePages", medium)
	}
}

// fsGroup is the group that a pod's volumes belong to, nil for none.
func fsGroup(pod *v1.Pod) *int64 {
	if pod.Spec.SecurityContext == nil {
		return nil
	}
	return pod.Spec.SecurityContext.FSGroup
}

// directory makes the top of a volume, which any user may write to as far as it
// is writable, unless it is there.
func directory(parent, name string, group *int64) (string, error) {
	if name == "" || name != filepath.Base(name) || name[0] == '.' {
		return "", fmt.Errorf("%q is no name of a volume", name)
	}
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
	mode := fs.FileMode(0o777)
	if group != nil {
		if err := os.Lchown(making, -1, int(*group)); err != nil {
			return "", err
		}
		mode |= fs.ModeSetgid
	}
	if err := os.Chmod(making, mode); err != nil {
		return "", err
	}
	return dir, os.Rename(making, dir)
}

// mountTmpfs mounts a tmpfs of at most size bytes (0: the kernel's default) on
// dir unless there is one. It is never swapped out if the kernel can promise it.
func mountTmpfs(dir string, size int64, group *int64) error {
	if there, err := mounted(dir, "tmpfs"); err != nil || there {
		return err
	}
	options := "mode=1777"
	if group != nil {
		options = "mode=3777,gid=" + strconv.FormatInt(*group, 10)
	}
	if size > 0 {
		options += ",size=" + strconv.FormatInt(size, 10)
	}
	err := unix.Mount("tmpfs", dir, "tmpfs", 0, options+",noswap")
	if errors.Is(err, unix.EINVAL) { // Linux before 6.4
		err = unix.Mount("tmpfs", dir, "tmpfs", 0, options)
	}
	if err != nil {
		return fmt.Errorf("mounting a tmpfs on %s: %w", dir, err)
	}
	return nil
}

const hugePages = "/sys/kernel/mm/hugepages"

func mountHugePages(dir string, e *v1.EmptyDirVolumeSource, pod *v1.Pod) error {
	page, err := pageSize(e.Medium, pod)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(hugePages, fmt.Sprintf("hugepages-%dkB", page>>10))); err != nil {
		return fmt.Errorf("medium %s: this node has no huge pages of %s: choose one of %s", e.Medium,
			resource.NewQuantity(page, resource.BinarySI), strings.Join(pageSizes(), ", "))
	}
	if there, err := mounted(dir, "hugetlbfs"); err != nil || there {
		return err
	}
	options := fmt.Sprintf("mode=0777,pagesize=%d", page)
	if group := fsGroup(pod); group != nil {
		options = fmt.Sprintf("mode=2777,gid=%d,pagesize=%d", *group, page)
	}
	if e.SizeLimit != nil && e.SizeLimit.Sign() > 0 {
		options += fmt.Sprintf(",size=%d", e.SizeLimit.Value())
	}
	if err := unix.Mount("nodev", dir, "hugetlbfs", 0, options); err != nil {
		return fmt.Errorf("mounting a hugetlbfs on %s: %w", dir, err)
	}
	return nil
}

// pageSize returns the size of the pages of a volume in bytes: what the medium
// names, or what the containers request.
func pageSize(medium v1.StorageMedium, pod *v1.Pod) (int64, error) {
	named := strings.TrimPrefix(string(medium), string(v1.StorageMediumHugePagesPrefix))
	all := medium == v1.StorageMediumHugePages
	found := map[int64]bool{}
	for _, list := range [][]v1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range list {
			for name := range list[i].Resources.Requests {
				size, ok := strings.CutPrefix(string(name), v1.ResourceHugePagesPrefix)
				if q, err := resource.ParseQuantity(size); ok && err == nil && (all || sameQuantity(q, named)) {
					found[q.Value()] = true
				}
			}
		}
	}
	switch {
	case len(found) > 1:
		return 0, fmt.Errorf("medium: %s can't be used if container requests multiple huge page sizes", medium)
	case len(found) == 0:
		return 0, fmt.Errorf("medium %s: hugePages storage requested, but there is no resource request for huge pages", medium)
	}
	for size := range found {
		return size, nil
	}
	return 0, nil
}

func sameQuantity(q resource.Quantity, text string) bool {
	other, err := resource.ParseQuantity(text)
	return err == nil && q.Cmp(other) == 0
}

// pageSizes are those that the kernel has, as media.
func pageSizes() []string {
	var out []string
	dirs, _ := os.ReadDir(hugePages) // without it there are none
	for _, d := range dirs {
		var kb int64
		if _, err := fmt.Sscanf(d.Name(), "hugepages-%dkB", &kb); err == nil {
			out = append(out, string(v1.StorageMediumHugePagesPrefix)+resource.NewQuantity(kb<<10, resource.BinarySI).String())
		}
	}
	if len(out) == 0 {
		return []string{"none, the kernel was built without them"}
	}
	return out
}

// mounted tells whether dir is the top of a mount, and fails if that is not of
// the type wanted.
func mounted(dir, kind string) (bool, error) {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, dir, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, 0, &st)
	if err != nil {
		return false, &os.PathError{Op: "statx", Path: dir, Err: err}
	}
	if st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 && st.Attributes&unix.STATX_ATTR_MOUNT_ROOT == 0 {
		return false, nil // Linux from 5.8 on; it saves reading the whole table
	}
	real, err := resolveParent(dir)
	if err != nil {
		return false, err
	}
	mounts, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(real))
	if err != nil {
		return false, fmt.Errorf("reading the mount table: %w", err)
	}
	if len(mounts) == 0 {
		return false, nil
	}
	if t := mounts[0].FSType; t != kind {
		return false, fmt.Errorf("a file system of type %s is mounted on %s", t, dir)
	}
	return true, nil
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
