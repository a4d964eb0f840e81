package oci_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/runtime/oci"
)

func TestCapabilities(t *testing.T) {
	def := []string{"CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP",
		"SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE"}
	without := func(list []string, drop ...string) []string {
		return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(drop, s) })
	}
	var all []string
	for _, c := range oci.Capabilities {
		all = append(all, strings.TrimPrefix(c, "CAP_"))
	}
	for name, c := range map[string]struct {
		add, drop []v1.Capability
		want      []string
		err       string
	}{
		"default":          {nil, nil, def, ""},
		"add":              {[]v1.Capability{"NET_ADMIN", "kill", "CAP_SYS_TIME"}, nil, append(slices.Clone(def), "NET_ADMIN", "SYS_TIME"), ""},
		"drop":             {nil, []v1.Capability{"net_raw", "CAP_MKNOD", "SYS_ADMIN"}, without(def, "NET_RAW", "MKNOD"), ""},
		"drop all":         {nil, []v1.Capability{"ALL"}, nil, ""},
		"drop all, add":    {[]v1.Capability{"CHOWN"}, []v1.Capability{"all"}, []string{"CHOWN"}, ""},
		"add all, drop":    {[]v1.Capability{"ALL"}, []v1.Capability{"SYS_ADMIN"}, without(all, "SYS_ADMIN", "SYS_RESOURCE"), ""},
		"add all drop all": {[]v1.Capability{"ALL"}, []v1.Capability{"ALL"}, nil, ""},
		"add and drop":     {[]v1.Capability{"CHOWN"}, []v1.Capability{"CHOWN"}, without(def, "CHOWN"), ""},
		"unknown":          {[]v1.Capability{"CHOWN", "FLY"}, nil, nil, `spec.containers["c"].securityContext.capabilities.add[1]: unknown capability "FLY"`},
		"unknown to drop":  {nil, []v1.Capability{"FLY"}, nil, `capabilities.drop[0]: unknown capability "FLY"`},
		"not to be had":    {[]v1.Capability{"SYS_RESOURCE"}, nil, nil, `CAP_SYS_RESOURCE is not to be had on this node`},
	} {
		spec, err := change(t, func(in *oci.Input, ctr *v1.Container) {
			in.Node.Capabilities = slices.DeleteFunc(slices.Clone(oci.Capabilities), func(s string) bool { return s == "CAP_SYS_RESOURCE" })
			ctr.SecurityContext = &v1.SecurityContext{Capabilities: &v1.Capabilities{Add: c.add, Drop: c.drop}}
		})
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: error %v, want %s", name, err, c.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		caps := spec.Process.Capabilities
		var got []string
		for _, s := range caps.Bounding {
			got = append(got, strings.TrimPrefix(s, "CAP_"))
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		if !slices.Equal(caps.Bounding, caps.Effective) || !slices.Equal(caps.Bounding, caps.Permitted) || caps.Inheritable != nil || caps.Ambient != nil {
			t.Errorf("%s: sets differ: %+v", name, caps)
		}
	}
}
