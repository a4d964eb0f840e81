package podspec

import (
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
)

// TestEveryFieldHasRow walks the Go type of a Pod: each field must be in Rows,
// and each row must be a field.
func TestEveryFieldHasRow(t *testing.T) {
	used := map[string]bool{}
	var walk func(typ reflect.Type, pattern string)
	walk = func(typ reflect.Type, pattern string) {
		for f := range typ.Fields() {
			name, inline := jsonName(f)
			if inline {
				walk(f.Type, pattern)
				continue
			}
			path := strings.TrimPrefix(pattern+"."+name, ".")
			row := rowOf(path)
			if row == nil {
				t.Errorf("%s has no row in Rows", path)
				continue
			}
			used[row.Path] = true
			if row.Support != Supported {
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
			if inner.Kind() == reflect.Struct && hasFields(inner) {
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

// TestUnsupported is the list of refusals: what is written below spec or
// metadata, and what is said.
func TestUnsupported(t *testing.T) {
	container := func(fields string) string {
		return "spec: {containers: [{name: c, image: i, " + fields + "}]}"
	}
	for _, tc := range []struct {
		text string
		want []string
	}{
		{"spec: {volumes: [{name: v, csi: {driver: d}}]}", []string{"not supported yet: spec.volumes[0].csi"}},
		{"spec: {volumes: [{name: v}, {name: w, nfs: {server: s, path: /}}]}", []string{"not supported yet: spec.volumes[1].nfs"}},
		{"spec: {volumes: [{name: w, configMap: {name: m, optional: true, defaultMode: 256, items: [{key: k, path: p, mode: 256}]}}]}", nil},
		{"spec: {volumes: [{name: w, secret: {secretName: m, optional: true, defaultMode: 256, items: [{key: k, path: p, mode: 256}]}}]}", nil},
		{"spec: {volumes: [{name: w, downwardAPI: {defaultMode: 256, items: [{path: p, mode: 256, fieldRef: {fieldPath: metadata.name}}," +
			" {path: q, resourceFieldRef: {containerName: c, resource: limits.cpu, divisor: 1m}}]}}]}", nil},
		{"spec: {volumes: [{name: w, projected: {defaultMode: 256, sources: [{secret: {name: s, items: [{key: k, path: p}], optional: true}}," +
			" {configMap: {name: s, items: [{key: k, path: q}], optional: true}}, {downwardAPI: {items: [{path: p, fieldRef: {fieldPath: metadata.name}}]}}]}}]}", nil},
		{"spec: {volumes: [{name: w, projected: {sources: [{serviceAccountToken: {path: p}}, {clusterTrustBundle: {path: p}}, {podCertificate: {keyType: k}}]}}]}", []string{
			"not supported yet: spec.volumes[0].projected.sources[0].serviceAccountToken",
			"not supported yet: spec.volumes[0].projected.sources[1].clusterTrustBundle",
			"not supported yet: spec.volumes[0].projected.sources[2].podCertificate"}},
		{"spec: {volumes: [{name: v, emptyDir: {medium: Disk}}]}", []string{"not supported yet: spec.volumes[0].emptyDir.medium: Disk (supported: Memory, HugePages, HugePages-*)"}},
		{"spec: {volumes: [{name: v, emptyDir: {medium: HugePages}}, {name: w, emptyDir: {medium: HugePages-2Mi}}]}", nil},
		{"spec: {volumes: [{name: v, emptyDir: {medium: HugePages-}}]}", []string{"not supported yet: spec.volumes[0].emptyDir.medium: HugePages- (supported: Memory, HugePages, HugePages-*)"}},
		{"spec: {volumes: [{name: v, emptyDir: {sizeLimit: 1Mi}}, {name: w, emptyDir: {sizeLimit: 1Mi, medium: Memory}}]}", nil},
		{container("ports: [{containerPort: 80, hostPort: 80}]"), []string{"not supported yet: spec.containers[0].ports[0].hostPort unless hostNetwork is true"}},
		{"spec: {hostNetwork: true, containers: [{name: c, ports: [{containerPort: 80, hostPort: 80}]}]}", nil},
		{container("env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}}}, {name: B, valueFrom: {resourceFieldRef: {containerName: c, resource: limits.cpu, divisor: 1m}}}," +
			" {name: C, valueFrom: {configMapKeyRef: {name: m, key: k, optional: true}}}, {name: D, valueFrom: {secretKeyRef: {name: m, key: k, optional: true}}}]"), nil},
		{container("env: [{name: A, valueFrom: {fileKeyRef: {volumeName: v, path: p, key: k}}}]"), []string{"not supported yet: spec.containers[0].env[0].valueFrom.fileKeyRef"}},
		{container("envFrom: [{prefix: P, secretRef: {name: s, optional: true}}, {configMapRef: {name: s, optional: true}}]"), nil},
		{container("livenessProbe: {exec: {command: [x]}}"), []string{"not supported yet: spec.containers[0].livenessProbe"}},
		{container("lifecycle: {}"), []string{"not supported yet: spec.containers[0].lifecycle"}},
		{container("resources: {limits: {cpu: 1, memory: 1Mi, nvidia.com/gpu: 1, hugepages-2Mi: 2Mi}, requests: {ephemeral-storage: 1Gi, nvidia.com/gpu: 1}}"), []string{
			"not supported yet: spec.containers[0].resources.limits[nvidia.com/gpu]",
			"not supported yet: spec.containers[0].resources.requests[ephemeral-storage]",
			"not supported yet: spec.containers[0].resources.requests[nvidia.com/gpu]"}},
		{container("volumeMounts: [{name: v, mountPath: /x, subPath: s, mountPropagation: HostToContainer}, {name: v, mountPath: /y, subPathExpr: s," +
			" readOnly: true, recursiveReadOnly: Enabled}]"), nil},
		{container("volumeDevices: [{name: v, devicePath: /x}], terminationMessagePath: /x, terminationMessagePolicy: FallbackToLogsOnError, imagePullPolicy: Always"), []string{
			"not supported yet: spec.containers[0].volumeDevices"}},
		{container("securityContext: {seccompProfile: {type: Localhost, localhostProfile: p}}"), []string{
			"not supported yet: spec.containers[0].securityContext.seccompProfile.type: Localhost (supported: RuntimeDefault, Unconfined)",
			"not supported yet: spec.containers[0].securityContext.seccompProfile.localhostProfile"}},
		{container("stdin: true"), []string{"not supported yet: spec.containers[0].stdin"}},
		{container("restartPolicy: Always"), []string{"not supported yet: spec.containers[0].restartPolicy"}},
		{"spec: {initContainers: [{name: c, restartPolicy: Always}]}", nil},
		{"spec: {initContainers: [{name: c, restartPolicy: Never, startupProbe: {}}]}", []string{
			"not supported yet: spec.initContainers[0].restartPolicy: Never (supported: Always)",
			"not supported yet: spec.initContainers[0].startupProbe"}},
		{"spec: {hostPID: true, hostIPC: true, hostUsers: false}", []string{
			"not supported yet: spec.hostPID", "not supported yet: spec.hostIPC", "not supported yet: spec.hostUsers: false (supported: true)"}},
		{"spec: {hostname: h, subdomain: x, setHostnameAsFQDN: true, hostnameOverride: o, imagePullSecrets: [{name: s}]," +
			" hostAliases: [{ip: 192.0.2.1, hostnames: [a, b]}]}", nil},
		{"spec: {hostUsers: true, setHostnameAsFQDN: false, hostPID: false, hostAliases: [], os: {name: linux}}", nil},
		{"spec: {os: {name: windows}}", []string{"not supported yet: spec.os.name: windows (supported: linux)"}},
		{"spec: {dnsPolicy: None, dnsConfig: {nameservers: [192.0.2.1], searches: [a], options: [{name: a, value: b}]}}", nil},
		{"spec: {dnsPolicy: ClusterFirstWithHostNet}", nil},
		{"spec: {securityContext: {fsGroup: 1, fsGroupChangePolicy: OnRootMismatch, sysctls: [{name: kernel.msgmax, value: \"1\"}]}}", []string{
			"not supported yet: spec.securityContext.sysctls[0].name: kernel.msgmax (supported: " + strings.Join(SafeSysctls, ", ") + ")"}},
		{"spec: {runtimeClassName: kata, activeDeadlineSeconds: 5}", []string{
			"not supported yet: spec.activeDeadlineSeconds", "not supported yet: spec.runtimeClassName"}},
		{"metadata: {deletionTimestamp: 2024-01-02T03:04:05Z}", []string{"not supported yet: metadata.deletionTimestamp"}},
		{"metadata: {annotations: {container.apparmor.security.beta.kubernetes.io/c: unconfined, a: b}}", []string{
			"not supported yet: metadata.annotations[container.apparmor.security.beta.kubernetes.io/c]"}},
		{"metadata: {uid: u, resourceVersion: \"1\", ownerReferences: [{kind: A}], managedFields: [{}]}\nstatus: {phase: Running}\n" +
			"spec: {nodeName: x, serviceAccountName: sa, automountServiceAccountToken: true, tolerations: [{}], affinity: {}, priority: 3, nodeSelector: {a: b}}", nil},
	} {
		objs, problems := Decode([]byte("apiVersion: v1\nkind: Pod\n"+tc.text), "f")
		if len(problems) > 0 {
			t.Errorf("%s: %v", tc.text, texts(problems))
			continue
		}
		for _, when := range []string{"before", "after"} {
			var got []string
			for _, p := range Unsupported(objs[0].Pod) {
				got = append(got, p.Message)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s %s defaults (-want +got):\n%s", tc.text, when, diff)
			}
			Default(objs[0].Pod)
		}
	}
}

// TestNewFieldIsRefused: a field without a row is not dropped silently.
func TestNewFieldIsRefused(t *testing.T) {
	row := rowByPath["spec.hostNetwork"]
	delete(rowByPath, "spec.hostNetwork")
	t.Cleanup(func() { rowByPath["spec.hostNetwork"] = row })
	got := Unsupported(&v1.Pod{Spec: v1.PodSpec{HostNetwork: true}})
	if len(got) != 1 || got[0].Message != "not supported yet: spec.hostNetwork" {
		t.Errorf("got %v", texts(got))
	}
}
