package facts

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/runtime/oci"
)

// CheckPropagation tells whether mounts can propagate between a container and
// what lies at a host path, which a mount of that mode takes for granted: without
// this nothing would fail, and nothing propagate. Its error is an *oci.Error of
// the kind oci.ErrCreate, in containerd's words.
func CheckPropagation(hostPath string, mode v1.MountPropagationMode) error {
	if mode != v1.MountPropagationHostToContainer && mode != v1.MountPropagationBidirectional {
		return nil
	}
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("reading the node's mounts: %w", err)
	}
	path, err := filepath.EvalSymlinks(hostPath)
	if err != nil {
		return fmt.Errorf("looking at the propagation of %s: %w", hostPath, err)
	}
	id, err := mountID(path)
	if err != nil {
		return fmt.Errorf("looking at the propagation of %s: %w", hostPath, err)
	}
	m, ok := mountByID(string(info), id)
	if !ok {
		return fmt.Errorf("looking at the propagation of %s: its mount is not in /proc/self/mountinfo", hostPath)
	}
	return m.check(hostPath, mode)
}

// mountID returns the mount that a path is on; paths may be covered by others, so
// their text alone does not tell.
func mountID(path string) (string, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	info, err := fields(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
	return info["mnt_id"], err
}

// mounted is a line of mountinfo: where, and its propagation.
type mounted struct {
	point         string
	shared, slave bool
}

// mountByID finds a line of proc_pid_mountinfo(5).
func mountByID(info string, id string) (mounted, bool) {
	for line := range strings.Lines(info) {
		f := strings.Fields(line)
		if len(f) < 7 || f[0] != id {
			continue
		}
		m := mounted{point: f[4]}
		for _, optional := range f[6:] {
			if optional == "-" {
				break
			}
			m.shared = m.shared || strings.HasPrefix(optional, "shared:")
			m.slave = m.slave || strings.HasPrefix(optional, "master:")
		}
		return m, true
	}
	return mounted{}, false
}

func (m mounted) check(path string, mode v1.MountPropagationMode) error {
	need := "shared"
	if mode == v1.MountPropagationHostToContainer {
		need = "shared or slave"
	}
	if m.shared || mode == v1.MountPropagationHostToContainer && m.slave {
		return nil
	}
	return &oci.Error{Kind: oci.ErrCreate, Remedy: "run mount --make-rshared " + m.point + " on the node, or use mountPropagation: None",
		Text: fmt.Sprintf("path %q is mounted on %q but it is not a %s mount", path, m.point, need)}
}
