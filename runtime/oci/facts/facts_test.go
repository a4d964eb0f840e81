package facts

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/runtime/oci"
)

// What is read of this machine agrees with what the kernel lets this process do.
func TestThisMachine(t *testing.T) {
	n, err := Read()
	if err != nil {
		t.Fatal(err)
	}
	if n.MemoryTotal < 64<<20 || n.Hostname == "" || !n.Seccomp {
		t.Errorf("implausible: %+v", n)
	}
	if !slices.Contains(n.Capabilities, "CAP_SYS_ADMIN") {
		t.Errorf("no CAP_SYS_ADMIN in %v: run the tests as root", n.Capabilities)
	}
	// oom_score_adj can be set to the minimum, and to no less without the
	// capability (the thread group's value is put back).
	const file = "/proc/self/oom_score_adj"
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(file, old, 0); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(file, []byte("500"), 0); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strconv.Itoa(n.MinOOMScoreAdj)), 0); err != nil {
		t.Errorf("setting oom_score_adj to the minimum %d: %v", n.MinOOMScoreAdj, err)
	}
	devices, err := Devices()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(devices, func(d specs.LinuxDevice) bool { return d.Path == "/dev/null" })
	if i < 0 {
		t.Fatal("no /dev/null")
	}
	if d := devices[i]; d.Type != "c" || d.Major != 1 || d.Minor != 3 || *d.FileMode != 0o666 {
		t.Errorf("%+v", d)
	}
	for _, d := range devices {
		if strings.HasPrefix(d.Path, "/dev/pts/") || d.Path == "/dev/console" {
			t.Errorf("%s is among the devices", d.Path)
		}
	}
}

func TestReadFiles(t *testing.T) {
	common := map[string]string{
		"proc/meminfo":                               "MemTotal:       16384 kB\nMemFree: 1 kB\n",
		"proc/self/oom_score_adj":                    "-5\n",
		"proc/self/mountinfo":                        "",
		"sys/kernel/mm/hugepages/hugepages-2048kB/x": "", "sys/kernel/mm/hugepages/hugepages-1048576kB/x": "",
	}
	for name, c := range map[string]struct {
		files map[string]string
		want  oci.Node
	}{
		"v1, restricted": {map[string]string{
			"proc/self/status": "CapEff:\t0000000000000401\nSeccomp:\t0\n",
			"sys/fs/cgroup/memory/memory.memsw.limit_in_bytes": "", "sys/fs/cgroup/memory/cgroup.procs": "",
		}, oci.Node{Swap: true, MinOOMScoreAdj: -5, Capabilities: []string{"CAP_CHOWN", "CAP_NET_BIND_SERVICE"}}},
		"v2": {map[string]string{
			"proc/self/status": "CapEff:\t0000000001000000\nSeccomp:\t0\n",
			"proc/self/mountinfo": "25 30 0:23 / /sys rw,nosuid shared:7 - sysfs sysfs rw\n" +
				"31 25 0:27 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n",
			"proc/sys/kernel/seccomp/actions_avail":            "kill\n",
			"sys/fs/cgroup/cgroup.controllers":                 "cpu memory hugetlb\n",
			"sys/fs/cgroup/init.scope/memory.swap.max":         "max\n",
			"sys/module/apparmor/parameters/enabled":           "Y\n",
			"sys/devices/system/cpu/cpu0/thermal_throttle/x":   "",
			"sys/devices/system/cpu/cpufreq/thermal_throttle/": "",
		}, oci.Node{CgroupV2: true, Swap: true, CgroupFlags: []string{"nsdelegate", "memory_recursiveprot"},
			Capabilities: []string{"CAP_SYS_RESOURCE"}, MinOOMScoreAdj: -1000, Seccomp: true, AppArmor: oci.AppArmor{Enabled: true},
			HugepageSize: []string{"1GB", "2MB"}, MaskedPaths: []string{"/sys/devices/system/cpu/cpu0/thermal_throttle"}}},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for _, files := range []map[string]string{common, c.files} {
				for f, content := range files {
					if err := os.MkdirAll(filepath.Dir(filepath.Join(root, f)), 0o755); err != nil {
						t.Fatal(err)
					}
					if strings.HasSuffix(f, "/") {
						continue
					}
					if err := os.WriteFile(filepath.Join(root, f), []byte(content), 0o600); err != nil {
						t.Fatal(err)
					}
				}
			}
			n, err := read(root)
			if err != nil {
				t.Fatal(err)
			}
			for i := range n.MaskedPaths {
				n.MaskedPaths[i] = strings.TrimPrefix(n.MaskedPaths[i], root)
			}
			c.want.MemoryTotal, c.want.SeccompDefault = 16<<20, v1.SeccompProfileTypeRuntimeDefault
			if d := cmp.Diff(c.want, n, cmpopts.IgnoreFields(oci.Node{}, "Hostname", "Arch", "RecursiveReadOnly", "AbsentABIs")); d != "" {
				t.Error(d)
			}
		})
	}
	if _, err := read(t.TempDir()); err == nil {
		t.Error("a node without /proc passes")
	}
}
