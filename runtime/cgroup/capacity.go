package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/davit-agent/davit/runtime/cgroup/qos"
)

// Capacity is what a node has of what cgroups limit.
type Capacity struct {
	// Resources has cpu, memory, pid (qos.PIDs) and hugepages-<size> for every
	// size that the kernel has, whether there are pages or not.
	Resources v1.ResourceList
	Swap      int64 // bytes
	V2        bool  // the unified hierarchy only
}

// ReadCapacity reads the node's capacity. Huge pages are those of this moment.
func ReadCapacity() (Capacity, error) { return readCapacity("/") }

func readCapacity(root string) (Capacity, error) {
	c := Capacity{V2: exists(filepath.Join(root, defaultMount, "cgroup.controllers"))}
	mem, err := meminfo(filepath.Join(root, "proc/meminfo"))
	if err != nil {
		return c, fmt.Errorf("reading the node's capacity: %w", err)
	}
	c.Swap = mem["SwapTotal"]
	c.Resources = v1.ResourceList{
		v1.ResourceCPU:    *resource.NewQuantity(int64(goruntime.NumCPU()), resource.DecimalSI),
		v1.ResourceMemory: *resource.NewQuantity(mem["MemTotal"], resource.BinarySI),
	}
	// Either of them ends the making of processes and threads.
	for _, file := range []string{"pid_max", "threads-max"} {
		n, err := number(filepath.Join(root, "proc/sys/kernel", file))
		if err != nil {
			return c, fmt.Errorf("reading the node's capacity: %w", err)
		}
		if have, ok := c.Resources[qos.PIDs]; !ok || n < have.Value() {
			c.Resources[qos.PIDs] = *resource.NewQuantity(n, resource.DecimalSI)
		}
	}
	dirs, _ := filepath.Glob(filepath.Join(root, "sys/kernel/mm/hugepages/hugepages-*kB"))
	for _, dir := range dirs {
		kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimPrefix(filepath.Base(dir), "hugepages-"), "kB"), 10, 64)
		if err != nil {
			continue
		}
		pages, err := number(filepath.Join(dir, "nr_hugepages"))
		if err != nil {
			return c, fmt.Errorf("reading the node's capacity: %w", err)
		}
		name := v1.ResourceHugePagesPrefix + resource.NewQuantity(kb<<10, resource.BinarySI).String()
		c.Resources[v1.ResourceName(name)] = *resource.NewQuantity(pages*kb<<10, resource.BinarySI)
	}
	return c, nil
}

// meminfo returns the bytes of proc_meminfo(5).
func meminfo(file string) (map[string]int64, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	out := map[string]int64{}
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line) // MemTotal: 16384 kB
		if len(f) != 3 || f[2] != "kB" {
			continue
		}
		if kb, err := strconv.ParseInt(f[1], 10, 64); err == nil {
			out[strings.TrimSuffix(f[0], ":")] = kb << 10
		}
	}
	if out["MemTotal"] == 0 {
		return nil, fmt.Errorf("%s has no MemTotal", file)
	}
	return out, nil
}

func number(file string) (int64, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", file, err)
	}
	return n, nil
}
