package oci_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	v1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/davit-agent/davit/runtime/oci"
)

// audit is a profile as Kubernetes' documentation has them, with things in it that
// a runtime spec does not have.
const audit = `{
	"comment": "who calls what",
	"defaultAction": "SCMP_ACT_LOG",
	"architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
	"syscalls": [
		{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5, "comment": "none"},
		{"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 1, "valueTwo": 0, "op": "SCMP_CMP_EQ"}]}
	]
}`

func TestSeccompLocalhost(t *testing.T) {
	five := uint(5)
	want := &specs.LinuxSeccomp{
		DefaultAction: specs.ActLog, Architectures: []specs.Arch{specs.ArchX86_64, specs.ArchX86},
		Syscalls: []specs.LinuxSyscall{
			{Names: []string{"mkdir", "mkdirat"}, Action: specs.ActErrno, ErrnoRet: &five},
			{Names: []string{"socket"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Value: 1, Op: specs.OpEqualTo}}},
		},
	}
	for name, c := range map[string]struct {
		profile    string // content; "" is none
		noKernel   bool
		privileged bool
		of         string // localhostProfile
		want       *specs.LinuxSeccomp
		err        string
		kind       error
	}{
		"good":            {profile: audit, of: "profiles/audit.json", want: want},
		"privileged":      {profile: audit, of: "profiles/audit.json", privileged: true},
		"smallest":        {profile: `{"defaultAction":"SCMP_ACT_ALLOW"}`, of: "a.json", want: &specs.LinuxSeccomp{DefaultAction: specs.ActAllow}},
		"kernel cannot":   {profile: audit, of: "a.json", noKernel: true, err: "seccomp is not supported by this node's kernel", kind: oci.ErrCreate},
		"of no name":      {profile: audit, err: "localhostProfile must be set if seccompProfile type is Localhost.", kind: oci.ErrConfig},
		"not read":        {of: "a.json", err: `cannot load seccomp profile "/seccomp/a.json"`, kind: oci.ErrCreate},
		"no JSON":         {profile: "defaultAction: x", of: "d/a.json", err: `decoding seccomp profile failed "/seccomp/d/a.json": invalid character 'd' looking for beginning of value`, kind: oci.ErrCreate},
		"cut off":         {profile: audit[:100], of: "a.json", err: "unexpected end of JSON input", kind: oci.ErrCreate},
		"other type":      {profile: `{"defaultAction": 1}`, of: "a.json", err: "cannot unmarshal number", kind: oci.ErrCreate},
		"empty":           {profile: `{}`, of: "a.json", err: "defaultAction: it is missing", kind: oci.ErrCreate},
		"unknown action":  {profile: `{"defaultAction": "SCMP_ACT_SING"}`, of: "a.json", err: "defaultAction: unknown action SCMP_ACT_SING", kind: oci.ErrCreate},
		"listener":        {profile: `{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/x.sock"}`, of: "a.json", err: "listenerPath and listenerMetadata are not allowed", kind: oci.ErrCreate},
		"metadata":        {profile: `{"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"}`, of: "a.json", err: "are not allowed", kind: oci.ErrCreate},
		"notify":          {profile: `{"defaultAction": "SCMP_ACT_NOTIFY"}`, of: "a.json", err: "SCMP_ACT_NOTIFY is not allowed", kind: oci.ErrCreate},
		"notify of some":  {profile: `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["a"], "action": "SCMP_ACT_NOTIFY"}]}`, of: "a.json", err: "syscalls[0].action: SCMP_ACT_NOTIFY", kind: oci.ErrCreate},
		"no names":        {profile: `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"action": "SCMP_ACT_ERRNO"}]}`, of: "a.json", err: "syscalls[0].names is empty", kind: oci.ErrCreate},
		"seventh":         {profile: `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["a"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 6, "op": "SCMP_CMP_EQ"}]}]}`, of: "a.json", err: "syscalls[0].args[0]", kind: oci.ErrCreate},
		"odd comparison":  {profile: `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["a"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 1, "op": "EQ"}]}]}`, of: "a.json", err: `op "EQ"`, kind: oci.ErrCreate},
		"of a whole pack": {profile: `[]`, of: "a.json", err: "cannot unmarshal array", kind: oci.ErrCreate},
	} {
		t.Run(name, func(t *testing.T) {
			spec, err := change(t, func(in *oci.Input, ctr *v1.Container) {
				in.Node.Seccomp = !c.noKernel
				in.Node.SeccompLocalhost.Root = "/seccomp"
				if c.profile != "" {
					in.Node.SeccompLocalhost.Profile = []byte(c.profile)
				}
				p := &v1.SeccompProfile{Type: v1.SeccompProfileTypeLocalhost}
				if c.of != "" {
					p.LocalhostProfile = &c.of
				}
				in.Pod.Spec.SecurityContext = &v1.PodSecurityContext{SeccompProfile: p}
				ctr.SecurityContext = &v1.SecurityContext{Privileged: &c.privileged}
			})
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) || !errors.Is(err, c.kind) {
					t.Errorf("%v, want %v: %s", err, c.kind, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, spec.Linux.Seccomp); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestLocalhostProfile(t *testing.T) {
	local := func(name string) *v1.SeccompProfile {
		return &v1.SeccompProfile{Type: v1.SeccompProfileTypeLocalhost, LocalhostProfile: &name}
	}
	for name, c := range map[string]struct {
		pod  *v1.PodSecurityContext
		ctr  *v1.SecurityContext
		want string
	}{
		"nothing":            {nil, nil, ""},
		"pod":                {&v1.PodSecurityContext{SeccompProfile: local("p")}, nil, "p"},
		"container":          {nil, &v1.SecurityContext{SeccompProfile: local("c")}, "c"},
		"container over pod": {&v1.PodSecurityContext{SeccompProfile: local("p")}, &v1.SecurityContext{SeccompProfile: local("c")}, "c"},
		"not the pod's":      {&v1.PodSecurityContext{SeccompProfile: local("p")}, &v1.SecurityContext{SeccompProfile: &v1.SeccompProfile{Type: "RuntimeDefault"}}, ""},
		"privileged":         {&v1.PodSecurityContext{SeccompProfile: local("p")}, &v1.SecurityContext{Privileged: ptr.To(true)}, ""},
		"another type":       {nil, &v1.SecurityContext{SeccompProfile: &v1.SeccompProfile{Type: "RuntimeDefault", LocalhostProfile: ptr.To("x")}}, ""},
	} {
		pod := &v1.Pod{Spec: v1.PodSpec{SecurityContext: c.pod}}
		if got := oci.LocalhostProfile(pod, &v1.Container{SecurityContext: c.ctr}); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// Whatever stands in a profile: it becomes a filter without a listener, or an
// error that names the file.
func FuzzSeccompProfile(f *testing.F) {
	for _, s := range []string{audit, `{}`, `[]`, `{"defaultAction": "SCMP_ACT_ALLOW"}`, `{"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/x"}`,
		`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["a"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 9, "op": "SCMP_CMP_EQ"}]}]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, profile []byte) {
		spec, err := change(t, func(in *oci.Input, ctr *v1.Container) {
			in.Node.SeccompLocalhost = oci.SeccompLocalhost{Root: "/seccomp", Profile: append([]byte{}, profile...)}
			ctr.SecurityContext = &v1.SecurityContext{SeccompProfile: &v1.SeccompProfile{Type: v1.SeccompProfileTypeLocalhost, LocalhostProfile: ptr.To("f.json")}}
		})
		if err != nil {
			if !errors.Is(err, oci.ErrCreate) || !strings.HasPrefix(err.Error(), `decoding seccomp profile failed "/seccomp/f.json": `) {
				t.Errorf("%q: %v", profile, err)
			}
			return
		}
		s := spec.Linux.Seccomp
		if s == nil || s.ListenerPath != "" || s.ListenerMetadata != "" || s.DefaultAction == "" || s.DefaultAction == specs.ActNotify {
			t.Errorf("%q became %+v", profile, s)
		}
		for _, r := range s.Syscalls {
			if r.Action == specs.ActNotify || len(r.Names) == 0 {
				t.Errorf("%q has rule %+v", profile, r)
			}
		}
	})
}
