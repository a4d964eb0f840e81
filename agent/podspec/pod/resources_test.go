package pod

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// TestDefaultPodResources: what a pod as a whole is given.
func TestDefaultPodResources(t *testing.T) {
	for _, tc := range []struct {
		containers, init, in, want string
	}{
		{"{limits: {cpu: 1}}", "", "{}", "{}"},
		{"{requests: {cpu: 1}}", "", "{requests: {memory: 1Gi}}", "{requests: {memory: 1Gi}}"},
		{"{}", "", "{limits: {cpu: 2, memory: 1Gi}}", "{limits: {cpu: 2, memory: 1Gi}, requests: {cpu: 2, memory: 1Gi}}"},
		{"{requests: {cpu: 100m, memory: 1Mi, ephemeral-storage: 1Gi}}", "", "{limits: {cpu: 2}}", "{limits: {cpu: 2}, requests: {cpu: 100m, memory: 1Mi}}"},
		{"{requests: {cpu: 100m}}", "", "{limits: {cpu: 2}, requests: {cpu: 500m}}", "{limits: {cpu: 2}, requests: {cpu: 500m}}"},
		{"{limits: {cpu: 100m}}", "", "{limits: {cpu: 2}}", "{limits: {cpu: 2}, requests: {cpu: 100m}}"},
		// An init container alone, beside the sidecars before it, or all main containers and sidecars.
		{"{requests: {cpu: 100m}}", "{name: i, image: i, resources: {requests: {cpu: 300m}}}", "{limits: {cpu: 2}}", "{limits: {cpu: 2}, requests: {cpu: 300m}}"},
		{"{requests: {cpu: 100m}}", "{name: s, image: i, restartPolicy: Always, resources: {requests: {cpu: 50m}}}, {name: i, image: i, resources: {requests: {cpu: 70m}}}",
			"{limits: {cpu: 2}}", "{limits: {cpu: 2}, requests: {cpu: 150m}}"},
		{"{requests: {cpu: 100m}}", "{name: i, image: i, resources: {requests: {cpu: 120m}}}, {name: s, image: i, restartPolicy: Always, resources: {requests: {cpu: 50m}}}, {name: j, image: i, resources: {requests: {cpu: 110m}}}",
			"{limits: {cpu: 2}}", "{limits: {cpu: 2}, requests: {cpu: 160m}}"},
		{"{limits: {cpu: 1, hugepages-2Mi: 4Mi}}", "", "{requests: {cpu: 1}}", "{limits: {hugepages-2Mi: 4Mi}, requests: {cpu: 1, hugepages-2Mi: 4Mi}}"},
		{"{limits: {cpu: 1, hugepages-2Mi: 4Mi}}", "", "{limits: {cpu: 3, hugepages-2Mi: 8Mi}}", "{limits: {cpu: 3, hugepages-2Mi: 8Mi}, requests: {cpu: 1, hugepages-2Mi: 8Mi}}"},
		{"{limits: {cpu: 1, hugepages-2Mi: 4Mi}}", "", "{requests: {cpu: 3, hugepages-2Mi: 8Mi}}", "{requests: {cpu: 3, hugepages-2Mi: 8Mi}}"},
		// Rounded when all is said: 0.5m + 0.5m.
		{"{limits: {cpu: 500u}}}, {name: d, image: i, resources: {limits: {cpu: 500u}}", "", "{limits: {cpu: 2500u}}", "{limits: {cpu: 3m}, requests: {cpu: 1m}}"},
	} {
		var p v1.Pod
		var want v1.ResourceRequirements
		text := "spec: {containers: [{name: c, image: i, resources: " + tc.containers + "}], initContainers: [" + tc.init + "], resources: " + tc.in + "}"
		if err := yaml.UnmarshalStrict([]byte(text), &p); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if err := yaml.UnmarshalStrict([]byte(tc.want), &want); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			Default(&p)
			if diff := cmp.Diff(&want, p.Spec.Resources); diff != "" {
				t.Errorf("%s (-want +got):\n%s", text, diff)
			}
		}
	}
}

func TestValidatePodResources(t *testing.T) {
	pod := func(container, resources string) string {
		return inContainer("resources: "+container, ", resources: "+resources)
	}
	const r, c = "spec.resources.", "spec.containers[0].resources."
	for _, tc := range []struct {
		text string
		want []string
	}{
		{pod("{limits: {cpu: 1}}", "{limits: {cpu: 1, memory: 1Gi}}"), nil},
		{pod("{limits: {cpu: 2}, requests: {cpu: 1}}", "{limits: {cpu: 1}}"), []string{c + `limits[cpu]: Invalid value: "2": must be less than or equal to pod limits of 1`}},
		{pod("{requests: {cpu: 2}}", "{requests: {cpu: 1}}"), []string{r + `requests[cpu]: Invalid value: "1": must be greater than or equal to aggregate container requests of 2`}},
		{pod("{limits: {cpu: 1, hugepages-2Mi: 8Mi}}", "{limits: {cpu: 1, hugepages-2Mi: 4Mi}}"), []string{
			r + `requests[hugepages-2Mi]: Invalid value: "4Mi": must be greater than or equal to aggregate container requests of 8Mi`,
			r + `limits[hugepages-2Mi]: Invalid value: "4Mi": must be greater than or equal to aggregate container limits of 8Mi`,
			c + `limits[hugepages-2Mi]: Invalid value: "8Mi": must be less than or equal to pod limits of 4Mi`}},
		{pod("{}", "{limits: {cpu: 1, memory: -1}, requests: {cpu: 2, hugepages-2Mi: 2Mi}}"), []string{
			r + `limits[memory]: Invalid value: "-1": must be 0 or more`,
			r + `requests[memory]: Invalid value: "-1": must be 0 or more`,
			r + `requests[cpu]: Invalid value: "2": must be less than or equal to the limit of 1`,
			r + `requests[hugepages-2Mi]: Required value: Limit must be set for non overcommitable resources`}},
	} {
		checkValidate(t, tc.text, tc.want)
	}
}

func TestValidateSecurityProfiles(t *testing.T) {
	const c, s = "spec.containers[0].securityContext.", "spec.securityContext."
	for _, tc := range []struct {
		text string
		want []string
	}{
		{inContainer("securityContext: {seccompProfile: {type: Localhost, localhostProfile: a/b.json}, appArmorProfile: {type: Localhost, localhostProfile: p}, procMount: Default}",
			", securityContext: {supplementalGroupsPolicy: Strict, appArmorProfile: {type: RuntimeDefault}, sysctls: [{name: x}, {name: kernel.shm_rmid_forced}, {name: net/ipv4/x}]}"), nil},
		{inContainer("securityContext: {seccompProfile: {type: Localhost}, appArmorProfile: {type: Localhost}, procMount: Unmasked}", ""), []string{
			c + "seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost: name the file below the node's seccomp directory",
			c + "appArmorProfile.localhostProfile: Required value: must be set when AppArmor type is Localhost: name a profile that is loaded on the node",
			c + "procMount: Invalid value: \"Unmasked\": `hostUsers` must be false to use `Unmasked`"}},
		{inContainer("securityContext: {procMount: Unmasked}", ", hostUsers: false"), nil},
		{inContainer("securityContext: {procMount: Some}", ""), []string{c + `procMount: Unsupported value: "Some": supported values: "Default", "Unmasked"`}},
		{inContainer("", ", securityContext: {seccompProfile: {type: Localhost, localhostProfile: /a/../b}, appArmorProfile: {type: Unconfined, localhostProfile: x}}"), []string{
			s + `seccompProfile.localhostProfile: Invalid value: "/a/../b": must be a relative path`,
			s + `seccompProfile.localhostProfile: Invalid value: "/a/../b": must not contain '..'`,
			s + `appArmorProfile.localhostProfile: Invalid value: "x": may only be set with type Localhost`}},
		{inContainer("", ", securityContext: {appArmorProfile: {}, supplementalGroupsPolicy: Some}"), []string{
			s + `supplementalGroupsPolicy: Unsupported value: "Some": supported values: "Merge", "Strict"`,
			s + "appArmorProfile.type: Required value: write RuntimeDefault, Unconfined or Localhost"}},
		{inContainer("", ", securityContext: {appArmorProfile: {type: Localhost, localhostProfile: ' x'}}"), []string{
			s + `appArmorProfile.localhostProfile: Invalid value: " x": must not be padded with whitespace`}},
		{inContainer("", ", hostIPC: true, securityContext: {sysctls: [{name: kernel.shmmax}, {name: fs/mqueue/msg_max}, {name: kernel.x}, {name: msgmax}]}"), []string{
			s + `sysctls[0].name: Invalid value: "kernel.shmmax": may not be set when hostIPC is true`,
			s + `sysctls[1].name: Invalid value: "fs/mqueue/msg_max": may not be set when hostIPC is true`}},
		{inContainer("", ", hostPID: true, shareProcessNamespace: true, os: {}, activeDeadlineSeconds: 0, readinessGates: [{conditionType: a/b}, {conditionType: ''}]"), []string{
			"spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
			`spec.readinessGates[1].conditionType: Invalid value: "": name part must be non-empty`,
			`spec.readinessGates[1].conditionType: Invalid value: "": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')`,
			"spec.os.name: Required value: write linux, or leave os out",
			"spec.shareProcessNamespace: Invalid value: true: shareProcessNamespace and hostPID cannot both be enabled"}},
	} {
		checkValidate(t, tc.text, tc.want)
	}
}
