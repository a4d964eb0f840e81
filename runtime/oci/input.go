package oci

import (
	specs "github.com/opencontainers/runtime-spec/specs-go"
	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/runtime"
)

// Input is everything that a container's spec follows from. Spec changes
// nothing of it and keeps no reference to what is in it.
type Input struct {
	Pod       *v1.Pod // as accepted, defaults filled in
	Container *v1.Container
	Image     *runtime.Image // nil: only what the container itself says (a RootFS container)
	Sandbox   *runtime.Sandbox
	Hostname  string  // of the pod, for $HOSTNAME; "" is the node's (hostNetwork)
	Mounts    []Mount // the container's volumeMounts, resolved
	Files     Files
	Env       Env
	// CgroupPath is the container's, absolute in the hierarchy:
	// cgroup.Tree.ContainerPath. "" leaves it to the runtime.
	CgroupPath string
	// TargetPIDNS is the PID namespace of the container that an ephemeral one has
	// as its target; "" is none.
	TargetPIDNS string
	Node        Node
}

// Mount is a volume at its place.
type Mount struct {
	HostPath          string // exists, and is no symbolic link
	ContainerPath     string // a relative one is taken from /, as kubelet does
	ReadOnly          bool
	RecursiveReadOnly bool // resolved: whatever IfPossible came to
	Propagation       v1.MountPropagationMode
}

// Files are host paths of the pod's own files; "" is none.
type Files struct {
	Hosts          string // becomes /etc/hosts
	Hostname       string // becomes /etc/hostname
	ResolvConf     string // becomes /etc/resolv.conf
	TerminationLog string // becomes the container's terminationMessagePath
}

// Env is what of the environment does not stand in the container itself.
type Env struct {
	// From are the variables of envFrom, in order; later ones win, and
	// container.env wins over all of them.
	From []Var
	// Values holds what container.env[i].valueFrom came to, by i. A missing
	// entry is an error unless the reference is optional.
	Values map[int]string
	// Services are those that describe Services: they can be referred to, and
	// are set at the end unless a variable of that name is there already.
	Services []Var
}

// Var is one variable.
type Var struct{ Name, Value string }

// Node is what the spec needs to know of the node; package facts reads it.
type Node struct {
	Hostname     string
	Arch         string // GOARCH
	CgroupV2     bool   // unified only
	CgroupFlags  []string
	Swap         bool  // swap is counted per cgroup
	MemoryTotal  int64 // bytes
	HugepageSize []string
	Settings     Settings // of the configuration
	// MinOOMScoreAdj is the least oom_score_adj that can be given: -1000 with
	// CAP_SYS_RESOURCE, else davit's own.
	MinOOMScoreAdj    int
	Capabilities      []string // that davit has: CAP_CHOWN, ...; what privileged and ALL mean
	Devices           []specs.LinuxDevice
	MaskedPaths       []string // beyond the default ones
	Seccomp           bool     // the kernel filters
	SeccompDefault    v1.SeccompProfileType
	SeccompLocalhost  SeccompLocalhost
	AbsentABIs        []specs.Arch // of the default profile, not run by the kernel: not filtered
	AppArmor          AppArmor
	SELinux           SELinux
	RecursiveReadOnly bool // kernel and runtime can (5.12, runc 1.1)
}

// SeccompLocalhost is what profiles of type Localhost come from.
type SeccompLocalhost struct {
	Root    string // directory that localhostProfile is relative to; absolute
	Profile []byte // content of the file that LocalhostProfile names
}

// AppArmor is what the kernel has of it.
type AppArmor struct {
	Enabled bool
	Loaded  []string // names of profiles
}

// SELinux is what the kernel and its policy say.
type SELinux struct {
	Enabled bool
	// Process and File are the labels that the policy has for containers
	// (lxc_contexts): user:role:type:level.
	Process, File string
}
