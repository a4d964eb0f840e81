package oci_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/oci"
)

func simplePod() *v1.Pod {
	pod := &v1.Pod{}
	pod.Name, pod.Namespace, pod.UID = "web", "default", "u1"
	pod.Spec.Containers = []v1.Container{{Name: "c"}}
	return pod
}

// change makes a spec of a simple pod after f had its way with the input.
func change(t *testing.T, f func(in *oci.Input, c *v1.Container)) (*specs.Spec, error) {
	t.Helper()
	pod := simplePod()
	in := input(pod, &pod.Spec.Containers[0])
	f(&in, in.Container)
	return oci.Spec(in)
}

// What is refused, in which words, and as which Kubernetes reason.
func TestRefused(t *testing.T) {
	const configErr, createErr = "CreateContainerConfigError", "CreateContainerError"
	for name, c := range map[string]struct {
		change func(in *oci.Input, c *v1.Container)
		err    string
		reason string
	}{
		"no command": {func(in *oci.Input, _ *v1.Container) { in.Image = &runtime.Image{} },
			`spec.containers["c"].command: no command specified; set command`, createErr},
		"user namespace": {func(in *oci.Input, _ *v1.Container) { in.Pod.Spec.HostUsers = ptr.To(false) },
			"spec.hostUsers: not supported yet", configErr},
		"user namespace of the sandbox": {func(in *oci.Input, _ *v1.Container) { in.Sandbox.UserNS = "/x" },
			"spec.hostUsers: not supported yet", configErr},
		"no sandbox":   {func(in *oci.Input, _ *v1.Container) { in.Sandbox = nil }, `pod "web_default(u1)" has no sandbox`, createErr},
		"no container": {func(in *oci.Input, _ *v1.Container) { in.Container = nil }, "without a pod or container", configErr},
		"no net":       {func(in *oci.Input, _ *v1.Container) { in.Sandbox.NetNS = "" }, `sandbox of pod "web_default(u1)" has no network namespace`, createErr},
		"no shm":       {func(in *oci.Input, _ *v1.Container) { in.Sandbox.ShmPath = "" }, "has no /dev/shm", createErr},
		"no init": {func(in *oci.Input, _ *v1.Container) { in.Pod.Spec.ShareProcessNamespace = ptr.To(true) },
			"has no PID namespace", createErr},
		"privileged without escalation": {func(_ *oci.Input, c *v1.Container) {
			c.SecurityContext = &v1.SecurityContext{Privileged: ptr.To(true), AllowPrivilegeEscalation: ptr.To(false)}
		}, "allowPrivilegeEscalation: cannot be false while privileged is true", configErr},
		"volume at the root": {func(in *oci.Input, _ *v1.Container) { in.Mounts = []oci.Mount{{HostPath: "/v", ContainerPath: "//"}} },
			`spec.containers["c"].volumeMounts["//"]: a volume cannot be mounted at /`, configErr},
		"twice at one place": {func(in *oci.Input, _ *v1.Container) {
			in.Mounts = []oci.Mount{{HostPath: "/v", ContainerPath: "/a"}, {HostPath: "/w", ContainerPath: "a/"}}
		}, `another volume is mounted at /a`, configErr},
		"termination log over /proc": {func(_ *oci.Input, c *v1.Container) { c.TerminationMessagePath = "proc/" },
			`spec.containers["c"].terminationMessagePath: /proc is taken`, configErr},
		"propagation": {func(in *oci.Input, _ *v1.Container) {
			in.Mounts = []oci.Mount{{HostPath: "/v", ContainerPath: "/a", Propagation: "Sideways"}}
		}, `unknown mountPropagation "Sideways"`, configErr},
		"rro, writable": {func(in *oci.Input, c *v1.Container) {
			c.VolumeMounts = []v1.VolumeMount{{Name: "vol", MountPath: "/a"}}
			in.Mounts = []oci.Mount{{HostPath: "/v", ContainerPath: "/a", RecursiveReadOnly: true}}
		}, `failed to resolve recursive read-only mode: volume "vol" requested recursive read-only mode, but it is not read-only; set readOnly: true`, configErr},
		"rro, shared": {func(in *oci.Input, _ *v1.Container) {
			in.Mounts = []oci.Mount{{HostPath: "/v", ContainerPath: "/a", ReadOnly: true, RecursiveReadOnly: true, Propagation: v1.MountPropagationHostToContainer}}
		}, `volume "/a" requested recursive read-only mode, but it is not compatible with propagation "HostToContainer"`, configErr},
		"rro, not here": {func(in *oci.Input, _ *v1.Container) {
			in.Node.RecursiveReadOnly = false
			in.Mounts = []oci.Mount{{HostPath: "/v", ContainerPath: "/a", ReadOnly: true, RecursiveReadOnly: true}}
		}, `but it is not supported by the runtime; use IfPossible or Disabled`, configErr},
		"huge pages": {func(_ *oci.Input, c *v1.Container) {
			c.Resources.Limits = v1.ResourceList{"hugepages-2Mi": resource.MustParse("2Mi")}
		}, `spec.containers["c"].resources.limits["hugepages-2Mi"]: this node has no huge pages of this size`, createErr},
		"valueFrom": {func(_ *oci.Input, c *v1.Container) {
			c.Env = []v1.EnvVar{{Name: "A", ValueFrom: &v1.EnvVarSource{SecretKeyRef: &v1.SecretKeySelector{}}}}
		}, `spec.containers["c"].env[0].valueFrom: variable "A" could not be resolved`, configErr},
		"env name": {func(_ *oci.Input, c *v1.Container) { c.Env = []v1.EnvVar{{Name: "A=B"}} },
			`env[0]: "A=B" is no environment variable`, configErr},
	} {
		_, err := change(t, c.change)
		var e *oci.Error
		switch {
		case err == nil || !strings.Contains(err.Error(), c.err):
			t.Errorf("%s: error %v, want %s", name, err, c.err)
		case !errors.As(err, &e):
			t.Errorf("%s: %T is no *oci.Error", name, err)
		case oci.Reason(err) != c.reason:
			t.Errorf("%s: reason %s, want %s", name, oci.Reason(err), c.reason)
		}
	}
}

func TestHostnameAndStopSignal(t *testing.T) {
	pod := simplePod()
	for name, want := range map[string]string{"web": "web", strings.Repeat("a", 70): strings.Repeat("a", 63),
		strings.Repeat("a", 60) + ".-.-.": strings.Repeat("a", 60)} {
		pod.Name = name
		if got := oci.Hostname(pod); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
	pod.Spec.Hostname = "given"
	if got := oci.Hostname(pod); got != "given" {
		t.Error(got)
	}
	pod.Spec.HostNetwork = true
	if got := oci.Hostname(pod); got != "" {
		t.Error(got)
	}
	quit := v1.SIGQUIT
	img := &runtime.Image{}
	if got := oci.StopSignal(&v1.Container{}, img); got != "SIGTERM" {
		t.Error(got)
	}
	img.Config.StopSignal = "SIGINT"
	if got := oci.StopSignal(&v1.Container{Lifecycle: &v1.Lifecycle{}}, img); got != "SIGINT" {
		t.Error(got)
	}
	if got := oci.StopSignal(&v1.Container{Lifecycle: &v1.Lifecycle{StopSignal: &quit}}, img); got != "SIGQUIT" {
		t.Error(got)
	}
	if got := oci.StopSignal(nil, nil); got != "SIGTERM" {
		t.Error(got)
	}
}

// Spec neither changes what it is given nor hands out parts of it.
func TestNoAliasing(t *testing.T) {
	pod := readPod(t, "privileged")
	in := input(pod, container(pod, "c"))
	before, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := oci.Spec(in)
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range [][]string{spec.Process.Args, spec.Process.Env, spec.Process.Capabilities.Bounding} {
		for i := range list {
			list[i] = "changed"
		}
	}
	spec.Linux.Devices[0].Path = "changed"
	after, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(before, after) {
		t.Error("the input changed with the spec")
	}
}
