// Package facts reads from the node what package oci has to know of it. It is
// apart because oci is pure.
//
// Read is cheap (a dozen small files) and is meant to be called once per start
// of davit; nothing in Node changes without a reboot, but for what a container
// may need beyond that: the host's devices, which are hot-plugged, the AppArmor
// profiles that are loaded, and its seccomp profile. ForContainer adds those.
//
// A seccomp profile is a file below a directory of the node's administrator. Its
// name comes with the pod, so it is opened with os.Root: neither .. nor a symbolic
// link leads out of the directory (kubelet follows links), it has to be a plain
// file, and it is bounded.
package facts

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/runtime/cgroup/qos"
	"github.com/davit-agent/davit/runtime/oci"
)

// Read returns the node's facts, without what ForContainer adds. RuntimeDefault
// is what SeccompDefault is set to; SeccompLocalhost is empty.
func Read() (oci.Node, error) {
	n, err := read("/")
	if err != nil {
		return n, fmt.Errorf("reading the node's facts: %w", err)
	}
	return n, nil
}

// read reads below a root directory other than /, for tests.
func read(root string) (oci.Node, error) {
	n := oci.Node{Arch: runtime.GOARCH, SeccompDefault: v1.SeccompProfileTypeRuntimeDefault}
	var err error
	if n.Hostname, err = os.Hostname(); err != nil {
		return n, err
	}
	if n.MemoryTotal, err = memoryTotal(filepath.Join(root, "proc/meminfo")); err != nil {
		return n, err
	}
	status, err := fields(filepath.Join(root, "proc/self/status"))
	if err != nil {
		return n, err
	}
	if n.Capabilities, err = capabilities(status["CapEff"]); err != nil {
		return n, err
	}
	if n.MinOOMScoreAdj, err = minOOMScoreAdj(root, n.Capabilities); err != nil {
		return n, err
	}
	n.Seccomp = status["Seccomp"] != "" && exists(root, "proc/sys/kernel/seccomp/actions_avail")
	n.AbsentABIs = absentABIs(root)
	enabled, _ := os.ReadFile(filepath.Join(root, "sys/module/apparmor/parameters/enabled"))
	n.AppArmor.Enabled = strings.TrimSpace(string(enabled)) == "Y"
	n.SELinux = selinux(root)
	n.MaskedPaths, _ = filepath.Glob(filepath.Join(root, "sys/devices/system/cpu/cpu[0-9]*/thermal_throttle"))
	slices.Sort(n.MaskedPaths)
	n.RecursiveReadOnly = kernelAtLeast(5, 12)
	return n, cgroups(root, &n)
}

// cgroups fills in what depends on the kernel's cgroups.
func cgroups(root string, n *oci.Node) error {
	const mount = "sys/fs/cgroup"
	n.CgroupV2 = exists(root, mount, "cgroup.controllers")
	hugetlb := exists(root, mount, "hugetlb/cgroup.procs")
	if n.CgroupV2 {
		controllers, err := os.ReadFile(filepath.Join(root, mount, "cgroup.controllers"))
		if err != nil {
			return err
		}
		hugetlb = slices.Contains(strings.Fields(string(controllers)), "hugetlb")
		// The root cgroup has no such file, every other with the controller does.
		swap, _ := filepath.Glob(filepath.Join(root, mount, "*/memory.swap.max"))
		n.Swap = len(swap) > 0
		if n.CgroupFlags, err = cgroupFlags(filepath.Join(root, "proc/self/mountinfo")); err != nil {
			return err
		}
	} else {
		n.Swap = exists(root, mount, "memory/memory.memsw.limit_in_bytes")
	}
	if !hugetlb {
		return nil
	}
	sizes, err := os.ReadDir(filepath.Join(root, "sys/kernel/mm/hugepages"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, s := range sizes { // hugepages-2048kB
		kb := strings.TrimSuffix(strings.TrimPrefix(s.Name(), "hugepages-"), "kB")
		if size, ok := qos.HugepageSize(v1.ResourceName(v1.ResourceHugePagesPrefix + kb + "Ki")); ok {
			n.HugepageSize = append(n.HugepageSize, size)
		}
	}
	slices.Sort(n.HugepageSize)
	return nil
}

// cgroupFlags returns those of cgroup2's superblock options that a mount from
// the host's cgroup namespace would lose.
func cgroupFlags(file string) ([]string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var flags []string
	for line := range bytes.Lines(data) {
		f := strings.Fields(string(line)) // proc_pid_mountinfo(5)
		if len(f) < 10 || f[4] != "/sys/fs/cgroup" || f[len(f)-3] != "cgroup2" {
			continue
		}
		flags = nil
		for o := range strings.SplitSeq(f[len(f)-1], ",") {
			switch o {
			case "nsdelegate", "memory_recursiveprot", "memory_hugetlb_accounting", "favordynmods", "memory_localevents":
				flags = append(flags, o)
			}
		}
	}
	return flags, nil
}

// Devices returns the host's device nodes for a privileged container, in order
// of path; not those that a container has its own of.
func Devices() ([]specs.LinuxDevice, error) {
	var out []specs.LinuxDevice
	err := filepath.WalkDir("/dev", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		switch {
		case d.IsDir() && slices.Contains([]string{"pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"}, d.Name()):
			return fs.SkipDir
		case d.Type()&fs.ModeDevice == 0 || d.Name() == "console":
			return nil
		}
		dev, err := device(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			out = append(out, dev)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing devices: %w", err)
	}
	return out, nil
}

func device(path string) (specs.LinuxDevice, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return specs.LinuxDevice{}, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	kind := "c"
	if st.Mode&unix.S_IFMT == unix.S_IFBLK {
		kind = "b"
	}
	mode := fs.FileMode(st.Mode & 0o777)
	return specs.LinuxDevice{Path: path, Type: kind, Major: int64(unix.Major(st.Rdev)), Minor: int64(unix.Minor(st.Rdev)),
		FileMode: &mode, UID: &st.Uid, GID: &st.Gid}, nil
}

func memoryTotal(file string) (int64, error) {
	f, err := fields(file)
	if err != nil {
		return 0, err
	}
	kb, err := strconv.ParseInt(strings.TrimSuffix(f["MemTotal"], " kB"), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: MemTotal: %w", file, err)
	}
	return kb << 10, nil
}

// capabilities turns CapEff's hexadecimal digits into names.
func capabilities(mask string) ([]string, error) {
	bits, err := strconv.ParseUint(mask, 16, 64)
	if err != nil {
		return nil, fmt.Errorf("CapEff: %w", err)
	}
	var names []string
	for i, name := range oci.Capabilities {
		if bits&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names, nil
}

// minOOMScoreAdj is -1000 for who may lower it at will. Without
// CAP_SYS_RESOURCE the kernel refuses less than what was set last with it; one's
// own value is the least that is sure to work.
func minOOMScoreAdj(root string, caps []string) (int, error) {
	if slices.Contains(caps, "CAP_SYS_RESOURCE") {
		return -1000, nil
	}
	b, err := os.ReadFile(filepath.Join(root, "proc/self/oom_score_adj"))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
}

// fields reads a file of "Name: value" lines.
func fields(file string) (map[string]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	out := map[string]string{}
	s := bufio.NewScanner(f)
	for s.Scan() {
		if name, value, ok := strings.Cut(s.Text(), ":"); ok {
			out[name] = strings.TrimSpace(value)
		}
	}
	return out, s.Err()
}

func kernelAtLeast(major, minor int) bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	var x, y int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &x, &y); err != nil {
		return false
	}
	return x > major || (x == major && y >= minor)
}

func exists(elem ...string) bool {
	_, err := os.Lstat(filepath.Join(elem...))
	return err == nil
}
