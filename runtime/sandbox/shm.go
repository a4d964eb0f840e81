package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/davit-agent/davit/runtime"
)

// defaultShmSize is what CRI runtimes give a pod, in bytes.
const defaultShmSize = 64 << 20

// mountShm mounts a tmpfs at dir unless something is mounted there.
func mountShm(dir string, size int64, ids *runtime.IDRange) error {
	// 0711: containers get the mount itself, and users of the host no listing.
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return fmt.Errorf("making shm directory: %w", err)
	}
	ok, err := isMounted(dir)
	if err != nil || ok {
		return err
	}
	if size == 0 {
		size = defaultShmSize
	}
	data := fmt.Sprintf("mode=1777,size=%d", size)
	if ids != nil {
		data += fmt.Sprintf(",uid=%d,gid=%d", ids.Host, ids.Host)
	}
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("shm", dir, "tmpfs", flags, data); err != nil {
		return fmt.Errorf("mounting shm at %s: %w", dir, err)
	}
	return nil
}

func isMounted(dir string) (bool, error) {
	ok, err := mountinfo.Mounted(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking for a mount at %s: %w", dir, err)
	}
	return ok, nil
}

// unmountShm unmounts what is at dir and removes dir. It removes no file: if
// one lies in the bare directory, that is an error.
func unmountShm(dir string) error {
	for {
		err := unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if err == unix.EINVAL || err == unix.ENOENT {
			break
		}
		if err != nil {
			return fmt.Errorf("unmounting shm at %s: %w", dir, err)
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing shm directory: %w", err)
	}
	return nil
}
