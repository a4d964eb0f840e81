package oci_test

import (
	"errors"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/runtime/oci"
)

func TestSELinux(t *testing.T) {
	targeted := oci.SELinux{Enabled: true, Process: "system_u:system_r:container_t:s0", File: "system_u:object_r:container_file_t:s0"}
	bare := oci.SELinux{Enabled: true, Process: "system_u:system_r:container_t", File: "system_u:object_r:container_file_t"}
	type options = v1.SELinuxOptions
	for name, c := range map[string]struct {
		node          oci.SELinux
		pod, ctr      *options
		process, file string
		err           string
	}{
		"nothing":            {node: targeted},
		"empty":              {node: targeted, ctr: &options{}},
		"no kernel, nothing": {},
		"no kernel":          {ctr: &options{Type: "spc_t"}, err: `spec.containers["c"].securityContext.seLinuxOptions: cannot enforce SELinux: it is not enabled on this node`},
		"no kernel, pod":     {pod: &options{Level: "s0:c1,c2"}, err: "it is not enabled on this node"},
		"no policy":          {node: oci.SELinux{Enabled: true}, ctr: &options{Type: "spc_t"}, err: "has no labels for containers"},
		"level": {node: targeted, pod: &options{Level: "s0:c1,c2"},
			process: "system_u:system_r:container_t:s0:c1,c2", file: "system_u:object_r:container_file_t:s0:c1,c2"},
		"all": {node: targeted, pod: &options{Level: "s0"}, ctr: &options{User: "u", Role: "r", Type: "t", Level: "s0:c3"},
			process: "u:r:t:s0:c3", file: "system_u:object_r:container_file_t:s0:c3"},
		"type": {node: targeted, ctr: &options{Type: "spc_t"},
			process: "system_u:system_r:spc_t:s0:c781,c898", file: "system_u:object_r:container_file_t:s0:c781,c898"},
		"policy without levels": {node: bare, ctr: &options{Type: "spc_t"}, process: "system_u:system_r:spc_t", file: "system_u:object_r:container_file_t"},
		"two parts in one":      {node: targeted, ctr: &options{Type: "spc_t:s0"}, err: `seLinuxOptions.type: "spc_t:s0" is not part of an SELinux label`},
		"blank":                 {node: targeted, ctr: &options{Level: "s0 c1"}, err: `seLinuxOptions.level: "s0 c1" is not part of an SELinux label`},
	} {
		spec, err := change(t, func(in *oci.Input, ctr *v1.Container) {
			in.Node.SELinux = c.node
			in.Pod.Spec.SecurityContext = &v1.PodSecurityContext{SELinuxOptions: c.pod}
			ctr.SecurityContext = &v1.SecurityContext{SELinuxOptions: c.ctr}
		})
		if c.err != "" {
			var e *oci.Error
			if err == nil || !strings.Contains(err.Error(), c.err) || !errors.As(err, &e) {
				t.Errorf("%s: error %v, want %s", name, err, c.err)
			}
		} else if err != nil || spec.Process.SelinuxLabel != c.process || spec.Linux.MountLabel != c.file {
			t.Errorf("%s: %v, %+v", name, err, spec)
		}
	}
}
