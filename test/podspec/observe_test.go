package podspec

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	imagespec "github.com/opencontainers/image-spec/specs-go/v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/davit-agent/davit/agent/containerenv"
	"github.com/davit-agent/davit/agent/downward"
	"github.com/davit-agent/davit/agent/pods/etc"
	"github.com/davit-agent/davit/agent/volumes"
	"github.com/davit-agent/davit/agent/volumes/payload"
	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/cgroup/qos"
	"github.com/davit-agent/davit/runtime/oci"
	"github.com/davit-agent/davit/runtime/sandbox"
)

// observer tells what follows from a pod that is valid and has its defaults.
type observer struct {
	name string
	see  func(t *testing.T, pod *v1.Pod, objects *objects) string
}

// observers are asked in this order until one sees a difference.
var observers = []observer{
	{"spec", seeSpecs}, {"namespaces", seeNamespaces}, {"files", seeFiles}, {"payload", seePayloads},
	{"volumes", seeVolumes}, {"cgroup", seeCgroup}, {"admission", seeAdmission}, {"life", seeLife},
}

var (
	podIP       = netip.MustParseAddr("192.0.2.7")
	allocatable = v1.ResourceList{v1.ResourceCPU: resource.MustParse("8"), v1.ResourceMemory: resource.MustParse("16Gi")}
	image       = &runtime.Image{
		Name: "example.com/app:1", ID: "sha256:1",
		Passwd: []byte("root:x:0:0::/:\napp:x:1000:1001::/:\n"), Group: []byte("root:x:0:\nextra:x:1002:app,root\n"),
		Config: imagespec.ImageConfig{Entrypoint: []string{"/entry"}, Cmd: []string{"arg"}, WorkingDir: "/image", User: "app", StopSignal: "SIGQUIT"},
	}
)

// nodes are two, for no kernel has both of AppArmor and SELinux here.
func nodes() []oci.Node {
	n := oci.Node{
		Hostname: "node1", Arch: "amd64", MemoryTotal: 16 << 30, MinOOMScoreAdj: -1000, HugepageSize: []string{"2MB"},
		Capabilities: oci.Capabilities, Seccomp: true, SeccompDefault: v1.SeccompProfileTypeRuntimeDefault,
		SeccompLocalhost:  oci.SeccompLocalhost{Root: "/seccomp", Profile: []byte(`{"defaultAction":"SCMP_ACT_ERRNO"}`)},
		RecursiveReadOnly: true,
	}
	armored, labelled := n, n
	armored.AppArmor = oci.AppArmor{Enabled: true, Loaded: []string{"mine", "minex", "cri-containerd.apparmor.d"}}
	labelled.SELinux = oci.SELinux{Enabled: true, Process: "system_u:system_r:container_t:s0", File: "system_u:object_r:container_file_t:s0"}
	return []oci.Node{armored, labelled}
}

// objects are what the pods of a test refer to.
type objects struct {
	configMaps map[string]*v1.ConfigMap
	secrets    map[string]*v1.Secret
}

func (o *objects) ConfigMap(namespace, name string) (*v1.ConfigMap, bool) {
	c, ok := o.configMaps[namespace+"/"+name]
	return c, ok
}

func (o *objects) Secret(namespace, name string) (*v1.Secret, bool) {
	s, ok := o.secrets[namespace+"/"+name]
	return s, ok
}

// filled is the pod with what the node fills in.
func filled(pod *v1.Pod) *v1.Pod {
	p := pod.DeepCopy()
	p.Spec.NodeName, p.Status.PodIP, p.Status.HostIP = "node1", podIP.String(), "192.0.2.1"
	p.Status.PodIPs, p.Status.HostIPs = []v1.PodIP{{IP: p.Status.PodIP}}, []v1.HostIP{{IP: p.Status.HostIP}}
	return p
}

func show(v any, err error) string {
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	text, err := json.Marshal(v)
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	return string(text) + "\n"
}

// containers are all of a pod, of all kinds.
func containers(pod *v1.Pod) []*v1.Container {
	var out []*v1.Container
	for _, list := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			out = append(out, &list[i])
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		out = append(out, (*v1.Container)(&pod.Spec.EphemeralContainers[i].EphemeralContainerCommon))
	}
	return out
}

// seeSpecs shows what the containers are run with: environment, mounts and OCI
// spec. The sandbox has everything, whether the pod wants it or not.
func seeSpecs(_ *testing.T, pod *v1.Pod, o *objects) string {
	out := ""
	for _, node := range nodes() {
		for _, c := range containers(pod) {
			in := oci.Input{
				Pod: pod, Container: c, Image: image, Hostname: oci.Hostname(pod), Node: node,
				Sandbox: &runtime.Sandbox{UID: "u", NetNS: "/ns/net", IPCNS: "/ns/ipc", UTSNS: "/ns/uts", PIDNS: "/ns/pid", ShmPath: "/shm"},
				Files:   oci.Files{Hosts: "/hosts", Hostname: "/hostname", ResolvConf: "/resolv.conf", TerminationLog: "/log"},
			}
			out += c.Name + " " + oci.LocalhostProfile(pod, c) + " " + oci.StopSignal(c, image) + " " + show(spec(in, o))
		}
	}
	return out
}

func spec(in oci.Input, o *objects) (any, error) {
	env, skipped, err := containerenv.Resolve(containerenv.Input{Pod: filled(in.Pod), Container: in.Container, Objects: o, Allocatable: allocatable})
	if err != nil {
		return nil, err
	}
	in.Env = env
	vars, err := oci.Environ(in)
	if err != nil {
		return nil, err
	}
	for _, m := range in.Container.VolumeMounts {
		sub, err := containerenv.SubPath(m, vars)
		if err != nil {
			return nil, err
		}
		in.Mounts = append(in.Mounts, oci.NewMount(in.Pod, m, "/volumes/"+m.Name+"/"+sub, in.Node))
	}
	s, err := oci.Spec(in)
	return struct{ Skipped, Spec any }{skipped, s}, err
}

// seeNamespaces shows which of the host's the pod insists on not having: a
// sandbox without any is refused by the first that is missing.
func seeNamespaces(_ *testing.T, pod *v1.Pod, _ *objects) string {
	whole := runtime.Sandbox{UID: "u", NetNS: "/ns/net", IPCNS: "/ns/ipc", UTSNS: "/ns/uts", PIDNS: "/ns/pid", ShmPath: "/shm"}
	out := ""
	for _, take := range []func(*runtime.Sandbox){
		func(s *runtime.Sandbox) { s.NetNS = "" }, func(s *runtime.Sandbox) { s.IPCNS = "" }, func(s *runtime.Sandbox) { s.UTSNS = "" },
		func(s *runtime.Sandbox) { s.PIDNS = "" }, func(s *runtime.Sandbox) { s.ShmPath = "" },
	} {
		s := whole
		take(&s)
		_, err := oci.Spec(oci.Input{Pod: pod, Container: &v1.Container{Name: "c", Command: []string{"x"}}, Sandbox: &s, Node: nodes()[0]})
		out += fmt.Sprintln(errors.Is(err, oci.ErrCreate), err)
	}
	return out
}

// seeFiles shows the pod's names and the files of /etc.
func seeFiles(_ *testing.T, pod *v1.Pod, _ *objects) string {
	name, err := oci.Nodename(pod, "cluster.local")
	dns := etc.DNS{Servers: []netip.Addr{netip.MustParseAddr("192.0.2.53")}, Domain: "cluster.local"}
	return show(name, err) + string(etc.Hosts(pod, "cluster.local", []netip.Addr{podIP}, []byte("192.0.2.1 node1\n"))) +
		string(etc.ResolvConf(pod, dns, []byte("nameserver 192.0.2.254\nsearch example.com\n")))
}

// seePayloads shows the files of volumes that are made of files.
func seePayloads(_ *testing.T, pod *v1.Pod, o *objects) string {
	out, whole := "", filled(pod)
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		src, ok := payload.Source(v)
		if !ok {
			continue
		}
		files, err := payload.Build(src, payload.Values{
			ConfigMap: func(name string) *v1.ConfigMap { c, _ := o.ConfigMap(pod.Namespace, name); return c },
			Secret:    func(name string) *v1.Secret { s, _ := o.Secret(pod.Namespace, name); return s },
			Field:     func(ref *v1.ObjectFieldSelector) (string, error) { return downward.Field(whole, ref) },
			Resource: func(ref *v1.ResourceFieldSelector) (string, error) {
				return downward.Resource(whole, ref.ContainerName, ref, allocatable)
			},
		})
		out += v.Name + " " + show(files, err)
	}
	return out
}

// seeVolumes shows what becomes of hostPaths, which are looked at, and of
// emptyDirs that have 10 MiB in them.
func seeVolumes(t *testing.T, pod *v1.Pod, _ *objects) string {
	hosts, used := pod.DeepCopy(), map[string]volumes.Usage{}
	hosts.Spec.Volumes = nil
	for _, v := range pod.Spec.Volumes {
		if v.HostPath != nil {
			hosts.Spec.Volumes = append(hosts.Spec.Volumes, v)
		}
		used[v.Name] = volumes.Usage{Bytes: 10 << 20}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	made, err := volumes.New(volumes.Config{}).Setup(ctx, hosts, t.TempDir())
	return show(made, err) + volumes.OverLimit(pod, used)
}

// seeCgroup shows what the pod's cgroup is set to.
func seeCgroup(_ *testing.T, pod *v1.Pod, _ *objects) string {
	return show(struct{ Class, Resources any }{qos.Class(pod), qos.PodResources(pod)}, nil)
}

// seeAdmission shows what a node with usual settings says of the pod.
func seeAdmission(t *testing.T, pod *v1.Pod, _ *objects) string {
	sysctls, err := sandbox.AllowSysctls(nil)
	if err != nil {
		t.Fatal(err)
	}
	reason, message := sysctls.Admit(pod)
	out := reason + message
	for _, node := range nodes() {
		reason, message = oci.AdmitAppArmor(pod, node.AppArmor)
		out += "\n" + reason + message
	}
	return out
}
