package support

import (
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/davit-agent/davit/agent/podspec/pod"
)

// TestEveryFieldHasRow walks the Go type of a Pod: each field must be in Rows,
// and each row must be a field.
func TestEveryFieldHasRow(t *testing.T) {
	used := map[string]bool{}
	var walk func(typ reflect.Type, pattern string)
	walk = func(typ reflect.Type, pattern string) {
		for f := range typ.Fields() {
			name, inline := JSONName(f)
			if inline {
				walk(f.Type, pattern)
				continue
			}
			path := strings.TrimPrefix(pattern+"."+name, ".")
			row := RowOf(path)
			if row == nil {
				t.Errorf("%s has no row in Rows", path)
				continue
			}
			used[row.Path] = true
			if row.Support != Supported {
				if row.Note == "" {
					t.Errorf("the row %s is %s and does not say why", path, row.Support)
				}
				if len(row.Values) > 0 || row.If != "" {
					t.Errorf("the row %s has values or a condition but is %s", path, row.Support)
				}
				continue
			}
			inner, below := f.Type, path
			for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice {
				if inner.Kind() == reflect.Slice {
					below += "[]"
				}
				inner = inner.Elem()
			}
			if inner.Kind() == reflect.Struct && HasFields(inner) {
				walk(inner, below)
			}
		}
	}
	walk(reflect.TypeFor[v1.Pod](), "")
	seen := map[string]bool{}
	for _, r := range Rows {
		if !used[r.Path] {
			t.Errorf("the row %s is no field of a Pod, or below one that is not supported", r.Path)
		}
		if seen[r.Path] {
			t.Errorf("two rows for %s", r.Path)
		}
		seen[r.Path] = true
	}
}

// TestRefusals is the list of refusals: what is written below spec or
// metadata, and what is said.
func TestRefusals(t *testing.T) {
	container := func(fields string) string {
		return "spec: {containers: [{name: c, image: i, " + fields + "}]}"
	}
	some := " (supported: cpu, memory, hugepages-*)"
	csi := ": needs a CSI driver: mount it on the node and use a hostPath"
	for _, tc := range []struct {
		text string
		want []string
	}{
		{"spec: {volumes: [{name: v, csi: {driver: d}}]}", []string{"not supported yet: spec.volumes[0].csi" + csi}},
		{"spec: {volumes: [{name: v}, {name: w, nfs: {server: s, path: /}}]}", []string{"not supported: spec.volumes[1].nfs: mount it on the node and use a hostPath"}},
		{"spec: {volumes: [{name: w, configMap: {name: m, optional: true, defaultMode: 256, items: [{key: k, path: p, mode: 256}]}}]}", nil},
		{"spec: {volumes: [{name: w, secret: {secretName: m, optional: true, defaultMode: 256, items: [{key: k, path: p, mode: 256}]}}]}", nil},
		{"spec: {volumes: [{name: w, downwardAPI: {defaultMode: 256, items: [{path: p, mode: 256, fieldRef: {fieldPath: metadata.name}}," +
			" {path: q, resourceFieldRef: {containerName: c, resource: limits.cpu, divisor: 1m}}]}}]}", nil},
		{"spec: {volumes: [{name: w, projected: {defaultMode: 256, sources: [{secret: {name: s, items: [{key: k, path: p}], optional: true}}," +
			" {configMap: {name: s, items: [{key: k, path: q}], optional: true}}, {downwardAPI: {items: [{path: p, fieldRef: {fieldPath: metadata.name}}]}}]}}]}", nil},
		{"spec: {volumes: [{name: w, projected: {sources: [{serviceAccountToken: {path: p}}, {clusterTrustBundle: {path: p}}, {podCertificate: {keyType: k}}]}}]}", []string{
			"not supported yet: spec.volumes[0].projected.sources[0].serviceAccountToken: only a control plane can issue a token",
			"not supported yet: spec.volumes[0].projected.sources[1].clusterTrustBundle: only a control plane has them",
			"not supported yet: spec.volumes[0].projected.sources[2].podCertificate: only a control plane issues them; off by default in Kubernetes 1.36"}},
		{"spec: {volumes: [{name: v, emptyDir: {medium: Disk}}]}", []string{"not supported yet: spec.volumes[0].emptyDir.medium: Disk (supported: Memory, HugePages, HugePages-*)"}},
		{"spec: {volumes: [{name: v, emptyDir: {medium: HugePages}}, {name: w, emptyDir: {medium: HugePages-2Mi}}]}", nil},
		{"spec: {volumes: [{name: v, emptyDir: {medium: HugePages-}}]}", []string{"not supported yet: spec.volumes[0].emptyDir.medium: HugePages- (supported: Memory, HugePages, HugePages-*)"}},
		{"spec: {volumes: [{name: v, emptyDir: {sizeLimit: 1Mi}}, {name: w, emptyDir: {sizeLimit: 1Mi, medium: Memory}}]}", nil},
		{container("ports: [{containerPort: 80, hostPort: 80}]"), []string{"not supported yet: spec.containers[0].ports[0].hostPort unless hostNetwork is true"}},
		{"spec: {hostNetwork: true, containers: [{name: c, ports: [{containerPort: 80, hostPort: 80}]}]}", nil},
		{container("env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}}}, {name: B, valueFrom: {resourceFieldRef: {containerName: c, resource: limits.cpu, divisor: 1m}}}," +
			" {name: C, valueFrom: {configMapKeyRef: {name: m, key: k, optional: true}}}, {name: D, valueFrom: {secretKeyRef: {name: m, key: k, optional: true}}}]"), nil},
		{container("env: [{name: A, valueFrom: {fileKeyRef: {volumeName: v, path: p, key: k}}}]"), []string{
			"not supported yet: spec.containers[0].env[0].valueFrom.fileKeyRef: read the file in the container's command"}},
		{container("envFrom: [{prefix: P, secretRef: {name: s, optional: true}}, {configMapRef: {name: s, optional: true}}]"), nil},
		{container("livenessProbe: {exec: {command: [x]}, terminationGracePeriodSeconds: 3}, readinessProbe: {httpGet: {port: 80, host: h, httpHeaders: [{name: a, value: b}]}}," +
			" startupProbe: {grpc: {port: 1, service: s}, initialDelaySeconds: 1}"), nil},
		{container("lifecycle: {postStart: {tcpSocket: {port: 1, host: h}}, preStop: {sleep: {seconds: 1}}, stopSignal: SIGUSR1}"), nil},
		{container("resources: {limits: {cpu: 1, memory: 1Mi, nvidia.com/gpu: 1, hugepages-2Mi: 2Mi}, requests: {ephemeral-storage: 1Gi, nvidia.com/gpu: 1}}"), []string{
			"not supported yet: spec.containers[0].resources.limits[nvidia.com/gpu]" + some,
			"not supported yet: spec.containers[0].resources.requests[ephemeral-storage]" + some,
			"not supported yet: spec.containers[0].resources.requests[nvidia.com/gpu]" + some}},
		{"spec: {resources: {limits: {cpu: 1, memory: 1Mi, hugepages-2Mi: 2Mi, nvidia.com/gpu: 1}}}", []string{"not supported yet: spec.resources.limits[nvidia.com/gpu]" + some}},
		{container("volumeMounts: [{name: v, mountPath: /x, subPath: s, mountPropagation: HostToContainer}, {name: v, mountPath: /y, subPathExpr: s," +
			" readOnly: true, recursiveReadOnly: Enabled}]"), nil},
		{container("volumeDevices: [{name: v, devicePath: /x}], terminationMessagePath: /x, terminationMessagePolicy: FallbackToLogsOnError, imagePullPolicy: Always"), []string{
			"not supported yet: spec.containers[0].volumeDevices: needs a CSI driver"}},
		{container("securityContext: {seccompProfile: {type: Localhost, localhostProfile: p}, appArmorProfile: {type: RuntimeDefault}, procMount: Unmasked, seLinuxOptions: {level: s0}}"), nil},
		{container("securityContext: {windowsOptions: {runAsUserName: a}}"), []string{
			"not supported: spec.containers[0].securityContext.windowsOptions: davit runs on Linux"}},
		{container("stdin: true, tty: true"), nil},
		{container("stdin: true, stdinOnce: true"), []string{"not supported yet: spec.containers[0].stdinOnce: comes with attach; leave it out"}},
		{container("restartPolicy: Never, restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [1]}}]"), nil},
		{"spec: {initContainers: [{name: c, restartPolicy: Always, startupProbe: {}, stdinOnce: true}]}", []string{
			"not supported yet: spec.initContainers[0].stdinOnce: comes with attach; leave it out"}},
		{"spec: {ephemeralContainers: [{name: c, image: i, targetContainerName: t, stdin: true, tty: true, ports: [{containerPort: 1}], volumeDevices: [{name: v, devicePath: /x}]}]}", []string{
			"not supported yet: spec.ephemeralContainers[0].volumeDevices: needs a CSI driver"}},
		{"spec: {hostPID: true, hostIPC: true, hostUsers: false}", []string{"not supported yet: spec.hostUsers: false (supported: true)"}},
		{"spec: {hostname: h, subdomain: x, setHostnameAsFQDN: true, hostnameOverride: o, imagePullSecrets: [{name: s}]," +
			" hostAliases: [{ip: 192.0.2.1, hostnames: [a, b]}]}", nil},
		{"spec: {hostUsers: true, setHostnameAsFQDN: false, hostPID: false, hostAliases: [], os: {name: linux}}", nil},
		{"spec: {os: {name: windows}}", []string{"not supported yet: spec.os.name: windows (supported: linux)"}},
		{"spec: {dnsPolicy: None, dnsConfig: {nameservers: [192.0.2.1], searches: [a], options: [{name: a, value: b}]}}", nil},
		{"spec: {dnsPolicy: ClusterFirstWithHostNet}", nil},
		{"spec: {securityContext: {fsGroup: 1, fsGroupChangePolicy: OnRootMismatch, sysctls: [{name: kernel.msgmax, value: \"1\"}], supplementalGroupsPolicy: Strict," +
			" seLinuxOptions: {user: u, role: r, type: t, level: l}, appArmorProfile: {type: Localhost, localhostProfile: p}, seccompProfile: {type: Localhost, localhostProfile: p}}}", nil},
		{"spec: {securityContext: {seLinuxChangePolicy: Recursive}}", []string{"not supported yet: spec.securityContext.seLinuxChangePolicy: volumes are not relabelled"}},
		{"spec: {runtimeClassName: kata, activeDeadlineSeconds: 5, readinessGates: [{conditionType: a}]}", []string{
			"not supported yet: spec.runtimeClassName: comes with joining a cluster: RuntimeClasses are objects of the API server"}},
		{"metadata: {deletionTimestamp: 2024-01-02T03:04:05Z}", []string{"not supported yet: metadata.deletionTimestamp: to delete a pod, remove it from its file"}},
		{"metadata: {annotations: {container.apparmor.security.beta.kubernetes.io/c: unconfined, a: b}}", []string{
			"not supported: metadata.annotations[container.apparmor.security.beta.kubernetes.io/c]: write securityContext.appArmorProfile"}},
		{"metadata: {uid: u, resourceVersion: \"1\", ownerReferences: [{kind: A}], managedFields: [{}]}\nstatus: {phase: Running}\n" +
			"spec: {nodeName: x, serviceAccountName: sa, automountServiceAccountToken: true, tolerations: [{}], affinity: {}, priority: 3, nodeSelector: {a: b}}", nil},
	} {
		var p v1.Pod
		if err := yaml.UnmarshalStrict([]byte(tc.text), &p); err != nil {
			t.Errorf("%s: %v", tc.text, err)
			continue
		}
		for _, when := range []string{"before", "after"} {
			var got []string
			for _, r := range Refusals(&p) {
				if !strings.Contains(r.Message, r.Field) {
					t.Errorf("%q does not name the field %s", r.Message, r.Field)
				}
				got = append(got, r.Message)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s %s defaults (-want +got):\n%s", tc.text, when, diff)
			}
			pod.Default(&p)
		}
	}
}

// TestNewFieldIsRefused: a field without a row is not dropped silently.
func TestNewFieldIsRefused(t *testing.T) {
	row := rowByPath["spec.hostNetwork"]
	delete(rowByPath, "spec.hostNetwork")
	t.Cleanup(func() { rowByPath["spec.hostNetwork"] = row })
	got := Refusals(&v1.Pod{Spec: v1.PodSpec{HostNetwork: true}})
	if len(got) != 1 || got[0].Message != "not supported yet: spec.hostNetwork" {
		t.Errorf("got %v", got)
	}
}
