package oci

import (
	"fmt"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	v1 "k8s.io/api/core/v1"
)

// hostShm is what a pod of the host's IPC namespace has as /dev/shm.
const hostShm = "/dev/shm"

// mounts returns everything that is mounted over the root, parents before
// children, and the propagation that the root needs for it.
func (b *builder) mounts() ([]specs.Mount, string, error) {
	volumes, propagation, err := b.volumes()
	if err != nil {
		return nil, "", err
	}
	taken := map[string]bool{}
	for _, m := range volumes {
		taken[m.Destination] = true
	}
	var all []specs.Mount
	ours := map[string]bool{}
	for _, m := range b.systemMounts() {
		// The runtime's own give way to a volume at their place or above.
		if !hidden(m.Destination, taken) {
			ours[m.Destination] = true
			all = append(all, m)
		}
	}
	for _, m := range b.podFiles() {
		// The pod's own files give way only to a volume at the very same place.
		if ours[m.Destination] { // only the termination log's place is free
			return nil, "", config(b.field("terminationMessagePath"), "name a file of its own", "%s is taken", m.Destination)
		}
		if !taken[m.Destination] {
			ours[m.Destination] = true
			all = append(all, m)
		}
	}
	all = append(all, volumes...)
	slices.SortStableFunc(all, func(x, y specs.Mount) int {
		return depth(x.Destination) - depth(y.Destination)
	})
	return all, propagation, nil
}

func depth(p string) int { return strings.Count(p, "/") }

func hidden(p string, taken map[string]bool) bool {
	for ; p != "/"; p = path.Dir(p) {
		if taken[p] {
			return true
		}
	}
	return false
}

// systemMounts are containerd's defaults, without /run (which CRI leaves out
// too) and with /dev/shm from the sandbox (see podFiles). mqueue is of the IPC
// namespace that the container joins, so the pod's containers share it.
func (b *builder) systemMounts() []specs.Mount {
	mode := "ro"
	if b.sec.privileged {
		mode = "rw"
	}
	sys := mode
	if b.sharesSysfs() {
		sys = "rw" // readonlyPaths has it
	}
	cgroup := []string{"nosuid", "noexec", "nodev", "relatime", mode}
	if b.in.Node.CgroupV2 && !b.cgroupNamespace() {
		// There is one cgroup2 superblock: mounting it in the host's cgroup
		// namespace changes its options for the whole host, so name them all.
		cgroup = append(cgroup, b.in.Node.CgroupFlags...)
	}
	return []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs",
			Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts",
			Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", sys}},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: cgroup},
	}
}

// sharesSysfs tells whether another container of the pod, but not this one, is
// privileged. A network namespace has one sysfs, and whoever mounts it first as
// read-only makes it so for all: then this container must not, and gets its mount
// made read-only afterwards. (A volume in the place of /sys is none of this.)
func (b *builder) sharesSysfs() bool {
	return !b.sec.privileged && b.in.Sandbox.NetNS != "" && slices.ContainsFunc(allContainers(b.pod), Privileged) &&
		!slices.ContainsFunc(b.in.Mounts, func(m Mount) bool { return path.Join("/", m.ContainerPath) == "/sys" })
}

// podFiles are what the pod brings: shared memory and the files made for it.
// hostname and resolv.conf follow the root's being read-only, as in CRI; hosts
// and the termination log stay writable, as in kubelet.
func (b *builder) podFiles() []specs.Mount {
	mode := "rw"
	if b.sec.readOnlyRoot {
		mode = "ro"
	}
	shm := b.in.Sandbox.ShmPath
	if shm == "" {
		shm = hostShm
	}
	log := b.c.TerminationMessagePath
	if log == "" {
		log = v1.TerminationMessagePathDefault
	}
	var out []specs.Mount
	for _, f := range []struct{ src, dst, mode string }{
		{shm, "/dev/shm", "rw"},
		{b.in.Files.Hosts, "/etc/hosts", "rw"},
		{b.in.Files.Hostname, "/etc/hostname", mode},
		{b.in.Files.ResolvConf, "/etc/resolv.conf", mode},
		{b.in.Files.TerminationLog, path.Join("/", log), "rw"},
	} {
		if f.src != "" && f.dst != "/" {
			out = append(out, specs.Mount{Destination: f.dst, Type: "bind", Source: f.src,
				Options: []string{"rbind", "rprivate", f.mode}})
		}
	}
	return out
}

// NewMount returns a volumeMount with its volume at hostPath. What the node fills
// with a pod's configuration (configMap, secret, downwardAPI, projected) is
// read-only whatever the volumeMount says, as in kubelet, and recursiveReadOnly
// IfPossible is what the node can.
func NewMount(pod *v1.Pod, m v1.VolumeMount, hostPath string, node Node) Mount {
	out := Mount{HostPath: hostPath, ContainerPath: m.MountPath, ReadOnly: m.ReadOnly}
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if v.Name == m.Name && (v.ConfigMap != nil || v.Secret != nil || v.DownwardAPI != nil || v.Projected != nil) {
			out.ReadOnly = true
		}
	}
	if m.MountPropagation != nil {
		out.Propagation = *m.MountPropagation
	}
	if r := m.RecursiveReadOnly; r != nil {
		out.RecursiveReadOnly = *r == v1.RecursiveReadOnlyEnabled || *r == v1.RecursiveReadOnlyIfPossible && node.RecursiveReadOnly
	}
	return out
}

// volumes turns the container's volumes into binds and says which propagation
// the root needs for them.
func (b *builder) volumes() ([]specs.Mount, string, error) {
	var out []specs.Mount
	var root string
	seen := map[string]bool{}
	for _, m := range b.in.Mounts {
		dst := path.Join("/", m.ContainerPath)
		field := b.field("volumeMounts[%q]", m.ContainerPath)
		switch {
		case dst == "/":
			return nil, "", config(field, "mount it below the root", "a volume cannot be mounted at /")
		case strings.ContainsAny(dst+m.HostPath, "\x00"):
			return nil, "", config(field, "", "a path cannot hold a NUL")
		case seen[dst]:
			return nil, "", config(field, "mount each volume at a place of its own", "another volume is mounted at %s", dst)
		}
		seen[dst] = true
		options := []string{"rbind"}
		switch m.Propagation {
		case "", v1.MountPropagationNone:
			options = append(options, "rprivate")
		case v1.MountPropagationBidirectional:
			options, root = append(options, "rshared"), "rshared"
		case v1.MountPropagationHostToContainer:
			options = append(options, "rslave")
			if root == "" {
				root = "rslave"
			}
		default:
			return nil, "", config(field, "use None, HostToContainer or Bidirectional", "unknown mountPropagation %q", string(m.Propagation))
		}
		mode, err := b.mountMode(m)
		if err != nil {
			return nil, "", err
		}
		out = append(out, specs.Mount{Destination: dst, Type: "bind", Source: m.HostPath, Options: append(options, mode)})
	}
	return out, root, nil
}

// mountMode tells how a volume is mounted. Its errors have kubelet's texts.
func (b *builder) mountMode(m Mount) (string, error) {
	refuse := func(remedy, why string) (string, error) {
		return "", config("", remedy, "failed to resolve recursive read-only mode: volume %q requested recursive read-only mode, but it is %s",
			b.volumeAt(m.ContainerPath), why)
	}
	switch {
	case !m.RecursiveReadOnly && m.ReadOnly:
		return "ro", nil
	case !m.RecursiveReadOnly:
		return "rw", nil
	case !m.ReadOnly:
		return refuse("set readOnly: true", "not read-only")
	case m.Propagation != "" && m.Propagation != v1.MountPropagationNone:
		return refuse("set mountPropagation: None", fmt.Sprintf("not compatible with propagation %q", string(m.Propagation)))
	case !b.in.Node.RecursiveReadOnly:
		return refuse("use IfPossible or Disabled", "not supported by the runtime")
	}
	return "rro", nil
}

// volumeAt returns the name of the volume that the container mounts at a path, or
// the path.
func (b *builder) volumeAt(containerPath string) string {
	for _, m := range b.c.VolumeMounts {
		if m.MountPath == containerPath {
			return m.Name
		}
	}
	return containerPath
}
