package ns

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Kind is a kind of namespace. Its text is the file name under /proc/<pid>/ns
// and the name of its pin.
type Kind string

// The kinds that davit handles.
const (
	Net  Kind = "net"
	IPC  Kind = "ipc"
	UTS  Kind = "uts"
	User Kind = "user"
	PID  Kind = "pid"
)

// flag returns the CLONE_NEW* bit of k, 0 for an unknown kind.
func (k Kind) flag() int {
	switch k {
	case Net:
		return unix.CLONE_NEWNET
	case IPC:
		return unix.CLONE_NEWIPC
	case UTS:
		return unix.CLONE_NEWUTS
	case User:
		return unix.CLONE_NEWUSER
	case PID:
		return unix.CLONE_NEWPID
	}
	return 0
}

// errNotNamespace is what a file that is no namespace gives.
var errNotNamespace = errors.New("not a namespace")

// Open opens a namespace file: a pin, a file of `ip netns`, or /proc/<pid>/ns/*.
// The descriptor holds the namespace and can be handed to a netlink socket.
func Open(path string) (*os.File, error) {
	return open(path, 0)
}

func open(path string, flags int) (*os.File, error) {
	// O_NONBLOCK: whatever lies there, opening it must not hang.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|flags, 0)
	if err != nil {
		return nil, fmt.Errorf("opening namespace: %w", &os.PathError{Op: "open", Path: path, Err: err})
	}
	f := os.NewFile(uintptr(fd), path)
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		f.Close()
		return nil, fmt.Errorf("opening namespace: %w", &os.PathError{Op: "statfs", Path: path, Err: err})
	}
	if st.Type != unix.NSFS_MAGIC {
		f.Close()
		return nil, fmt.Errorf("opening namespace: %s: %w", path, errNotNamespace)
	}
	return f, nil
}

// typeOf returns the CLONE_NEW* bit of an open namespace.
func typeOf(f *os.File) (int, error) {
	t, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_NSTYPE)
	if err != nil {
		return 0, fmt.Errorf("reading type of namespace %s: %w", f.Name(), err)
	}
	return t, nil
}

// SysctlKind returns the kind of namespace that a sysctl belongs to; it is an
// error if it belongs to none, for then it would change the whole machine. Both
// spellings of names are known: net.ipv4.ip_forward and net/ipv4/ip_forward.
// The list is that of the kernel's namespaced sysctls (Kubernetes calls the
// same ones namespaced).
func SysctlKind(name string) (Kind, error) {
	p, err := sysctlPath(name)
	if err != nil {
		return "", err
	}
	switch {
	case strings.HasPrefix(p, "net/"):
		return Net, nil
	case strings.HasPrefix(p, "kernel/shm"), strings.HasPrefix(p, "kernel/msg"),
		p == "kernel/sem", strings.HasPrefix(p, "fs/mqueue/"):
		return IPC, nil
	case p == "kernel/hostname", p == "kernel/domainname":
		return UTS, nil
	}
	return "", fmt.Errorf("sysctl %q does not belong to a namespace", name)
}

// sysctlPath returns the path below /proc/sys. As in sysctl(8), the first
// separator decides: after a slash, dots are part of names (net/ipv4/conf/eth0.7),
// after a dot, slashes are (net.ipv4.conf.eth0/7 names the same).
func sysctlPath(name string) (string, error) {
	p := name
	if i := strings.IndexAny(name, "./"); i >= 0 && name[i] == '.' {
		p = strings.Map(func(r rune) rune {
			switch r {
			case '.':
				return '/'
			case '/':
				return '.'
			}
			return r
		}, name)
	}
	if p == "" || p != path.Clean(p) || path.IsAbs(p) || strings.HasPrefix(p, "..") || strings.ContainsRune(p, 0) {
		return "", fmt.Errorf("sysctl %q is not a valid name", name)
	}
	return p, nil
}
