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
		{"spec: {volumes: [{name: v}, {name: w, configMap: {name: m}}]}", []string{"not supported yet: spec.volumes[1].configMap"}},
		{"spec: {volumes: [{name: v, emptyDir: {medium: HugePages}}]}", []string{"not supported yet: spec.volumes[0].emptyDir.medium: HugePages (supported: Memory)"}},
		{"spec: {volumes: [{name: v, emptyDir: {sizeLimit: 1Mi}}]}", []string{"not supported yet: spec.volumes[0].emptyDir.sizeLimit unless medium is Memory"}},
		{"spec: {volumes: [{name: v, emptyDir: {sizeLimit: 1Mi, medium: Memory}}]}", nil},
		{container("ports: [{containerPort: 80, hostPort: 80}]"), []string{"not supported yet: spec.containers[0].ports[0].hostPort unless hostNetwork is true"}},
		{"spec: {hostNetwork: true, containers: [{name: c, ports: [{containerPort: 80, hostPort: 80}]}]}", nil},
		{container("env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]"), []string{"not supported yet: spec.containers[0].env[0].valueFrom"}},
		{container("envFrom: [{secretRef: {name: s}}]"), []string{"not supported yet: spec.containers[0].envFrom"}},
		{container("livenessProbe: {exec: {command: [x]}}"), []string{"not supported yet: spec.containers[0].livenessProbe"}},
		{container("lifecycle: {}"), []string{"not supported yet: spec.containers[0].lifecycle"}},
		{container("resources: {limits: {cpu: 1, memory: 1Mi, nvidia.com/gpu: 1}, requests: {ephemeral-storage: 1Gi, nvidia.com/gpu: 1}}"), []string{
			"not supported yet: spec.containers[0].resources.limits[nvidia.com/gpu]",
			"not supported yet: spec.containers[0].resources.requests[ephemeral-storage]",
			"not supported yet: spec.containers[0].resources.requests[nvidia.com/gpu]"}},
		{container("volumeMounts: [{name: v, mountPath: /x, subPath: s, mountPropagation: HostToContainer}]"), []string{
			"not supported yet: spec.containers[0].volumeMounts[0].subPath",
			"not supported yet: spec.containers[0].volumeMounts[0].mountPropagation: HostToContainer (supported: None)"}},
		{container("securityContext: {seccompProfile: {type: Localhost, localhostProfile: p}}"), []string{
			"not supported yet: spec.containers[0].securityContext.seccompProfile.type: Localhost (supported: RuntimeDefault, Unconfined)",
			"not supported yet: spec.containers[0].securityContext.seccompProfile.localhostProfile"}},
		{container("stdin: true"), []string{"not supported yet: spec.containers[0].stdin"}},
		{container("restartPolicy: Always"), []string{"not supported yet: spec.containers[0].restartPolicy"}},
		{"spec: {initContainers: [{name: c, restartPolicy: Always}]}", nil},
		{"spec: {initContainers: [{name: c, restartPolicy: Never, startupProbe: {}}]}", []string{
			"not supported yet: spec.initContainers[0].restartPolicy: Never (supported: Always)",
			"not supported yet: spec.initContainers[0].startupProbe"}},
		{"spec: {hostPID: true, hostIPC: true, hostUsers: false, subdomain: x}", []string{
			"not supported yet: spec.hostPID", "not supported yet: spec.hostIPC", "not supported yet: spec.subdomain",
			"not supported yet: spec.hostUsers: false (supported: true)"}},
		{"spec: {hostUsers: true, setHostnameAsFQDN: false, hostPID: false, hostAliases: [], os: {name: linux}}", nil},
		{"spec: {os: {name: windows}}", []string{"not supported yet: spec.os.name: windows (supported: linux)"}},
		{"spec: {dnsPolicy: None, dnsConfig: {}}", []string{
			"not supported yet: spec.dnsPolicy: None (supported: Default, ClusterFirst)", "not supported yet: spec.dnsConfig"}},
		{"spec: {securityContext: {fsGroup: 1, sysctls: [{name: kernel.msgmax, value: \"1\"}]}}", []string{
			"not supported yet: spec.securityContext.fsGroup",
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
