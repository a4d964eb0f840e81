package pod

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// inContainer is a pod whose container has fields, and whose spec has others.
func inContainer(fields, spec string) string {
	return "metadata: {name: p}\nspec: {containers: [{name: c, image: i, " + fields + "}]" + spec + "}"
}

func TestValidateProbes(t *testing.T) {
	const c = "spec.containers[0]."
	for _, tc := range []struct {
		text string
		want []string
	}{
		{inContainer("livenessProbe: {exec: {command: [x]}, terminationGracePeriodSeconds: 1, initialDelaySeconds: 1, timeoutSeconds: 2, periodSeconds: 3, failureThreshold: 4},"+
			" readinessProbe: {httpGet: {port: web, scheme: HTTPS, host: h, path: p, httpHeaders: [{name: X-A, value: b}]}, successThreshold: 3},"+
			" startupProbe: {grpc: {port: 1, service: s}}", ""), nil},
		{inContainer("livenessProbe: {}", ""), []string{c + "livenessProbe: Required value: must specify a handler type"}},
		{inContainer("startupProbe: {exec: {}}", ""), []string{c + "startupProbe.exec.command: Required value: name the program to run in the container"}},
		{inContainer("livenessProbe: {exec: {command: [x]}, tcpSocket: {port: 0}, grpc: {port: 0}}", ""), []string{
			c + "livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
			c + "livenessProbe.grpc: Forbidden: may not specify more than 1 handler type"}},
		{inContainer("livenessProbe: {tcpSocket: {port: 0}}, readinessProbe: {grpc: {port: 65536}}, startupProbe: {httpGet: {port: '-', scheme: ftp, httpHeaders: [{name: 'a b'}]}}", ""), []string{
			c + "livenessProbe.tcpSocket.port: Invalid value: 0: must be between 1 and 65535, inclusive",
			c + "readinessProbe.grpc.port: Invalid value: 65536: must be between 1 and 65535, inclusive",
			c + `startupProbe.httpGet.port: Invalid value: "-": must contain at least one letter (a-z)`,
			c + `startupProbe.httpGet.port: Invalid value: "-": must not begin or end with a hyphen`,
			c + `startupProbe.httpGet.scheme: Unsupported value: "ftp": supported values: "HTTP", "HTTPS"`,
			c + `startupProbe.httpGet.httpHeaders[0].name: Invalid value: "a b": a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')`}},
		{inContainer("livenessProbe: {tcpSocket: {port: 1}, successThreshold: 2}, startupProbe: {tcpSocket: {port: 1}, successThreshold: 2}", ""), []string{
			c + "livenessProbe.successThreshold: Invalid value: 2: must be 1", c + "startupProbe.successThreshold: Invalid value: 2: must be 1"}},
		{inContainer("readinessProbe: {tcpSocket: {port: 1}, initialDelaySeconds: -1, timeoutSeconds: -1, periodSeconds: -1, successThreshold: -1, failureThreshold: -1, terminationGracePeriodSeconds: 3}", ""), []string{
			c + "readinessProbe.initialDelaySeconds: Invalid value: -1: must be greater than or equal to 0",
			c + "readinessProbe.timeoutSeconds: Invalid value: -1: must be greater than or equal to 0",
			c + "readinessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0",
			c + "readinessProbe.successThreshold: Invalid value: -1: must be greater than or equal to 0",
			c + "readinessProbe.failureThreshold: Invalid value: -1: must be greater than or equal to 0",
			c + "readinessProbe.terminationGracePeriodSeconds: Invalid value: 3: must not be set for readinessProbes"}},
		{inContainer("livenessProbe: {tcpSocket: {port: 1}, terminationGracePeriodSeconds: 0}", ""), []string{
			c + "livenessProbe.terminationGracePeriodSeconds: Invalid value: 0: must be greater than 0"}},
		{inContainer("lifecycle: {postStart: {sleep: {seconds: 0}}, preStop: {sleep: {seconds: 30}}}", ""), nil},
		{inContainer("lifecycle: {postStart: {}, preStop: {sleep: {seconds: 31}}}", ""), []string{
			c + "lifecycle.postStart: Required value: must specify a handler type",
			c + "lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)"}},
		{inContainer("lifecycle: {preStop: {sleep: {seconds: -1}, exec: {command: [x]}}}", ", terminationGracePeriodSeconds: 5"), []string{
			c + "lifecycle.preStop.sleep: Forbidden: may not specify more than 1 handler type"}},
		{inContainer("lifecycle: {stopSignal: SIGRTMIN+15}", ", os: {name: linux}"), nil},
		{inContainer("lifecycle: {stopSignal: SIGTERM}", ""), []string{
			c + "lifecycle.stopSignal: Forbidden: may not be set for containers with empty `spec.os.name`: write os: {name: linux} in the pod's spec"}},
		{inContainer("", ", initContainers: [{name: i, image: i, livenessProbe: {}, readinessProbe: {}, startupProbe: {}, lifecycle: {}}, {name: s, image: i, restartPolicy: Always, readinessProbe: {tcpSocket: {port: 1}}}]"), []string{
			"spec.initContainers[0].lifecycle: Forbidden: may not be set for init containers without restartPolicy=Always",
			"spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
			"spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
			"spec.initContainers[0].startupProbe: Forbidden: may not be set for init containers without restartPolicy=Always"}},
	} {
		checkValidate(t, tc.text, tc.want)
	}
}

// There are 65 names, and a wrong one is answered with all of them.
func TestStopSignals(t *testing.T) {
	if len(stopSignals) != 65 {
		t.Errorf("%d signals", len(stopSignals))
	}
	var p v1.Pod
	if err := yaml.Unmarshal([]byte(inContainer("lifecycle: {stopSignal: TERM}", ", os: {name: linux}")), &p); err != nil {
		t.Fatal(err)
	}
	Default(&p)
	errs := Validate(&p)
	if len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), `spec.containers[0].lifecycle.stopSignal: Unsupported value: "TERM": supported values: "SIGABRT", `) {
		t.Errorf("got %v", errs)
	}
}

func TestValidateRestartRules(t *testing.T) {
	const c = "spec.containers[0]."
	rule := "{action: Restart, exitCodes: {operator: In, values: [1]}}"
	for _, tc := range []struct {
		text string
		want []string
	}{
		{inContainer("restartPolicy: Never, restartPolicyRules: ["+rule+", {action: RestartAllContainers, exitCodes: {operator: NotIn}}]", ""), nil},
		{inContainer("restartPolicyRules: ["+rule+"]", ""), []string{c + "restartPolicy: Required value: must specify restartPolicy when restart rules are used"}},
		{inContainer("restartPolicy: Sometimes", ""), []string{c + `restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure"`}},
		{inContainer("restartPolicy: OnFailure, restartPolicyRules: [{action: Explode, exitCodes: {operator: Is}}, {action: Restart}]", ""), []string{
			c + `restartPolicyRules[0].action: Unsupported value: "Explode": supported values: "Restart", "RestartAllContainers"`,
			c + `restartPolicyRules[0].exitCodes.operator: Unsupported value: "Is": supported values: "In", "NotIn"`,
			c + "restartPolicyRules[1].exitCodes: Required value: name the exit codes that the rule is for"}},
		{inContainer("restartPolicy: Always, restartPolicyRules: ["+strings.Repeat(rule+", ", 21)+"]", ""), []string{
			c + "restartPolicyRules: Too many: 21: must have at most 20 items"}},
		{inContainer("restartPolicy: Always, restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: ["+strings.Repeat("1,", 256)+"]}}]", ""), []string{
			c + "restartPolicyRules[0].exitCodes.values: Too many: 256: must have at most 255 items"}},
	} {
		checkValidate(t, tc.text, tc.want)
	}
}

func TestValidateEphemeral(t *testing.T) {
	const e = "spec.ephemeralContainers[0]."
	for _, tc := range []struct {
		text string
		want []string
	}{
		{inContainer("", ", volumes: [{name: v}], ephemeralContainers: [{name: d, image: i, targetContainerName: c, command: [sh], args: [a], workingDir: /w, env: [{name: A}], envFrom: [{configMapRef: {name: m}}],"+
			" volumeMounts: [{name: v, mountPath: /v}], securityContext: {runAsUser: 1}, stdin: true, tty: true, imagePullPolicy: Never, terminationMessagePath: /x}]"), nil},
		{inContainer("", ", ephemeralContainers: [{name: c, image: i, targetContainerName: d}, {name: A, image: ' i'}]"), []string{
			`spec.ephemeralContainers[0].name: Duplicate value: "c"`,
			`spec.ephemeralContainers[0].targetContainerName: Not found: "d"`,
			`spec.ephemeralContainers[1].name: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')`,
			`spec.ephemeralContainers[1].image: Invalid value: " i": must not have leading or trailing whitespace`}},
		{inContainer("", ", volumes: [{name: v}], ephemeralContainers: [{name: d, image: i, ports: [{containerPort: 1}], resources: {limits: {cpu: 1}}, resizePolicy: [{resourceName: cpu, restartPolicy: NotRequired}],"+
			" restartPolicy: Never, restartPolicyRules: [{action: Restart}], livenessProbe: {}, readinessProbe: {}, startupProbe: {}, lifecycle: {},"+
			" volumeMounts: [{name: v, mountPath: /v, subPath: s}, {name: v, mountPath: /w, subPathExpr: s}]}]"), []string{
			e + "ports: Forbidden: cannot be set for an Ephemeral Container",
			e + "resources: Forbidden: cannot be set for an Ephemeral Container",
			e + "resizePolicy: Forbidden: cannot be set for an Ephemeral Container",
			e + "restartPolicy: Forbidden: cannot be set for an Ephemeral Container",
			e + "restartPolicyRules: Forbidden: cannot be set for an Ephemeral Container",
			e + "livenessProbe: Forbidden: cannot be set for an Ephemeral Container",
			e + "readinessProbe: Forbidden: cannot be set for an Ephemeral Container",
			e + "startupProbe: Forbidden: cannot be set for an Ephemeral Container",
			e + "lifecycle: Forbidden: cannot be set for an Ephemeral Container",
			e + "volumeMounts[0].subPath: Forbidden: cannot be set for an Ephemeral Container",
			e + "volumeMounts[1].subPathExpr: Forbidden: cannot be set for an Ephemeral Container"}},
	} {
		checkValidate(t, tc.text, tc.want)
	}
}

func TestDefaultProbes(t *testing.T) {
	probe := "{grpc: {port: 1}}"
	in := inContainer("livenessProbe: "+probe+", readinessProbe: {httpGet: {port: 1}}, startupProbe: {tcpSocket: {port: 1}, timeoutSeconds: 2, periodSeconds: 3, successThreshold: 1, failureThreshold: 5},"+
		" lifecycle: {postStart: {httpGet: {port: 1}}, preStop: {httpGet: {port: 1, path: /x, scheme: HTTPS}}}", ", ephemeralContainers: [{name: d, image: x}]")
	numbers := "timeoutSeconds: 1, periodSeconds: 10, successThreshold: 1, failureThreshold: 3"
	want := inContainer("livenessProbe: {grpc: {port: 1, service: ''}, "+numbers+"}, readinessProbe: {httpGet: {port: 1, path: /, scheme: HTTP}, "+numbers+"},"+
		" startupProbe: {tcpSocket: {port: 1}, timeoutSeconds: 2, periodSeconds: 3, successThreshold: 1, failureThreshold: 5},"+
		" lifecycle: {postStart: {httpGet: {port: 1, path: /, scheme: HTTP}}, preStop: {httpGet: {port: 1, path: /x, scheme: HTTPS}}},"+
		" terminationMessagePath: /dev/termination-log, terminationMessagePolicy: File, imagePullPolicy: Always",
		", ephemeralContainers: [{name: d, image: x, terminationMessagePath: /dev/termination-log, terminationMessagePolicy: File, imagePullPolicy: Always}],"+
			" restartPolicy: Always, terminationGracePeriodSeconds: 30, dnsPolicy: ClusterFirst, schedulerName: default-scheduler, enableServiceLinks: true, securityContext: {}")
	checkDefault(t, in, want)
}

// checkDefault compares what the defaults make of a pod; the second time they
// change nothing.
func checkDefault(t *testing.T, in, want string) {
	t.Helper()
	var got, expected v1.Pod
	for text, into := range map[string]*v1.Pod{in: &got, want: &expected} {
		if err := yaml.UnmarshalStrict([]byte(text), into); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		Default(&got)
		if diff := cmp.Diff(expected, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", in, diff)
		}
	}
}
