package cgroup

import (
	"os"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCapacity(t *testing.T) {
	root := t.TempDir()
	for file, content := range map[string]string{
		"proc/meminfo":                                             "MemTotal:       2048 kB\nHugePages_Total:       0\nSwapTotal:       1024 kB\n",
		"proc/sys/kernel/pid_max":                                  "4194304\n",
		"proc/sys/kernel/threads-max":                              "30000\n",
		"sys/fs/cgroup/cgroup.type/file":                           "",
		"sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages":    "8\n",
		"sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages": "0\n",
	} {
		file = filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := readCapacity(root)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{"swap": strconv.FormatInt(c.Swap, 10), "v2": strconv.FormatBool(c.V2)}
	for name, q := range c.Resources {
		got[string(name)] = q.String()
	}
	want := map[string]string{"swap": "1048576", "v2": "false", "cpu": strconv.Itoa(goruntime.NumCPU()), "memory": "2Mi",
		"pid": "30k", "hugepages-2Mi": "16Mi", "hugepages-1Gi": "0"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if _, err := ReadCapacity(); err != nil {
		t.Errorf("this machine: %v", err)
	}
	if err := os.Remove(filepath.Join(root, "proc/meminfo")); err != nil {
		t.Fatal(err)
	}
	if _, err := readCapacity(root); err == nil {
		t.Error("a node without /proc/meminfo has a capacity")
	}
}
