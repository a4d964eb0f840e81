package oci_test

import (
	"encoding/json"
	"errors"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"

	"github.com/davit-agent/davit/runtime/oci"
)

// arbitrary fills a value of any type with whatever its kind can hold, nil
// pointers and odd strings included. Depth bounds recursive types.
func arbitrary(t *rapid.T, v reflect.Value, depth int) {
	if depth == 0 || !v.CanSet() {
		return
	}
	switch v.Type() {
	case reflect.TypeFor[resource.Quantity]():
		v.Set(reflect.ValueOf(*resource.NewMilliQuantity(rapid.Int64().Draw(t, "q"), resource.DecimalSI)))
		return
	case reflect.TypeFor[v1.ResourceList]():
		l := v1.ResourceList{}
		for _, name := range rapid.SliceOfN(rapid.SampledFrom([]v1.ResourceName{"cpu", "memory", "hugepages-2Mi", "hugepages-x", "gpu"}), 0, 3).Draw(t, "names") {
			l[name] = *resource.NewMilliQuantity(rapid.Int64().Draw(t, "q"), resource.DecimalSI)
		}
		v.Set(reflect.ValueOf(l))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if rapid.Bool().Draw(t, "set") {
			v.Set(reflect.New(v.Type().Elem()))
			arbitrary(t, v.Elem(), depth-1)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			arbitrary(t, v.Field(i), depth)
		}
	case reflect.Slice:
		n := rapid.IntRange(0, 2).Draw(t, "n")
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			arbitrary(t, v.Index(i), depth-1)
		}
	case reflect.String:
		v.SetString(rapid.SampledFrom([]string{"", "a", "/", "/dev", "/dev/shm", "/etc/hosts", "/a/b", "a/../b", "0", "-1", "4294967296",
			"$(A)", "$(", "ALL", "NET_ADMIN", "RuntimeDefault", "Localhost", "Always", "Strict", "None", "Bidirectional",
			"x:y:z", "\x00", "\u00e4\xff", strings.Repeat("long-", 30)}).Draw(t, "s"))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "b"))
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(rapid.SampledFrom([]int64{0, 1, -1, 1000, 1<<31 - 1}).Draw(t, "i"))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(rapid.SampledFrom([]uint64{0, 1, 10, 58, 255}).Draw(t, "u"))
	}
}

// checkSpec holds whatever Spec made of an input to what is true of all specs.
func checkSpec(t interface {
	Helper()
	Fatalf(format string, args ...any)
}, in oci.Input) {
	t.Helper()
	spec, err := oci.Spec(in)
	again, err2 := oci.Spec(in)
	if (err == nil) != (err2 == nil) || (err != nil && err.Error() != err2.Error()) {
		t.Fatalf("two errors for one input: %v and %v", err, err2)
	}
	if err != nil {
		var e *oci.Error
		if !errors.As(err, &e) || e.Kind == nil || e.Text == "" {
			t.Fatalf("error %T %v", err, err)
		}
		return
	}
	one, _ := json.Marshal(spec)
	two, _ := json.Marshal(again)
	if string(one) != string(two) {
		t.Fatalf("two specs for one input:\n%s\n%s", one, two)
	}
	spec.Linux.Seccomp = nil // too long for a message
	one, _ = json.Marshal(spec)
	at := map[string]int{}
	for i, m := range spec.Mounts {
		if _, ok := at[m.Destination]; ok || m.Destination != path.Join("/", m.Destination) || m.Destination == "/" {
			t.Fatalf("mount at %q twice or not clean: %s", m.Destination, one)
		}
		at[m.Destination] = i
	}
	for dst, i := range at {
		for p := path.Dir(dst); p != "/"; p = path.Dir(p) {
			if j, ok := at[p]; ok && j > i {
				t.Fatalf("%s is mounted over %s: %s", p, dst, one)
			}
		}
	}
	seen := map[string]bool{}
	for _, e := range spec.Process.Env {
		name, _, ok := strings.Cut(e, "=")
		if !ok || seen[name] {
			t.Fatalf("environment %q", spec.Process.Env)
		}
		seen[name] = true
	}
	if len(spec.Process.Args) == 0 || !seen["PATH"] || !path.IsAbs(spec.Process.Cwd) || spec.Version != "1.0.2" {
		t.Fatalf("incomplete: %s", one)
	}
	checkIsolation(t, in, spec)
}

// checkIsolation: no pod gets more of the host than it asks for.
func checkIsolation(t interface {
	Helper()
	Fatalf(format string, args ...any)
}, in oci.Input, spec *specs.Spec) {
	t.Helper()
	has := map[specs.LinuxNamespaceType]bool{}
	for _, n := range spec.Linux.Namespaces {
		if has[n.Type] {
			t.Fatalf("namespace %s twice", n.Type)
		}
		has[n.Type] = true
	}
	s := in.Pod.Spec
	if !has[specs.MountNamespace] || has[specs.PIDNamespace] == s.HostPID || has[specs.IPCNamespace] == s.HostIPC ||
		has[specs.NetworkNamespace] == s.HostNetwork || has[specs.UTSNamespace] == s.HostNetwork {
		t.Fatalf("namespaces %v for %+v", has, s)
	}
	sc := in.Container.SecurityContext
	privileged := sc != nil && sc.Privileged != nil && *sc.Privileged
	if !privileged && (len(spec.Linux.Devices) > 0 || spec.Linux.Resources.Devices[0].Allow) {
		t.Fatalf("devices without privilege: %+v", spec.Linux.Resources.Devices)
	}
	for _, m := range spec.Mounts {
		if m.Type == "sysfs" && !privileged && !slices.Contains(m.Options, "ro") && !slices.Contains(spec.Linux.ReadonlyPaths, "/sys") {
			t.Fatalf("/sys can be written without privilege: %v, %v", m, spec.Linux.ReadonlyPaths)
		}
		if m.Destination == "/sys" && m.Type == "bind" && slices.Contains(spec.Linux.ReadonlyPaths, "/sys") {
			t.Fatalf("a volume at /sys is made read-only: %v", m)
		}
	}
	if sc == nil && (len(spec.Process.Capabilities.Bounding) != 14 || len(spec.Linux.MaskedPaths) == 0 || len(spec.Linux.ReadonlyPaths) == 0) {
		t.Fatalf("no security context, and not the default: %+v", spec.Process.Capabilities)
	}
}

func TestSpecProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pod := simplePod()
		c := &pod.Spec.Containers[0]
		arbitrary(t, reflect.ValueOf(&c.SecurityContext).Elem(), 5)
		for _, field := range []any{&c.Command, &c.Args, &c.WorkingDir, &c.Env, &c.TTY, &c.TerminationMessagePath, &c.Resources,
			&pod.Spec.SecurityContext, &pod.Spec.HostNetwork, &pod.Spec.HostIPC, &pod.Spec.HostPID, &pod.Spec.InitContainers,
			&pod.Spec.Resources, &pod.Spec.ShareProcessNamespace} {
			if rapid.Bool().Draw(t, "field") {
				arbitrary(t, reflect.ValueOf(field).Elem(), 4)
			}
		}
		in := input(pod, c)
		for _, field := range []any{&in.Mounts, &in.Files, &in.Env.From, &in.Image.Config, &in.Image.Passwd, &in.Image.Group} {
			if rapid.Bool().Draw(t, "field") {
				arbitrary(t, reflect.ValueOf(field).Elem(), 4)
			}
		}
		checkSpec(t, in)
	})
}

// plausible draws an input that is valid but for two volumes at one place.
func plausible(t *rapid.T) oci.Input {
	pod := simplePod()
	c := &pod.Spec.Containers[0]
	flip := func(p **bool) {
		if rapid.Bool().Draw(t, "set") {
			*p = ptr.To(rapid.Bool().Draw(t, "value"))
		}
	}
	sc := &v1.SecurityContext{}
	flip(&sc.ReadOnlyRootFilesystem)
	flip(&sc.AllowPrivilegeEscalation)
	if sc.AllowPrivilegeEscalation == nil || *sc.AllowPrivilegeEscalation {
		flip(&sc.Privileged)
	}
	names := rapid.SliceOfN(rapid.SampledFrom([]v1.Capability{"ALL", "CHOWN", "SYS_ADMIN", "NET_RAW", "CAP_BPF"}), 0, 3)
	sc.Capabilities = &v1.Capabilities{Add: names.Draw(t, "add"), Drop: names.Draw(t, "drop")}
	c.SecurityContext = sc
	for _, b := range []*bool{&c.TTY, &pod.Spec.HostNetwork, &pod.Spec.HostIPC, &pod.Spec.HostPID} {
		*b = rapid.Bool().Draw(t, "host")
	}
	flip(&pod.Spec.ShareProcessNamespace)
	if rapid.Bool().Draw(t, "other") {
		other := v1.Container{Name: "other", SecurityContext: &v1.SecurityContext{}}
		flip(&other.SecurityContext.Privileged)
		pod.Spec.InitContainers = append(pod.Spec.InitContainers, other)
	}
	dir := rapid.SliceOfN(rapid.SampledFrom([]string{"dev", "shm", "etc", "hosts", "resolv.conf", "sys", "fs", "cgroup", "proc", "a", "b", ".", ""}), 1, 4)
	where := func() string { return "/" + strings.Join(dir.Draw(t, "path"), "/") }
	c.TerminationMessagePath = where()
	in := input(pod, c)
	v2 := rapid.Bool().Draw(t, "v2")
	in.Node.CgroupV2 = v2
	for range rapid.IntRange(0, 6).Draw(t, "mounts") {
		m := oci.Mount{HostPath: "/v", ContainerPath: where(), ReadOnly: rapid.Bool().Draw(t, "ro"),
			Propagation: rapid.SampledFrom([]v1.MountPropagationMode{"", "None", "HostToContainer", "Bidirectional"}).Draw(t, "propagation")}
		if path.Clean(m.ContainerPath) != "/" {
			in.Mounts = append(in.Mounts, m)
		}
	}
	return in
}

func TestPlausibleProperties(t *testing.T) {
	made := 0
	rapid.Check(t, func(t *rapid.T) {
		in := plausible(t)
		checkSpec(t, in)
		spec, err := oci.Spec(in)
		if err != nil {
			if !strings.Contains(err.Error(), "another volume is mounted") && !strings.Contains(err.Error(), "terminationMessagePath") {
				t.Fatalf("refused: %v", err)
			}
			return
		}
		made++
		for _, m := range in.Mounts {
			want := path.Clean(m.ContainerPath)
			if !slices.ContainsFunc(spec.Mounts, func(s specs.Mount) bool { return s.Destination == want && s.Source == m.HostPath }) {
				t.Fatalf("no volume at %s: %+v", want, spec.Mounts)
			}
		}
	})
	if made < 20 {
		t.Errorf("only %d of the inputs made a spec: the generator is no good", made)
	}
}

// FuzzSpec reads a pod as it could stand in a manifest.
func FuzzSpec(f *testing.F) {
	f.Add([]byte(`{"spec":{"containers":[{"name":"c","command":["a$(B)"],"env":[{"name":"B","value":"$(B)$$"}]}]}}`), []byte(passwd), []byte(group), "app:1")
	f.Add([]byte(`{"spec":{"resources":{"limits":{"memory":"1Ei"}},"containers":[{"resources":{"limits":{"cpu":"1n"}}}]}}`), []byte("a:b:c:d"), []byte("::"), "")
	f.Fuzz(func(t *testing.T, manifest, passwd, group []byte, user string) {
		pod := &v1.Pod{}
		if json.Unmarshal(manifest, pod) != nil || len(pod.Spec.Containers) == 0 {
			return
		}
		in := input(pod, &pod.Spec.Containers[0])
		in.Image.Passwd, in.Image.Group, in.Image.Config.User = passwd, group, user
		checkSpec(t, in)
	})
}
