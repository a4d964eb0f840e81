package oci_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/cgroup/qos"
	"github.com/davit-agent/davit/runtime/oci"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const passwd = `# users
root:x:0:0:root:/root:/bin/sh
app:x:1000:1001::/home/app:/bin/sh

broken line
+::::::
huge:x:99999999999:1::/:
bin:x:2:2:bin:/bin:/bin/sh
`

const group = `root:x:0:root
app:x:1001:app
app2:x:1002:app,other
wheel:x:10:root,app
empty:x:30:
nonsense
`

func image() *runtime.Image {
	return &runtime.Image{
		Name: "example", Passwd: []byte(passwd), Group: []byte(group),
		Config: imagespec.ImageConfig{
			Entrypoint: []string{"/entry"}, Cmd: []string{"from", "image"}, WorkingDir: "/image",
			Env: []string{"IMAGE=yes", "PATH=/image/bin:/bin", "NOVALUE"}, StopSignal: "SIGQUIT",
		},
	}
}

func node() oci.Node {
	return oci.Node{
		Hostname: "node1", Arch: "amd64", Swap: true, MemoryTotal: 16 << 30, MinOOMScoreAdj: -1000,
		Capabilities: oci.Capabilities, Seccomp: true, SeccompDefault: v1.SeccompProfileTypeRuntimeDefault,
		Devices:     []specs.LinuxDevice{{Path: "/dev/sda", Type: "b", Major: 8}},
		MaskedPaths: []string{"/sys/devices/system/cpu/cpu0/thermal_throttle"}, RecursiveReadOnly: true,
	}
}

// input is a usual Input for a pod: its sandbox has what the pod asks for, and
// a volume lies at /vol/<its name>.
func input(pod *v1.Pod, c *v1.Container) oci.Input {
	s := pod.Spec
	in := oci.Input{
		Pod: pod, Container: c, Image: image(), Node: node(), Hostname: oci.Hostname(pod),
		Sandbox: &runtime.Sandbox{UID: string(pod.UID)},
		Files:   oci.Files{Hosts: "/pod/hosts", Hostname: "/pod/hostname", ResolvConf: "/pod/resolv.conf", TerminationLog: "/pod/c/log"},
	}
	if !s.HostNetwork {
		in.Sandbox.NetNS, in.Sandbox.UTSNS = "/run/davit/ns/x/net", "/run/davit/ns/x/uts"
	}
	if !s.HostIPC {
		in.Sandbox.IPCNS, in.Sandbox.ShmPath = "/run/davit/ns/x/ipc", "/run/davit/shm/x"
	}
	if s.ShareProcessNamespace != nil && *s.ShareProcessNamespace {
		in.Sandbox.PIDNS = "/run/davit/ns/x/pid"
	}
	for _, m := range c.VolumeMounts {
		mount := oci.Mount{HostPath: "/vol/" + m.Name, ContainerPath: m.MountPath, ReadOnly: m.ReadOnly}
		if m.MountPropagation != nil {
			mount.Propagation = *m.MountPropagation
		}
		in.Mounts = append(in.Mounts, mount)
	}
	in.CgroupPath = qos.ContainerPath(qos.Cgroupfs, qos.PodPath(qos.Cgroupfs, "/", qos.Class(pod), string(pod.UID)), "0123abcd")
	return in
}

func readPod(t *testing.T, name string) *v1.Pod {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	pod := &v1.Pod{}
	if err := yaml.UnmarshalStrict(data, pod); err != nil {
		t.Fatal(err)
	}
	return pod
}

func container(pod *v1.Pod, name string) *v1.Container {
	for _, list := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}

func v2(in *oci.Input) {
	in.Node.CgroupV2, in.Node.CgroupFlags = true, []string{"nsdelegate", "memory_recursiveprot"}
}

// Golden specs, to be read in review: testdata/<pod>.yaml makes
// testdata/<name>.json. The seccomp rules are left out; TestSeccomp has them.
func TestGolden(t *testing.T) {
	for _, c := range []struct {
		name, pod string
		change    func(*oci.Input)
	}{
		{"plain", "plain", nil},
		{"plain-v2", "plain", v2},
		{"plain-systemd", "plain", func(in *oci.Input) {
			v2(in)
			in.CgroupPath = qos.ContainerPath(qos.Systemd, qos.PodPath(qos.Systemd, "/", qos.Class(in.Pod), "u-1"), "0123abcd")
		}},
		{"bare", "plain", func(in *oci.Input) { // no files, no image config but a command, no cgroup
			in.Image, in.Files, in.CgroupPath = &runtime.Image{}, oci.Files{}, ""
			in.Image.Config.Cmd = []string{"/only"}
		}},
		{"command", "command", func(in *oci.Input) {
			in.Env = oci.Env{
				From:     []oci.Var{{Name: "FROM_MAP", Value: "first"}, {Name: "FROM_MAP", Value: "map"}},
				Values:   map[int]string{5: "command"},
				Services: []oci.Var{{Name: "SVC_HOST", Value: "10.96.0.1"}, {Name: "NAME", Value: "not this"}},
			}
		}},
		{"user", "user", nil},
		{"privileged", "privileged", nil},
		{"privileged-v2", "privileged", v2},
		{"host", "host", nil},
		{"caps", "caps", nil},
		{"volumes", "volumes", nil},
		{"resources", "resources", func(in *oci.Input) { in.Node.HugepageSize = []string{"1GB", "2MB"} }},
		{"resources-v2", "resources", func(in *oci.Input) { v2(in); in.Node.HugepageSize = []string{"2MB"} }},
		{"guaranteed-clamped", "guaranteed", func(in *oci.Input) { in.Node.MinOOMScoreAdj, in.Node.Swap = 0, false }},
		{"sidecar", "sidecar", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			pod := readPod(t, c.pod)
			in := input(pod, container(pod, "c"))
			if c.change != nil {
				c.change(&in)
			}
			spec, err := oci.Spec(in)
			if err != nil {
				t.Fatal(err)
			}
			if spec.Linux.Seccomp != nil {
				spec.Linux.Seccomp.Syscalls = nil
			}
			got, err := json.MarshalIndent(spec, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, '\n')
			file := filepath.Join("testdata", c.name+".json")
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), string(got)); d != "" {
				t.Error(d)
			}
		})
	}
}
