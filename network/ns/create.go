package ns

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// Options is what Create makes.
type Options struct {
	Kinds    []Kind            // of Net, IPC, UTS
	Hostname string            // of a UTS namespace; "" keeps the host's
	Sysctls  map[string]string // name -> value; each must belong to one of Kinds
	IDs      *IDRange          // nil: owned by the host's user namespace
	// Helper is, with IDs, a program with arguments that reads its standard
	// input and exits at its end.
	Helper []string
}

// IDRange is the host's uids and gids that a user namespace maps from 0 on.
type IDRange struct{ Host, Size uint32 }

// Create makes, configures and pins the namespaces of o.Kinds in dir, and with
// o.IDs the user namespace that owns them. Pins that are intact stay. In a
// network namespace lo is up. See the package comment for what a cut leaves.
func Create(dir string, o Options) error {
	if err := o.validate(); err != nil {
		return err
	}
	kinds := slices.Clone(o.Kinds)
	if o.IDs != nil {
		kinds = append(kinds, User)
	}
	if err := makeDir(dir); err != nil {
		return err
	}
	var missing []Kind
	for _, k := range kinds {
		ok, err := Intact(dir, k)
		if err != nil {
			return err
		}
		if !ok {
			missing = append(missing, k)
		}
	}
	switch {
	case len(missing) == 0:
		return nil
	case o.IDs != nil:
		return createOwned(dir, o)
	}
	return onThread(func() error {
		if err := unix.Unshare(flags(missing)); err != nil {
			return fmt.Errorf("making namespaces %v: %w", missing, err)
		}
		if err := o.configure(missing); err != nil {
			return err
		}
		for _, k := range missing {
			if err := pin(dir, k, "/proc/thread-self/ns/"+string(k)); err != nil {
				return err
			}
		}
		return nil
	})
}

// Do runs fn on a thread of its own in the network, IPC or UTS namespace at
// path. Goroutines that fn starts are not in the namespace.
func Do(path string, fn func() error) error {
	f, err := Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	t, err := typeOf(f)
	if err != nil {
		return err
	}
	if t&(unix.CLONE_NEWNET|unix.CLONE_NEWIPC|unix.CLONE_NEWUTS) == 0 {
		return fmt.Errorf("entering namespace %s: a thread cannot enter this kind", path)
	}
	return onThread(func() error {
		if err := unix.Setns(int(f.Fd()), t); err != nil {
			return fmt.Errorf("entering namespace %s: %w", path, err)
		}
		return fn()
	})
}

func (o Options) validate() error {
	for _, k := range o.Kinds {
		if k != Net && k != IPC && k != UTS {
			return fmt.Errorf("making namespaces: kind %q cannot be made", k)
		}
	}
	for name := range o.Sysctls {
		k, err := SysctlKind(name)
		if err != nil {
			return err
		}
		if !slices.Contains(o.Kinds, k) {
			return fmt.Errorf("sysctl %q needs a %s namespace of its own", name, k)
		}
	}
	if o.Hostname != "" && !slices.Contains(o.Kinds, UTS) {
		return fmt.Errorf("host name %q needs a uts namespace of its own", o.Hostname)
	}
	if o.IDs != nil && (o.IDs.Size == 0 || len(o.Helper) == 0) {
		return fmt.Errorf("making a user namespace needs a range of ids and a program")
	}
	return nil
}

// configure sets up the namespaces of the given kinds, which the calling thread
// is in. Afterwards the thread is good for nothing but namespaces' paths.
func (o Options) configure(kinds []Kind) error {
	if slices.Contains(kinds, Net) {
		if err := loopbackUp(); err != nil {
			return err
		}
	}
	if slices.Contains(kinds, UTS) && o.Hostname != "" {
		if err := unix.Sethostname([]byte(o.Hostname)); err != nil {
			return fmt.Errorf("setting host name %q: %w", o.Hostname, err)
		}
	}
	var ofIPC []string
	for name, value := range o.Sysctls {
		k, _ := SysctlKind(name) // was checked by validate
		switch {
		case !slices.Contains(kinds, k):
		case k == IPC && o.IDs != nil:
			ofIPC = append(ofIPC, name)
		default:
			if err := writeSysctl(name, value); err != nil {
				return err
			}
		}
	}
	if len(ofIPC) == 0 {
		return nil
	}
	// The IPC sysctls go by the effective uid and not by capabilities: only the
	// root of the user namespace may write them. The raw system call changes
	// this thread alone. It also makes the whole process undumpable, which is
	// put back.
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(o.IDs.Host), ^uintptr(0)); e != 0 {
		return fmt.Errorf("becoming root of the user namespace: %w", e)
	}
	defer func() { _ = unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0) }()
	for _, name := range ofIPC {
		if err := writeSysctl(name, o.Sysctls[name]); err != nil {
			return err
		}
	}
	return nil
}

// createOwned makes all kinds of o anew inside a new user namespace.
func createOwned(dir string, o Options) (err error) {
	cmd := exec.Command(o.Helper[0], o.Helper[1:]...)
	ids := []syscall.SysProcIDMap{{HostID: int(o.IDs.Host), Size: int(o.IDs.Size)}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  uintptr(flags(o.Kinds) | unix.CLONE_NEWUSER),
		UidMappings: ids,
		GidMappings: ids,
		// Containers set supplementary groups; "deny" would stand for ever.
		GidMappingsEnableSetgroups: true,
	}
	hold, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("making a user namespace: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("making a user namespace: %w", err)
	}
	defer func() {
		closeErr := hold.Close() // its end of file: the child exits
		waitErr := cmd.Wait()
		switch {
		case err != nil:
		case closeErr != nil:
			err = fmt.Errorf("making a user namespace: %w", closeErr)
		case waitErr != nil:
			err = fmt.Errorf("making a user namespace: %s: %w", o.Helper[0], waitErr)
		}
	}()
	pid := cmd.Process.Pid
	if err := onThread(func() error {
		for _, k := range o.Kinds {
			f, err := Open(procNS(pid, k))
			if err != nil {
				return err
			}
			err = unix.Setns(int(f.Fd()), k.flag())
			f.Close()
			if err != nil {
				return fmt.Errorf("entering %s namespace of the child: %w", k, err)
			}
		}
		return o.configure(o.Kinds)
	}); err != nil {
		return err
	}
	if err := unpin(filepath.Join(dir, string(User))); err != nil {
		return err // before the others: while it is there, all count as made
	}
	for _, k := range append(slices.Clone(o.Kinds), User) {
		if err := pin(dir, k, procNS(pid, k)); err != nil {
			return err
		}
	}
	return nil
}

func flags(kinds []Kind) (f int) {
	for _, k := range kinds {
		f |= k.flag()
	}
	return f
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("setting lo up: %w", err)
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("setting lo up: %w", err)
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, req); err != nil {
		return fmt.Errorf("setting lo up: %w", err)
	}
	req.SetUint16(req.Uint16() | unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req); err != nil {
		return fmt.Errorf("setting lo up: %w", err)
	}
	return nil
}

func writeSysctl(name, value string) error {
	p, err := sysctlPath(name)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join("/proc/sys", p), os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("setting sysctl %q: %w", name, err)
	}
	_, err = io.WriteString(f, value)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("setting sysctl %q to %q: %w", name, value, err)
	}
	return nil
}
