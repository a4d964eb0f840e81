package enter

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// program is the helper's file on a read-only mount of its own, which is in no mount
// namespace. A process of the helper's is for an instant in a container, as the
// program's file in /proc/PID/exe. Who opens that, or holds it until later, opens it
// on this mount: it cannot be written (CVE-2019-5736), and nobody can remount it.
type program struct{ fd int }

func openProgram(path string) (*program, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("mounting helper %s: %w", path, err)
	}
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, attr); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("mounting helper %s read-only: %w", path, err)
	}
	return &program{fd: fd}, nil
}

// path is good in this process and its children for as long as p is open.
func (p *program) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), p.fd) }

func (p *program) close() error { return unix.Close(p.fd) }
