package specs

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"
	ocispec "github.com/opencontainers/runtime-spec/specs-go"
	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/oci"
	"github.com/davit-agent/davit/runtime/sandbox"
	"github.com/davit-agent/davit/test/testbed"
)

// audit is a seccomp profile as administrators have them.
const audit = `{
	"comment": "who calls what",
	"defaultAction": "SCMP_ACT_LOG",
	"architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
	"syscalls": [
		{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5, "comment": "none"},
		{"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 1, "valueTwo": 0, "op": "SCMP_CMP_EQ"}]}
	]
}`

// profiles are kubelet's seccomp profiles.
var profiles = map[string]string{
	"profiles/audit.json": audit,
	"cut-off.json":        audit[:100],
	"listener.json":       `{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/nonexistent", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}`,
	"unknown-action.json": `{"defaultAction": "SCMP_ACT_SING"}`,
}

// podImages are what davit knows of Images, by their names.
func podImages(t *testing.T) map[string]*runtime.Image {
	t.Helper()
	out := map[string]*runtime.Image{}
	for _, spec := range Images {
		img := testbed.Image(t, spec)
		config, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		c := config.Config
		r := mutate.Extract(img)
		out[spec.Name] = &runtime.Image{
			Config: imagespec.ImageConfig{User: c.User, Env: c.Env, Entrypoint: c.Entrypoint, Cmd: c.Cmd, WorkingDir: c.WorkingDir},
			Passwd: inTar(t, mutate.Extract(img), "etc/passwd"), Group: inTar(t, r, "etc/group"),
		}
	}
	return out
}

func inTar(t *testing.T, r io.ReadCloser, name string) []byte {
	t.Helper()
	defer r.Close()
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if err != nil {
			t.Fatalf("looking for %s: %v", name, err)
		}
		if strings.TrimPrefix(h.Name, "/") == name {
			data, err := io.ReadAll(tr)
			if err != nil {
				t.Fatal(err)
			}
			return data
		}
	}
}

// recordedNode is the node of the goldens. kubelet's seccompDefault is off unless
// it is told otherwise.
func recordedNode(t *testing.T) oci.Node {
	t.Helper()
	var f NodeFacts
	if err := Load("goldens/node.json", &f); err != nil {
		t.Fatal(err)
	}
	return oci.Node{
		Hostname: thisMachine, Arch: f.Arch, CgroupV2: f.CgroupV2, CgroupFlags: f.CgroupFlags, Capabilities: f.Capabilities, MaskedPaths: f.MaskedPaths,
		Seccomp: f.Seccomp, SeccompDefault: v1.SeccompProfileTypeUnconfined, MemoryTotal: 16 << 30, MinOOMScoreAdj: -1000,
		Devices: []ocispec.LinuxDevice{{Path: "/dev/of-the-host"}}, SeccompLocalhost: oci.SeccompLocalhost{Root: "/kubelet/seccomp"},
	}
}

// davit returns what davit would give to the runtime for a container.
func davit(node oci.Node, image *runtime.Image, pod *v1.Pod, c *v1.Container) (*ocispec.Spec, error) {
	in := oci.Input{
		Pod: pod, Container: c, Image: image, Sandbox: &runtime.Sandbox{UID: "uid"}, Node: node,
		Files: oci.Files{Hosts: "/h", Hostname: "/n", ResolvConf: "/r", TerminationLog: "/t"},
	}
	if name := oci.LocalhostProfile(pod, c); profiles[name] != "" {
		in.Node.SeccompLocalhost.Profile = []byte(profiles[name])
	}
	var err error
	if in.Hostname, err = oci.Nodename(pod, "cluster.local"); err != nil {
		return nil, err
	}
	s := pod.Spec
	if !s.HostNetwork {
		in.Sandbox.NetNS, in.Sandbox.UTSNS = "/net", "/uts"
	}
	if !s.HostIPC {
		in.Sandbox.IPCNS, in.Sandbox.ShmPath = "/ipc", "/shm"
	}
	if s.ShareProcessNamespace != nil && *s.ShareProcessNamespace {
		in.Sandbox.PIDNS = "/pid"
	}
	for _, m := range c.VolumeMounts {
		in.Mounts = append(in.Mounts, oci.NewMount(pod, m, "/volume", node))
	}
	return oci.Spec(in)
}

// purposes are the differences on purpose: each changes what kubelet has into what
// davit has, and tells whether there was anything to be changed.
var purposes = []struct {
	why  string
	make func(pod *v1.Pod, c *v1.Container, want *Spec) bool
}{
	{"containerd's pause container mounts a privileged pod's sysfs writable before all others; without one, a container that is not privileged " +
		"would make it read-only for those that are, so its /sys is mounted writable and then made read-only",
		func(pod *v1.Pod, c *v1.Container, want *Spec) bool {
			if oci.Privileged(c) || pod.Spec.HostNetwork || !slices.ContainsFunc(pod.Spec.Containers, func(c v1.Container) bool { return oci.Privileged(&c) }) {
				return false
			}
			for _, m := range want.Mounts {
				if i := slices.Index(m.Options, "ro"); m.Destination == "/sys" && i >= 0 {
					m.Options[i] = "rw"
				}
			}
			want.Linux.ReadonlyPaths = append(want.Linux.ReadonlyPaths, "/sys")
			return true
		}},
	{"what is the host's is joined through containerd's pause container; davit has none, and leaves the namespace out",
		func(pod *v1.Pod, _ *v1.Container, want *Spec) bool {
			host := map[ocispec.LinuxNamespaceType]bool{ocispec.NetworkNamespace: pod.Spec.HostNetwork, ocispec.UTSNamespace: pod.Spec.HostNetwork,
				ocispec.PIDNamespace: pod.Spec.HostPID, ocispec.IPCNamespace: pod.Spec.HostIPC}
			before := len(want.Linux.Namespaces)
			want.Linux.Namespaces = slices.DeleteFunc(want.Linux.Namespaces, func(n ocispec.LinuxNamespace) bool { return host[n.Type] && n.Path != "" })
			return len(want.Linux.Namespaces) < before
		}},
	{"moby's newer profile keeps sockets of more families from containers than AF_VSOCK alone: AF_ALG is an interface to the kernel's crypto with a history of holes",
		func(_ *v1.Pod, _ *v1.Container, want *Spec) bool {
			if want.seccomp["socket"] != "SCMP_ACT_ALLOW if 0 SCMP_CMP_NE 40 0" {
				return false
			}
			var rules []string
			for _, family := range []int{39, 41, 42, 43, 44, 45} {
				rules = append(rules, fmt.Sprintf("SCMP_ACT_ALLOW if 0 SCMP_CMP_EQ %d 0", family))
			}
			want.seccomp["socket"] = strings.Join(append(rules, "SCMP_ACT_ALLOW if 0 SCMP_CMP_LT 38 0"), "; ")
			return true
		}},
	{"moby's profile names a call of RISC-V on all architectures",
		func(_ *v1.Pod, _ *v1.Container, want *Spec) bool {
			if want.seccomp["socket"] == "" || want.seccomp[""] != "SCMP_ACT_ERRNO 1" {
				return false
			}
			want.seccomp["riscv_hwprobe"] = "SCMP_ACT_ALLOW"
			return true
		}},
}

// Each container of each pod has what a real kubelet and containerd give it.
func TestSpecs(t *testing.T) {
	pods, err := Pods("pods.yaml")
	if err != nil {
		t.Fatal(err)
	}
	node, images := recordedNode(t), podImages(t)
	var filters []Filter
	if err := Load("goldens/seccomp.json", &filters); err != nil {
		t.Fatal(err)
	}
	met := make([]bool, len(purposes))
	for _, pod := range pods {
		var g Golden
		if err := Load(filepath.Join("goldens", pod.Name+".json"), &g); err != nil {
			t.Fatal(err)
		}
		if len(g.Containers) != len(pod.Spec.Containers) {
			t.Errorf("%s: the golden has %d containers of %d: record it anew", pod.Name, len(g.Containers), len(pod.Spec.Containers))
		}
		for i := range g.Pod.Spec.Containers {
			c := &g.Pod.Spec.Containers[i]
			t.Run(pod.Name+"/"+c.Name, func(t *testing.T) {
				spec, err := davit(node, images[c.Image], g.Pod, c)
				if err != nil {
					t.Fatal(err)
				}
				got, err := Normal(spec)
				if err != nil {
					t.Fatal(err)
				}
				want := g.Containers[c.Name]
				if got.AllDevices = len(got.devices) > 0; want.Seccomp != "" {
					var i int
					if _, err := fmt.Sscan(want.Seccomp, &i); err != nil || i >= len(filters) {
						t.Fatalf("filter %s: %v", want.Seccomp, err)
					}
					want.seccomp = maps.Clone(filters[i])
				}
				for i, p := range purposes {
					met[i] = p.make(g.Pod, c, want) || met[i]
				}
				slices.Sort(want.Linux.ReadonlyPaths)
				got.Seccomp = want.Seccomp
				if d := cmp.Diff(want, got, cmpopts.IgnoreFields(Spec{}, "devices"), cmp.AllowUnexported(Spec{}), cmpopts.EquateEmpty()); d != "" {
					t.Errorf("(-kubelet +davit)\n%s", d)
				}
				if d := cmp.Diff(g.Users[c.Name], oci.UserOf(spec)); d != "" {
					t.Errorf("status.user (-kubelet +davit)\n%s", d)
				}
			})
		}
	}
	for i, p := range purposes {
		if !met[i] {
			t.Errorf("a difference on purpose is gone: %s", p.why)
		}
	}
}

// What kubelet refuses davit refuses, in the same words.
func TestRefusals(t *testing.T) {
	pods, err := Pods("refused.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Refusal{}
	if err := Load("goldens/refused.json", &want); err != nil {
		t.Fatal(err)
	}
	sysctls, err := sandbox.AllowSysctls([]string{"kernel.msg*"})
	if err != nil {
		t.Fatal(err)
	}
	// davit refuses these, too, on purpose.
	more := map[string]string{
		"capability-unknown":       "CreateContainerConfigError: spec.containers[\"c\"].securityContext.capabilities.add[0]: unknown capability \"FLY\"",             // ignored by containerd
		"capability-not-to-be-had": "CreateContainerError: spec.containers[\"c\"].securityContext.capabilities.add[0]: capability CAP_SYS_RESOURCE is not to be had", // fails in runc
		"selinux":                  "CreateContainerError: spec.containers[\"c\"].securityContext.seLinuxOptions: cannot enforce SELinux",                            // ignored by containerd
		"seccomp-listener":         "CreateContainerError: decoding seccomp profile failed \"/kubelet/seccomp/listener.json\": listenerPath and listenerMetadata are not allowed",
		"seccomp-unknown-action":   "CreateContainerError: decoding seccomp profile failed \"/kubelet/seccomp/unknown-action.json\": defaultAction: unknown action SCMP_ACT_SING", // fails in runc
		// The file is read at the rim: package facts has its words.
		"seccomp-missing": "CreateContainerError: cannot load seccomp profile \"/kubelet/seccomp/missing.json\"",
	}
	node, images := recordedNode(t), podImages(t)
	for _, pod := range pods {
		w, ok := want[pod.Name]
		if !ok {
			t.Errorf("%s: no golden: record it anew", pod.Name)
			continue
		}
		pod.UID, pod.Namespace = "uid", "default"
		reason, message := sysctls.Admit(pod)
		if reason == "" {
			reason, message = oci.AdmitAppArmor(pod, node.AppArmor)
		}
		if reason != "" || w.Reason != "" {
			if reason != w.Reason || "Pod was rejected: "+message != w.Message {
				t.Errorf("%s: %s %q, want %s %q", pod.Name, reason, message, w.Reason, w.Message)
			}
			continue
		}
		_, err := davit(node, images[pod.Spec.Containers[0].Image], pod, &pod.Spec.Containers[0])
		var e *oci.Error
		if !errors.As(err, &e) {
			t.Errorf("%s: %v", pod.Name, err)
			continue
		}
		got := oci.Reason(err) + ": " + err.Error()
		if part, ok := more[pod.Name]; ok {
			if !strings.HasPrefix(got, part) {
				t.Errorf("%s: %s, want %s", pod.Name, got, part)
			}
			continue
		}
		if w.Waiting == nil || !strings.HasPrefix(got, w.Waiting.Reason+": "+strings.TrimPrefix(w.Waiting.Message, "failed to create containerd container: ")) {
			t.Errorf("%s: %s, want %v", pod.Name, got, w.Waiting)
		}
	}
}
