package specs

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/davit-agent/davit/runtime/oci"
	"github.com/davit-agent/davit/test/testbed"
)

// Images are what the pods run, by reference.
var Images = []testbed.ImageSpec{
	{Name: "localhost/test:1"},
	{Name: "localhost/app:1", User: "app"},
	{Name: "localhost/number:1", User: "1000:2"},
	{Name: "localhost/stranger:1", User: "4711"},
}

// thisMachine stands for the name of the machine, which pods of the host's network
// have as their own.
const thisMachine = "this-machine"

// Golden is what was seen of a pod.
type Golden struct {
	Pod        *v1.Pod                      `json:"pod"` // as the API server had it, without its status
	Containers map[string]*Spec             `json:"containers"`
	Users      map[string]*v1.ContainerUser `json:"users"` // of the status
	Sysctls    map[string]string            `json:"sysctls"`
}

// Spec is what two runtimes' specs for the same container have in common.
type Spec struct {
	Process    *specs.Process `json:"process"`
	Root       *specs.Root    `json:"root"`
	Mounts     []specs.Mount  `json:"mounts"`
	Linux      *specs.Linux   `json:"linux"`
	AllDevices bool           `json:"allDevices"` // of the host
	Seccomp    string         `json:"seccomp"`    // number of a filter; "" is none
	seccomp    Filter         // that filter
	devices    []specs.LinuxDevice
}

// Filter is a seccomp filter: what happens at a system call by its name, ""
// at all others, "architectures" on which.
type Filter map[string]string

// Refusal is what the status of a pod said that did not run.
type Refusal struct {
	Phase   v1.PodPhase `json:"phase"`
	Reason  string      `json:"reason,omitempty"`
	Message string      `json:"message,omitempty"`
	// Waiting are the reason and message of the first container that waits.
	Waiting *v1.ContainerStateWaiting `json:"waiting,omitempty"`
}

// Pods reads pods from a file of YAML documents.
func Pods(file string) ([]*v1.Pod, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var pods []*v1.Pod
	for i, text := range bytes.Split(data, []byte("\n---\n")) {
		pod := &v1.Pod{}
		if err := yaml.UnmarshalStrict(text, pod); err != nil {
			return nil, fmt.Errorf("reading document %d of %s: %w", i+1, file, err)
		}
		pods = append(pods, pod)
	}
	return pods, nil
}

// Normal returns what is to be compared of a spec. It keeps no reference to it.
func Normal(spec *specs.Spec) (*Spec, error) {
	data, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	var s specs.Spec
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, err
	}
	out := &Spec{Process: s.Process, Root: s.Root, Mounts: s.Mounts, Linux: s.Linux, devices: s.Linux.Devices}
	out.Root.Path = ""
	p := out.Process
	p.OOMScoreAdj = nil
	p.Env = slices.DeleteFunc(p.Env, func(e string) bool { return strings.HasPrefix(e, "KUBERNETES_") })
	slices.Sort(p.Env)
	slices.Sort(p.User.AdditionalGids)
	if c := p.Capabilities; c != nil {
		for _, set := range [][]string{c.Bounding, c.Effective, c.Permitted, c.Inheritable, c.Ambient} {
			slices.Sort(set)
		}
	}
	for i := range out.Mounts {
		m := &out.Mounts[i]
		if m.Type == "bind" && !strings.HasPrefix(m.Source, "/dev/") {
			m.Source = ""
		}
		slices.Sort(m.Options)
	}
	slices.SortFunc(out.Mounts, func(x, y specs.Mount) int { return cmp.Compare(x.Destination, y.Destination) })
	l := out.Linux
	if l.Resources != nil {
		l.Resources = &specs.LinuxResources{Devices: l.Resources.Devices}
	}
	for i := range l.Namespaces {
		if l.Namespaces[i].Path != "" {
			l.Namespaces[i].Path = "of the pod"
		}
	}
	slices.SortFunc(l.Namespaces, func(x, y specs.LinuxNamespace) int { return cmp.Compare(x.Type, y.Type) })
	slices.Sort(l.MaskedPaths)
	slices.Sort(l.ReadonlyPaths)
	out.seccomp = filter(l.Seccomp)
	l.CgroupsPath, l.Seccomp, l.Devices = "", nil, nil
	return out, nil
}

// filter says what a seccomp filter does, whatever rules it is made of.
func filter(s *specs.LinuxSeccomp) Filter {
	if s == nil {
		return nil
	}
	slices.Sort(s.Architectures)
	f := Filter{"": action(s.DefaultAction, s.DefaultErrnoRet), "architectures": fmt.Sprint(s.Architectures)}
	if len(s.Flags) > 0 {
		f["flags"] = fmt.Sprint(s.Flags)
	}
	rules := map[string][]string{}
	for _, r := range s.Syscalls {
		rule := action(r.Action, r.ErrnoRet)
		for _, a := range r.Args {
			rule += fmt.Sprintf(" if %d %s %d %d", a.Index, a.Op, a.Value, a.ValueTwo)
		}
		for _, name := range r.Names {
			if !slices.Contains(rules[name], rule) {
				rules[name] = append(rules[name], rule)
			}
		}
	}
	for name, list := range rules {
		slices.Sort(list)
		f[name] = strings.Join(list, "; ")
	}
	return f
}

func action(a specs.LinuxSeccompAction, errno *uint) string {
	if a == specs.ActErrno {
		n := uint(1) // EPERM
		if errno != nil {
			n = *errno
		}
		return fmt.Sprintf("%s %d", a, n)
	}
	return string(a)
}

// Load reads a golden file.
func Load(file string, into any) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("reading %s: %w", file, err)
	}
	return nil
}

// Save writes a golden file.
func Save(file string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o644)
}

// NodeFacts is what of a node the goldens depend on.
type NodeFacts struct {
	Arch         string   `json:"arch"`
	CgroupV2     bool     `json:"cgroupV2"`
	CgroupFlags  []string `json:"cgroupFlags"`
	Capabilities []string `json:"capabilities"`
	MaskedPaths  []string `json:"maskedPaths"`
	Seccomp      bool     `json:"seccomp"`
}

// FactsOf keeps those of a node's facts that the goldens depend on.
func FactsOf(n oci.Node) NodeFacts {
	return NodeFacts{Arch: n.Arch, CgroupV2: n.CgroupV2, CgroupFlags: n.CgroupFlags, Capabilities: n.Capabilities, MaskedPaths: n.MaskedPaths, Seccomp: n.Seccomp}
}
