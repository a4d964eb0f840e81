// Command attack tries to get out of the container it runs in. Each attempt is
// harmless where it succeeds: nothing is written, and system calls have arguments
// with which they do nothing. It prints a line for each attempt, "name: ok" or
// "name: " and the error.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

var commands = map[string]func(args []string){
	"write":  each(openForWriting),
	"read":   each(read),
	"node":   func(a []string) { node(a[0], number(a[1]), number(a[2])) },
	"mount":  mount,
	"calls":  calls,
	"handle": each(openByHandle),
	"setns":  each(setns),
	"ids":    ids,
	"exe":    func(a []string) { exe(a[0]) },
}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "attack: no such command")
		os.Exit(2)
	}
	commands[os.Args[1]](os.Args[2:])
}

func number(s string) uint32 {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		panic(err)
	}
	return uint32(n)
}

func say(name string, err error) {
	if err != nil {
		if e, ok := err.(unix.Errno); ok {
			fmt.Printf("%s: %s\n", name, unix.ErrnoName(e))
			return
		}
		fmt.Printf("%s: %v\n", name, err)
		return
	}
	fmt.Printf("%s: ok\n", name)
}

func each(f func(string) error) func([]string) {
	return func(args []string) {
		for _, a := range args {
			say(a, f(a))
		}
	}
}

// openForWriting opens a file as one does to write it, and does not.
func openForWriting(path string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_APPEND|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

// read reads something of a file or directory.
func read(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	n, err := unix.Read(fd, make([]byte, 16))
	if err == unix.EISDIR {
		n, err = unix.ReadDirent(fd, make([]byte, 4096))
		if n <= 48 { // . and ..
			return fmt.Errorf("empty")
		}
	}
	if err == nil && n == 0 {
		return fmt.Errorf("empty")
	}
	return err
}

// node makes a device node and opens it.
func node(kind string, major, minor uint32) {
	const path = "/tmp/node"
	mode := uint32(unix.S_IFCHR)
	if kind == "b" {
		mode = unix.S_IFBLK
	}
	err := unix.Mknod(path, mode|0o600, int(unix.Mkdev(major, minor)))
	say("mknod", err)
	if err != nil {
		return
	}
	defer os.Remove(path)
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	say("open", err)
	if err == nil {
		unix.Close(fd)
	}
}

// mount mounts and binds over a directory of its own, and remounts its own /sys.
func mount([]string) {
	const at = "/tmp/mounted"
	_ = os.Mkdir(at, 0o700)
	try := func(name, source, fs string, flags uintptr) {
		err := unix.Mount(source, at, fs, flags, "")
		say(name, err)
		if err == nil {
			_ = unix.Unmount(at, unix.MNT_DETACH)
		}
	}
	try("tmpfs", "tmpfs", "tmpfs", 0)
	try("proc", "proc", "proc", 0)
	try("sysfs", "sysfs", "sysfs", 0)
	try("bind", "/proc/self/root", "", unix.MS_BIND)
	say("remount", unix.Mount("", "/sys", "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_NOSUID, ""))
	say("umount", unix.Unmount("/proc/kcore", unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW))
}

// calls makes system calls that only the node's administrator may make. None of
// them does anything but say that it is allowed.
func calls([]string) {
	none := "/nonexistent\x00"
	p := uintptr(unsafe.Pointer(unsafe.StringData(none)))
	bad := ^uintptr(0)
	for _, c := range []struct {
		name string
		call [5]uintptr
	}{
		{"mount", [5]uintptr{unix.SYS_MOUNT, p, p, p}},
		{"umount2", [5]uintptr{unix.SYS_UMOUNT2, p}},
		{"pivot_root", [5]uintptr{unix.SYS_PIVOT_ROOT, p, p}},
		{"unshare user", [5]uintptr{unix.SYS_UNSHARE, unix.CLONE_NEWUSER}}, // a process with threads cannot
		{"setns", [5]uintptr{unix.SYS_SETNS, bad}},
		{"bpf", [5]uintptr{unix.SYS_BPF, bad}},
		{"perf_event_open", [5]uintptr{unix.SYS_PERF_EVENT_OPEN, 0, bad, bad, bad}},
		{"init_module", [5]uintptr{unix.SYS_INIT_MODULE}},
		{"kexec_load", [5]uintptr{unix.SYS_KEXEC_LOAD, 0, 0, 0, bad}},
		{"reboot", [5]uintptr{unix.SYS_REBOOT}},
		{"swapon", [5]uintptr{unix.SYS_SWAPON, p}},
		{"open_by_handle_at", [5]uintptr{unix.SYS_OPEN_BY_HANDLE_AT, bad}},
		{"clock_settime", [5]uintptr{unix.SYS_CLOCK_SETTIME, 9999}},
		{"acct", [5]uintptr{unix.SYS_ACCT, p}},
		{"userfaultfd", [5]uintptr{unix.SYS_USERFAULTFD, bad}},
		{"io_uring_setup", [5]uintptr{unix.SYS_IO_URING_SETUP}},
		{"keyctl", [5]uintptr{unix.SYS_KEYCTL, bad}},
		{"syslog", [5]uintptr{unix.SYS_SYSLOG, 10}}, // the size of the kernel's log
	} {
		_, _, e := unix.Syscall6(c.call[0], c.call[1], c.call[2], c.call[3], c.call[4], 0, 0)
		if e == 0 {
			say(c.name, nil)
		} else {
			say(c.name, e)
		}
	}
}

// openByHandle opens the root of the file system that a path is on, by its inode,
// which is 2 on most: around every mount.
func openByHandle(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	handle := unix.NewFileHandle(1, []byte{2, 0, 0, 0, 0, 0, 0, 0})
	root, err := unix.OpenByHandleAt(fd, handle, unix.O_RDONLY|unix.O_DIRECTORY)
	if err == nil {
		unix.Close(root)
	}
	return err
}

func setns(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return unix.Setns(fd, 0)
}

func ids([]string) {
	fmt.Printf("uid: %d\neuid: %d\n", os.Getuid(), os.Geteuid())
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "CapEff:") {
			fmt.Print(strings.ReplaceAll(line, "\t", " "))
		}
	}
}

// exe opens the program of every foreign process that it sees in this PID
// namespace, and once the process is gone opens it for writing: that is how a
// container gets hold of the runtime that enters it. It ends when a file appears.
func exe(until string) {
	own := map[string]bool{}
	for _, f := range []string{"/bin/attack", "/bin/busybox"} {
		var st unix.Stat_t
		if unix.Stat(f, &st) == nil {
			own[fmt.Sprintf("%d:%d", st.Dev, st.Ino)] = true
		}
	}
	fds, seen := map[string]int{}, time.Now().Add(2*time.Minute)
	for time.Now().Before(seen) {
		if _, err := os.Stat(until); err == nil {
			break
		}
		links, _ := filepath.Glob("/proc/[0-9]*/exe")
		for _, link := range links {
			fd, err := unix.Open(link, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				continue
			}
			var st unix.Stat_t
			id := ""
			if unix.Fstat(fd, &st) == nil {
				id = fmt.Sprintf("%d:%d", st.Dev, st.Ino)
			}
			if _, ok := fds[id]; ok || own[id] || id == "" {
				unix.Close(fd)
				continue
			}
			fds[id] = fd
			fmt.Println("seen", id)
		}
	}
	for id, fd := range fds {
		link := fmt.Sprintf("/proc/self/fd/%d", fd)
		seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
		if err == nil && seals&unix.F_SEAL_WRITE != 0 {
			say(id, fmt.Errorf("sealed"))
			continue
		}
		say(id, openForWriting(link))
	}
}
