package oci

import (
	"path"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/cgroup/qos"
)

const ociVersion = "1.0.2"

// builder is one call of Spec.
type builder struct {
	in    Input
	pod   *v1.Pod
	c     *v1.Container
	image runtime.Image
	sec   security
}

// Spec returns the container's runtime spec, complete but for Root.Path (which
// is "rootfs", relative to the bundle) and the annotations of the shim group.
func Spec(in Input) (*specs.Spec, error) {
	b, err := newBuilder(in)
	if err != nil {
		return nil, err
	}
	args, err := b.args()
	if err != nil {
		return nil, err
	}
	env, err := b.environment()
	if err != nil {
		return nil, err
	}
	user, err := b.user()
	if err != nil {
		return nil, err
	}
	caps, err := b.capabilities()
	if err != nil {
		return nil, err
	}
	mounts, propagation, err := b.mounts()
	if err != nil {
		return nil, err
	}
	res, err := b.resources()
	if err != nil {
		return nil, err
	}
	seccomp, err := b.seccomp(caps)
	if err != nil {
		return nil, err
	}
	apparmor, err := b.apparmor()
	if err != nil {
		return nil, err
	}
	process, files, err := b.selinux()
	if err != nil {
		return nil, err
	}
	score, _ := OOMScoreAdj(b.pod, b.c, in.Node)
	spec := &specs.Spec{
		Version: ociVersion,
		Root:    &specs.Root{Path: "rootfs", Readonly: b.sec.readOnlyRoot},
		Process: &specs.Process{
			Terminal: b.c.TTY,
			User:     user,
			Args:     args,
			Env:      env,
			Cwd:      b.workingDir(),
			Capabilities: &specs.LinuxCapabilities{
				Bounding: caps, Effective: slices.Clone(caps), Permitted: slices.Clone(caps)},
			NoNewPrivileges: b.sec.noNewPrivileges,
			ApparmorProfile: apparmor,
			SelinuxLabel:    process,
			OOMScoreAdj:     &score,
		},
		Mounts: mounts,
		Linux: &specs.Linux{
			Resources:         res,
			CgroupsPath:       qos.SpecPath(in.CgroupPath),
			Namespaces:        b.namespaces(),
			Seccomp:           seccomp,
			RootfsPropagation: propagation,
			MountLabel:        files,
			MaskedPaths:       b.maskedPaths(),
			ReadonlyPaths:     b.readonlyPaths(),
		},
	}
	if b.sec.privileged {
		spec.Linux.Devices = slices.Clone(in.Node.Devices)
	}
	return spec, nil
}

func newBuilder(in Input) (*builder, error) {
	b := &builder{in: in, pod: in.Pod, c: in.Container}
	if b.pod == nil || b.c == nil {
		return nil, config("", "", "building a spec without a pod or container")
	}
	if in.Sandbox == nil {
		return nil, create("", "", "pod %q has no sandbox", b.podName())
	}
	if in.Image != nil {
		b.image = *in.Image
	}
	if in.Sandbox.UserNS != "" || (b.pod.Spec.HostUsers != nil && !*b.pod.Spec.HostUsers) {
		return nil, unsupported("spec.hostUsers", "leave it out or set it to true")
	}
	if err := b.checkSandbox(); err != nil {
		return nil, err
	}
	var err error
	b.sec, err = b.effective()
	return b, err
}

// checkSandbox makes sure that only a pod that asks for the host's namespaces
// gets them: an absent path means the host's, and must not be an accident.
func (b *builder) checkSandbox() error {
	s, p := b.in.Sandbox, b.pod.Spec
	shared := p.ShareProcessNamespace != nil && *p.ShareProcessNamespace
	for _, need := range []struct {
		what, path string
		host       bool
	}{
		{"network namespace", s.NetNS, p.HostNetwork},
		{"UTS namespace", s.UTSNS, p.HostNetwork},
		{"IPC namespace", s.IPCNS, p.HostIPC},
		{"/dev/shm", s.ShmPath, p.HostIPC},
		{"PID namespace", s.PIDNS, !shared || p.HostPID},
	} {
		if need.path == "" && !need.host {
			return create("", "", "the sandbox of pod %q has no %s", b.podName(), need.what)
		}
	}
	return nil
}

// podName is how kubelet writes a pod in messages.
func (b *builder) podName() string {
	return b.pod.Name + "_" + b.pod.Namespace + "(" + string(b.pod.UID) + ")"
}

// workingDir is the container's, else the image's, else the root.
func (b *builder) workingDir() string {
	for _, dir := range []string{b.c.WorkingDir, b.image.Config.WorkingDir} {
		if dir != "" {
			return path.Join("/", dir)
		}
	}
	return "/"
}

// namespaces lists what the container does not share with the host. An entry
// without a path is a new namespace.
func (b *builder) namespaces() []specs.LinuxNamespace {
	ns := []specs.LinuxNamespace{{Type: specs.MountNamespace}}
	s := b.in.Sandbox
	for _, shared := range []specs.LinuxNamespace{
		{Type: specs.NetworkNamespace, Path: s.NetNS},
		{Type: specs.IPCNamespace, Path: s.IPCNS},
		{Type: specs.UTSNamespace, Path: s.UTSNS},
	} {
		if shared.Path != "" {
			ns = append(ns, shared)
		}
	}
	if !b.pod.Spec.HostPID {
		pid := s.PIDNS
		if pid == "" {
			pid = b.in.TargetPIDNS
		}
		ns = append(ns, specs.LinuxNamespace{Type: specs.PIDNamespace, Path: pid})
	}
	if b.cgroupNamespace() {
		ns = append(ns, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	}
	return ns
}

func (b *builder) cgroupNamespace() bool { return b.in.Node.CgroupV2 && !b.sec.privileged }

// StopSignal returns the signal that asks the container to stop, as it was
// written ("SIGTERM", "TERM", "15"): the container's lifecycle.stopSignal, else
// the image's STOPSIGNAL, else SIGTERM. image may be nil.
func StopSignal(c *v1.Container, image *runtime.Image) string {
	if c != nil && c.Lifecycle != nil && c.Lifecycle.StopSignal != nil && *c.Lifecycle.StopSignal != "" {
		return string(*c.Lifecycle.StopSignal)
	}
	if image != nil && image.Config.StopSignal != "" {
		return image.Config.StopSignal
	}
	return "SIGTERM"
}
