package pod

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

func TestValidate(t *testing.T) {
	pod := func(meta, spec string) string { return "metadata: {" + meta + "}\nspec: {" + spec + "}" }
	ok := "containers: [{name: c, image: i}]"
	with := func(fields string) string { return pod("name: p", "containers: [{name: c, image: i, "+fields+"}]") }
	label := "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
	for _, tc := range []struct {
		text string
		want []string
	}{
		{pod("name: p", ok), nil},
		{pod("", ok), []string{"metadata.name: Required value: give the pod a name"}},
		{pod("name: P", ok), []string{`metadata.name: Invalid value: "P": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')`}},
		{pod("name: p, namespace: a.b", ok), []string{`metadata.namespace: Invalid value: "a.b": must not contain dots`}},
		{pod("name: p, uid: ../x", ok), []string{`metadata.uid: Invalid value: "../x": ` + label}},
		{pod("name: p, labels: {a: b c}", ok), []string{`metadata.labels: Invalid value: "b c": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')`}},
		{pod("name: p", "x: y"), []string{"spec.containers: Required value: a pod has at least one container"}},
		{pod("name: p", ok+", restartPolicy: Sometimes"), []string{`spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"`}},
		{pod("name: p", ok+", dnsPolicy: X"), []string{`spec.dnsPolicy: Unsupported value: "X": supported values: "ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"`}},
		{pod("name: p", ok+", terminationGracePeriodSeconds: -1"), []string{"spec.terminationGracePeriodSeconds: Invalid value: -1: must be 0 or more seconds"}},
		{pod("name: p", ok+", hostname: a.b"), []string{`spec.hostname: Invalid value: "a.b": must not contain dots`}},
		{pod("name: p", "initContainers: [{name: c, image: i}], "+ok), []string{`spec.initContainers[0].name: Duplicate value: "c"`}},
		{pod("name: p", "containers: [{image: i}, {name: A, image: i}]"), []string{"spec.containers[0].name: Required value: name the container", `spec.containers[1].name: Invalid value: "A": ` + label}},
		{pod("name: p", "containers: [{name: c}]"), []string{"spec.containers[0].image: Required value: name the image"}},
		{pod("name: p", "containers: [{name: c, image: ' i'}]"), []string{`spec.containers[0].image: Invalid value: " i": must not have leading or trailing whitespace`}},
		{pod("name: p", "initContainers: [{name: i, image: i, restartPolicy: Sometimes}], "+ok), []string{`spec.initContainers[0].restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure"`}},
		{with("imagePullPolicy: X"), []string{`spec.containers[0].imagePullPolicy: Unsupported value: "X": supported values: "Always", "IfNotPresent", "Never"`}},
		{with("terminationMessagePolicy: X"), []string{`spec.containers[0].terminationMessagePolicy: Unsupported value: "X": supported values: "File", "FallbackToLogsOnError"`}},
		{with("terminationMessagePath: x"), nil},
		{with(`terminationMessagePath: "/x\0"`), []string{`spec.containers[0].terminationMessagePath: Invalid value: "/x\x00": must not contain a zero byte`}},
		{with("env: [{value: x}, {name: 'a=b'}, {name: fine-name.1}]"), []string{"spec.containers[0].env[0].name: Required value: name the variable", `spec.containers[0].env[1].name: Invalid value: "a=b": a valid environment variable name must consist only of printable ASCII characters other than '='`}},
		{with(`env: [{name: a, value: "\0"}]`), []string{`spec.containers[0].env[0].value: Invalid value: "\x00": must not contain a zero byte`}},
		{with("ports: [{containerPort: 0}, {containerPort: 65536}, {containerPort: 1, protocol: udp}]"), []string{
			"spec.containers[0].ports[0].containerPort: Required value: a number from 1 to 65535",
			"spec.containers[0].ports[1].containerPort: Invalid value: 65536: must be between 1 and 65535, inclusive",
			`spec.containers[0].ports[2].protocol: Unsupported value: "udp": supported values: "TCP", "UDP", "SCTP"`}},
		{with("ports: [{containerPort: 1, name: a}, {containerPort: 2, name: a}, {containerPort: 3, name: '4'}]"), []string{
			`spec.containers[0].ports[1].name: Duplicate value: "a"`,
			`spec.containers[0].ports[2].name: Invalid value: "4": must contain at least one letter (a-z)`}},
		{pod("name: p", "hostNetwork: true, containers: [{name: a, image: i, ports: [{containerPort: 1}]}, {name: b, image: i, ports: [{containerPort: 1}, {containerPort: 2, hostPort: 3}]}]"), []string{
			"spec.containers[1].ports[1].hostPort: Invalid value: 3: must equal containerPort when hostNetwork is true",
			"spec.containers[1].ports[0].hostPort: Duplicate value: 1"}},
		{pod("name: p", "volumes: [{name: v}, {name: v}, {}, {name: A}], "+ok), []string{`spec.volumes[1].name: Duplicate value: "v"`, "spec.volumes[2].name: Required value: name the volume", `spec.volumes[3].name: Invalid value: "A": ` + label}},
		{pod("name: p", "volumes: [{name: v, emptyDir: {}, hostPath: {path: /}}], "+ok), []string{"spec.volumes[0]: Forbidden: a volume has one source, this one has more: remove all but one"}},
		{pod("name: p", "volumes: [{name: v, emptyDir: {medium: X, sizeLimit: '-1'}}], "+ok), []string{`spec.volumes[0].emptyDir.medium: Unsupported value: "X": supported values: "", "Memory", "HugePages"`, `spec.volumes[0].emptyDir.sizeLimit: Invalid value: "-1": must not be negative`}},
		{pod("name: p", "volumes: [{name: a, hostPath: {}}, {name: b, hostPath: {path: x}}, {name: c, hostPath: {path: /a/../b, type: X}}], "+ok), []string{
			"spec.volumes[0].hostPath.path: Required value: name the path on the host",
			`spec.volumes[1].hostPath.path: Invalid value: "x": must be an absolute path`,
			`spec.volumes[2].hostPath.path: Invalid value: "/a/../b": must not contain '..'`,
			`spec.volumes[2].hostPath.type: Unsupported value: "X": supported values: "", "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice"`}},
		{pod("name: p", "volumes: [{name: v}], containers: [{name: c, image: i, volumeMounts: [{name: w, mountPath: /a}, {name: v}, {name: v, mountPath: /a}, {name: v, mountPath: 'a:b'}, {mountPath: /c}]}]"), []string{
			`spec.containers[0].volumeMounts[0].name: Not found: "w"`,
			"spec.containers[0].volumeMounts[1].mountPath: Required value: name the path in the container",
			`spec.containers[0].volumeMounts[2].mountPath: Invalid value: "/a": must be unique`,
			"spec.containers[0].volumeMounts[4].name: Required value: name the volume to mount"}},
		{with("resources: {limits: {cpu: -1, memory: 1Mi}, requests: {memory: 2Mi}}"), []string{
			`spec.containers[0].resources.limits[cpu]: Invalid value: "-1": must be 0 or more`,
			`spec.containers[0].resources.requests[cpu]: Invalid value: "-1": must be 0 or more`,
			`spec.containers[0].resources.requests[memory]: Invalid value: "2Mi": must be less than or equal to the limit of 1Mi`}},
		{with("securityContext: {runAsUser: -1, runAsGroup: 2147483648}"), []string{
			"spec.containers[0].securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive",
			"spec.containers[0].securityContext.runAsGroup: Invalid value: 2147483648: must be between 0 and 2147483647, inclusive"}},
		{with("securityContext: {privileged: true, allowPrivilegeEscalation: false, capabilities: {add: [SYS_ADMIN, CAP_SYS_ADMIN]}}"), []string{
			"spec.containers[0].securityContext.allowPrivilegeEscalation: Invalid value: false: cannot be false when privileged is true",
			"spec.containers[0].securityContext.allowPrivilegeEscalation: Invalid value: false: cannot be false when the capability CAP_SYS_ADMIN is added"}},
		{with("securityContext: {seccompProfile: {}}"), []string{"spec.containers[0].securityContext.seccompProfile.type: Required value: write RuntimeDefault, Unconfined or Localhost"}},
		{with("securityContext: {seccompProfile: {type: Unconfined, localhostProfile: x}}"), []string{`spec.containers[0].securityContext.seccompProfile.localhostProfile: Invalid value: "x": may only be set with type Localhost`}},
		{pod("name: p", ok+", hostNetwork: true, securityContext: {supplementalGroups: [-1], sysctls: [{name: ''}, {name: X}, {name: a.b}, {name: a/b}, {name: net.ipv4.x}]}"), []string{
			"spec.securityContext.supplementalGroups[0]: Invalid value: -1: must be between 0 and 2147483647, inclusive",
			"spec.securityContext.sysctls[0].name: Required value: name the sysctl",
			`spec.securityContext.sysctls[1].name: Invalid value: "X": must be lower case words joined by dots, such as net.ipv4.tcp_syncookies, of at most 253 characters`,
			`spec.securityContext.sysctls[3].name: Duplicate value: "a/b"`,
			`spec.securityContext.sysctls[4].name: Invalid value: "net.ipv4.x": may not be set when hostNetwork is true`}},
	} {
		checkValidate(t, tc.text, tc.want)
	}
}

// checkValidate reads a pod, fills in defaults and compares what is refused.
func checkValidate(t *testing.T, text string, want []string) {
	t.Helper()
	var p v1.Pod
	if err := yaml.Unmarshal([]byte(text), &p); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	Default(&p)
	var got []string
	for _, problem := range Validate(&p) {
		got = append(got, problem.Error())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", text, diff)
	}
}

func TestDefault(t *testing.T) {
	in := `
spec:
  hostNetwork: true
  volumes:
  - name: none
  - name: host
    hostPath: {path: /x}
  - name: secret
    secret: {secretName: s}
  - name: config
    configMap: {name: s, defaultMode: 256}
  - name: downward
    downwardAPI: {items: [{path: p, fieldRef: {fieldPath: metadata.name}}]}
  - name: projected
    projected: {sources: [{downwardAPI: {items: [{path: p, fieldRef: {fieldPath: metadata.name}}]}}, {secret: {name: s}}]}
  initContainers:
  - {name: i, image: a, env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]}
  containers:
  - name: c
    image: example.com:5000/a@sha256:0000000000000000000000000000000000000000000000000000000000000000
    ports: [{containerPort: 80}, {containerPort: 53, protocol: UDP}]
    resources: {limits: {cpu: 1500.5m, memory: 1Gi}, requests: {memory: 1Mi}}
`
	want := `
spec:
  hostNetwork: true
  restartPolicy: Always
  terminationGracePeriodSeconds: 30
  dnsPolicy: ClusterFirst
  schedulerName: default-scheduler
  enableServiceLinks: true
  securityContext: {}
  volumes:
  - name: none
    emptyDir: {}
  - name: host
    hostPath: {path: /x, type: ""}
  - name: secret
    secret: {secretName: s, defaultMode: 420}
  - name: config
    configMap: {name: s, defaultMode: 256}
  - name: downward
    downwardAPI: {defaultMode: 420, items: [{path: p, fieldRef: {apiVersion: v1, fieldPath: metadata.name}}]}
  - name: projected
    projected: {defaultMode: 420, sources: [{downwardAPI: {items: [{path: p, fieldRef: {apiVersion: v1, fieldPath: metadata.name}}]}}, {secret: {name: s}}]}
  initContainers:
  - {name: i, image: a, env: [{name: A, valueFrom: {fieldRef: {apiVersion: v1, fieldPath: metadata.name}}}], imagePullPolicy: Always, terminationMessagePath: /dev/termination-log, terminationMessagePolicy: File}
  containers:
  - name: c
    image: example.com:5000/a@sha256:0000000000000000000000000000000000000000000000000000000000000000
    imagePullPolicy: IfNotPresent
    terminationMessagePath: /dev/termination-log
    terminationMessagePolicy: File
    ports: [{containerPort: 80, hostPort: 80, protocol: TCP}, {containerPort: 53, hostPort: 53, protocol: UDP}]
    resources: {limits: {cpu: 1501m, memory: 1Gi}, requests: {cpu: 1501m, memory: 1Mi}}
`
	var got, expected v1.Pod
	for text, into := range map[string]*v1.Pod{in: &got, want: &expected} {
		if err := yaml.Unmarshal([]byte(text), into); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the second time it changes nothing
		Default(&got)
		if diff := cmp.Diff(expected, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestLatest(t *testing.T) {
	for image, want := range map[string]bool{
		"a": true, "a:latest": true, "x.io:5000/a": true, "x.io:5000/b/a:latest": true,
		"a:1": false, "a@sha256:" + strings.Repeat("0", 64): false, "a:1@sha256:00": false, "a:latest@sha256:00": true, "": false,
	} {
		if got := latest(image); got != want {
			t.Errorf("latest(%q) = %v", image, got)
		}
	}
}
