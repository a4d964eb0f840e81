package agent

import (
	"context"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/pods/record"
	"github.com/davit-agent/davit/agent/report"
	"github.com/davit-agent/davit/runtime/oci/facts"
)

// nodeInfo tells of the node; it is what server.NodeInfo asks for.
type nodeInfo struct {
	facts     report.NodeFacts // what does not change while davit runs
	resources *resources
	stateDir  string
	health    func() error
	// runtimeVersion asks containerd.
	runtimeVersion func(context.Context) (string, error)

	mu      sync.Mutex
	trouble string // as last told
	since   time.Time
	runtime string // containerd's version, as last told
}

// newNodeInfo reads what does not change.
func newNodeInfo(cfg Config, res *resources, version string, health func() error, runtimeVersion func(context.Context) (string, error)) (*nodeInfo, error) {
	node, err := facts.Read()
	if err != nil {
		return nil, err
	}
	boot, err := record.BootID()
	if err != nil {
		return nil, err
	}
	n := &nodeInfo{resources: res, stateDir: cfg.StateDir, health: health, runtimeVersion: runtimeVersion, since: time.Now()}
	n.facts = report.NodeFacts{
		Name: cfg.NodeName, Hostname: node.Hostname, Addresses: cfg.NodeIPs, PodCIDRs: cfg.Network.PodCIDRs,
		Created: birth(filepath.Join(cfg.StateDir, "pods")),
		CPUs:    goruntime.NumCPU(), Memory: node.MemoryTotal, MaxPods: cfg.MaxPods,
		System: v1.NodeSystemInfo{
			MachineID: firstOf("/etc/machine-id", "/var/lib/dbus/machine-id"),
			BootID:    boot, SystemUUID: strings.ToLower(firstOf("/sys/class/dmi/id/product_uuid", "/etc/machine-id")),
			KernelVersion: firstOf("/proc/sys/kernel/osrelease"), OSImage: osImage("/etc/os-release", "/usr/lib/os-release"),
			KubeletVersion: version, OperatingSystem: goruntime.GOOS, Architecture: goruntime.GOARCH,
		},
	}
	return n, nil
}

// Node implements server.NodeInfo.
func (n *nodeInfo) Node(ctx context.Context) (*v1.Node, error) {
	trouble := ""
	if err := n.health(); err != nil {
		trouble = err.Error()
	}
	version, err := n.runtimeVersion(ctx)
	var fs unix.Statfs_t
	disk := int64(0)
	if unix.Statfs(n.stateDir, &fs) == nil {
		disk = int64(fs.Blocks) * fs.Bsize
	}
	now := time.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	if err == nil {
		n.runtime = "containerd://" + strings.TrimPrefix(version, "v")
	}
	if (trouble == "") != (n.trouble == "") {
		n.since = now
	}
	n.trouble = trouble
	f := n.facts
	f.Disk, f.Trouble, f.Since, f.System.ContainerRuntimeVersion = disk, trouble, n.since, n.runtime
	node := report.Node(f, now)
	n.resources.describe(&node.Status)
	return node, nil
}

// firstOf returns the content of the first of these files that has one.
func firstOf(files ...string) string {
	for _, file := range files {
		if data, err := os.ReadFile(file); err == nil && len(strings.TrimSpace(string(data))) > 0 {
			return strings.TrimSpace(string(data))
		}
	}
	return ""
}

// osImage returns the PRETTY_NAME of os-release(5).
func osImage(files ...string) string {
	for line := range strings.Lines(firstOf(files...)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); ok {
			return strings.Trim(name, `"'`)
		}
	}
	return ""
}

// birth returns when a file was made; zero where the file system does not tell.
func birth(path string) time.Time {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_BTIME, &st); err != nil || st.Mask&unix.STATX_BTIME == 0 {
		return time.Time{}
	}
	return time.Unix(st.Btime.Sec, int64(st.Btime.Nsec)).Truncate(time.Second)
}
