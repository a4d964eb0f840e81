package oci_test

import (
	"errors"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/davit-agent/davit/runtime/oci"
)

func TestAppArmor(t *testing.T) {
	const def = "cri-containerd.apparmor.d"
	none, empty, full := oci.AppArmor{}, oci.AppArmor{Enabled: true}, oci.AppArmor{Enabled: true, Loaded: []string{"mine", def}}
	local := func(name string) *v1.AppArmorProfile {
		return &v1.AppArmorProfile{Type: "Localhost", LocalhostProfile: &name}
	}
	runtimeDefault, unconfined := &v1.AppArmorProfile{Type: "RuntimeDefault"}, &v1.AppArmorProfile{Type: "Unconfined"}
	const annotation = v1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix + "c"
	for name, c := range map[string]struct {
		kernel     oci.AppArmor
		pod, ctr   *v1.AppArmorProfile
		annotation string
		privileged bool
		want       string
		err        string
		kind       error
	}{
		"no kernel, nothing":           {kernel: none},
		"no kernel, unconfined":        {kernel: none, ctr: unconfined},
		"no kernel, default":           {kernel: none, ctr: runtimeDefault, err: "apparmor is not supported", kind: oci.ErrCreate},
		"no kernel, privileged":        {kernel: none, ctr: runtimeDefault, privileged: true, err: "apparmor is not supported", kind: oci.ErrCreate},
		"nothing":                      {kernel: full, want: def},
		"nothing, privileged":          {kernel: full, privileged: true},
		"nothing, default not loaded":  {kernel: empty},
		"unconfined":                   {kernel: full, ctr: unconfined},
		"default":                      {kernel: full, ctr: runtimeDefault, want: def},
		"default, privileged":          {kernel: empty, ctr: runtimeDefault, privileged: true},
		"default not loaded":           {kernel: empty, ctr: runtimeDefault, err: "apparmor profile not found " + def, kind: oci.ErrCreate},
		"pod's":                        {kernel: full, pod: local("mine"), want: "mine"},
		"container over pod":           {kernel: full, pod: local("mine"), ctr: unconfined},
		"localhost":                    {kernel: full, ctr: local("mine"), want: "mine"},
		"localhost, privileged":        {kernel: full, ctr: local("mine"), privileged: true, want: "mine"},
		"localhost, not loaded":        {kernel: empty, ctr: local("mine"), err: "apparmor profile not found mine", kind: oci.ErrCreate},
		"localhost, part of a name":    {kernel: full, ctr: local("min"), err: "apparmor profile not found min", kind: oci.ErrCreate},
		"localhost, no name":           {kernel: full, ctr: &v1.AppArmorProfile{Type: "Localhost"}, err: "missing localhost apparmor profile name", kind: oci.ErrConfig},
		"nonsense":                     {kernel: full, ctr: &v1.AppArmorProfile{Type: "Nonsense"}, err: `unknown profile "Nonsense"`, kind: oci.ErrConfig},
		"annotation":                   {kernel: full, annotation: "localhost/mine", want: "mine"},
		"annotation, default":          {kernel: full, annotation: "runtime/default", pod: unconfined, want: def},
		"annotation, unconfined":       {kernel: full, annotation: "unconfined"},
		"annotation, but a field":      {kernel: full, annotation: "unconfined", ctr: runtimeDefault, want: def},
		"annotation over pod":          {kernel: full, annotation: "localhost/mine", pod: unconfined, want: "mine"},
		"annotation that says nothing": {kernel: full, annotation: "x", pod: unconfined},
	} {
		spec, err := change(t, func(in *oci.Input, ctr *v1.Container) {
			in.Node.AppArmor = c.kernel
			in.Pod.Spec.SecurityContext = &v1.PodSecurityContext{AppArmorProfile: c.pod}
			ctr.SecurityContext = &v1.SecurityContext{AppArmorProfile: c.ctr, Privileged: &c.privileged}
			if c.annotation != "" {
				in.Pod.Annotations = map[string]string{annotation: c.annotation}
			}
		})
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) || !errors.Is(err, c.kind) {
				t.Errorf("%s: error %v, want %v: %s", name, err, c.kind, c.err)
			}
		} else if err != nil || spec.Process.ApparmorProfile != c.want {
			t.Errorf("%s: %v, %+v, want %q", name, err, spec, c.want)
		}
	}
}

func TestAdmitAppArmor(t *testing.T) {
	runtimeDefault := &v1.AppArmorProfile{Type: "RuntimeDefault"}
	const disabled = "Cannot enforce AppArmor: AppArmor is not enabled on the host"
	pod := func(change func(*v1.Pod)) *v1.Pod {
		p := &v1.Pod{Spec: v1.PodSpec{
			SecurityContext: &v1.PodSecurityContext{}, InitContainers: []v1.Container{{Name: "i"}}, Containers: []v1.Container{{Name: "c"}},
			EphemeralContainers: []v1.EphemeralContainer{{EphemeralContainerCommon: v1.EphemeralContainerCommon{Name: "e"}}}}}
		change(p)
		return p
	}
	of := func(p *v1.AppArmorProfile) *v1.SecurityContext { return &v1.SecurityContext{AppArmorProfile: p} }
	for name, c := range map[string]struct {
		pod     *v1.Pod
		without string // message where the kernel has no AppArmor
		with    string
	}{
		"nothing":    {pod(func(*v1.Pod) {}), "", ""},
		"pod":        {pod(func(p *v1.Pod) { p.Spec.SecurityContext.AppArmorProfile = runtimeDefault }), disabled, ""},
		"container":  {pod(func(p *v1.Pod) { p.Spec.Containers[0].SecurityContext = of(runtimeDefault) }), disabled, ""},
		"init":       {pod(func(p *v1.Pod) { p.Spec.InitContainers[0].SecurityContext = of(runtimeDefault) }), disabled, ""},
		"ephemeral":  {pod(func(p *v1.Pod) { p.Spec.EphemeralContainers[0].SecurityContext = of(runtimeDefault) }), disabled, ""},
		"unconfined": {pod(func(p *v1.Pod) { p.Spec.Containers[0].SecurityContext = of(&v1.AppArmorProfile{Type: "Unconfined"}) }), "", ""},
		"annotation": {pod(func(p *v1.Pod) {
			p.Annotations = map[string]string{v1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix + "c": "runtime/default"}
		}), disabled, ""},
		"nameless": {pod(func(p *v1.Pod) {
			p.Spec.Containers[0].SecurityContext = of(&v1.AppArmorProfile{Type: "Localhost", LocalhostProfile: ptr.To(" ")})
		}), disabled, "Cannot enforce AppArmor: invalid empty AppArmor profile name: "},
	} {
		for enabled, want := range map[bool]string{false: c.without, true: c.with} {
			reason, message := oci.AdmitAppArmor(c.pod, oci.AppArmor{Enabled: enabled})
			if (reason == "AppArmor") != (want != "") || !strings.HasPrefix(message, want) || want == "" && message != "" {
				t.Errorf("%s, enabled %t: %q %q, want %q", name, enabled, reason, message, want)
			}
		}
	}
}
