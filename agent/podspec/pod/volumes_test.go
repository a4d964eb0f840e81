package pod

import (
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const subdomain = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"

func TestValidateVolumes(t *testing.T) {
	const mode = "must be a number between 0 and 0777 (octal), both inclusive"
	v := "spec.volumes[0]."
	for _, tc := range []struct {
		volume string
		want   []string
	}{
		{"configMap: {name: m}", nil},
		{"configMap: {name: m, defaultMode: 511, items: [{key: k, path: a/b..c, mode: 0}, {key: k, path: .hidden}]}", nil},
		{"configMap: {}", []string{v + "configMap.name: Required value: name the ConfigMap"}},
		{"configMap: {name: M_, defaultMode: 512, items: [{}]}", []string{
			v + `configMap.name: Invalid value: "M_": ` + subdomain,
			v + "configMap.defaultMode: Invalid value: 512: " + mode,
			v + "configMap.items[0].key: Required value: name the key",
			v + "configMap.items[0].path: Required value: name the file in the volume"}},
		{"secret: {secretName: s, optional: true}", nil},
		{`secret: {defaultMode: -1, items: [{key: k, path: /a, mode: 512}, {key: k, path: a/../b}, {key: k, path: ..a}, {key: k, path: ../a}, {key: k, path: ".."}, {key: k, path: "a\0"}]}`, []string{
			v + "secret.secretName: Required value: name the Secret",
			v + "secret.defaultMode: Invalid value: -1: " + mode,
			v + `secret.items[0].path: Invalid value: "/a": must be a relative path`,
			v + "secret.items[0].mode: Invalid value: 512: " + mode,
			v + `secret.items[1].path: Invalid value: "a/../b": must not contain '..'`,
			v + `secret.items[2].path: Invalid value: "..a": must not start with '..'`,
			v + `secret.items[3].path: Invalid value: "../a": must not contain '..'`,
			v + `secret.items[4].path: Invalid value: "..": must not contain '..'`,
			v + `secret.items[5].path: Invalid value: "a\x00": must not contain a zero byte`}},
		{"downwardAPI: {items: [{path: a, fieldRef: {fieldPath: metadata.labels}}, {path: b, fieldRef: {fieldPath: \"metadata.annotations['a/b']\"}}," +
			" {path: c, resourceFieldRef: {containerName: c, resource: limits.memory, divisor: 1Mi}}, {path: d, resourceFieldRef: {containerName: c, resource: requests.hugepages-2Mi}}]}", nil},
		{"downwardAPI: {defaultMode: 4096, items: [{path: ../a, mode: 512, fieldRef: {fieldPath: metadata.name}}, {path: b}, {path: c, fieldRef: {fieldPath: status.podIP}}," +
			" {path: d, resourceFieldRef: {resource: limits.cpu}}, {path: e, fieldRef: {fieldPath: metadata.name}, resourceFieldRef: {containerName: c, resource: limits.cpu}}]}", []string{
			v + "downwardAPI.defaultMode: Invalid value: 4096: " + mode,
			v + `downwardAPI.items[0].path: Invalid value: "../a": must not contain '..'`,
			v + "downwardAPI.items[0].mode: Invalid value: 512: " + mode,
			v + "downwardAPI.items[1]: Required value: one of fieldRef and resourceFieldRef is required",
			v + `downwardAPI.items[2].fieldRef.fieldPath: Unsupported value: "status.podIP": supported values: "metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"`,
			v + "downwardAPI.items[3].resourceFieldRef.containerName: Required value: name the container",
			v + `downwardAPI.items[4]: Invalid value: "resource": fieldRef and resourceFieldRef can not be specified simultaneously`}},
		{"projected: {sources: [{secret: {name: s, items: [{key: k, path: a}]}}, {configMap: {name: m, items: [{key: k, path: b}]}}," +
			" {downwardAPI: {items: [{path: c, fieldRef: {fieldPath: metadata.name}}]}}, {secret: {name: s}}, {}]}", nil},
		{"projected: {defaultMode: 512, sources: [{secret: {items: [{key: k, path: a}]}}, {configMap: {name: m, items: [{key: k, path: a}, {path: /b}]}}," +
			" {downwardAPI: {items: [{path: a, fieldRef: {fieldPath: metadata.name}}]}}, {secret: {name: s}, configMap: {name: m}}]}", []string{
			v + "projected.defaultMode: Invalid value: 512: " + mode,
			v + "projected.sources[0].secret.name: Required value: name the Secret",
			v + "projected.sources[1].configMap.items[1].key: Required value: name the key",
			v + `projected.sources[1].configMap.items[1].path: Invalid value: "/b": must be a relative path`,
			v + `projected.sources[1].configMap.items[0].path: Invalid value: "a": conflicting duplicate paths`,
			v + `projected.sources[2].downwardAPI.items[0].path: Invalid value: "a": conflicting duplicate paths`,
			v + "projected.sources[3]: Forbidden: may not specify more than 1 volume type per source"}},
		{"configMap: {name: m}, secret: {secretName: s}", []string{"spec.volumes[0]: Forbidden: a volume has one source, this one has more: remove all but one"}},
		{"emptyDir: {medium: HugePages}", nil},
		{"emptyDir: {medium: HugePages-2Mi, sizeLimit: 4Mi}", nil},
		{"emptyDir: {medium: HugePages-big}", []string{v + `emptyDir.medium: Invalid value: "HugePages-big": must name the size of the pages, such as HugePages-2Mi`}},
		{"emptyDir: {medium: HugePages-0}", []string{v + `emptyDir.medium: Invalid value: "HugePages-0": must name the size of the pages, such as HugePages-2Mi`}},
	} {
		checkValidate(t, "metadata: {name: p}\nspec: {volumes: [{name: v, "+tc.volume+"}], containers: [{name: c, image: i}]}", tc.want)
	}
}

func TestValidateMounts(t *testing.T) {
	m := "spec.containers[0].volumeMounts[0]."
	for _, tc := range []struct {
		mount, security string
		want            []string
	}{
		{"subPath: a/b", "", nil},
		{"subPathExpr: $(A)/b", "", nil},
		{"subPath: /a", "", []string{m + `subPath: Invalid value: "/a": must be a relative path`}},
		{"subPath: a/..", "", []string{m + `subPath: Invalid value: "a/..": must not contain '..'`}},
		{"subPathExpr: ../$(A)", "", []string{m + `subPathExpr: Invalid value: "../$(A)": must not contain '..'`}},
		{"subPath: a, subPathExpr: b", "", []string{m + `subPathExpr: Invalid value: "b": subPathExpr and subPath are mutually exclusive`}},
		{"mountPropagation: None", "", nil},
		{"mountPropagation: HostToContainer", "", nil},
		{"mountPropagation: Bidirectional", "privileged: true", nil},
		{"mountPropagation: Bidirectional", "privileged: false", []string{m + "mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers"}},
		{"mountPropagation: Bidirectional", "", []string{m + "mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers"}},
		{"mountPropagation: Shared", "", []string{m + `mountPropagation: Unsupported value: "Shared": supported values: "Bidirectional", "HostToContainer", "None"`}},
		{"recursiveReadOnly: Disabled", "", nil},
		{"readOnly: true, recursiveReadOnly: Enabled, mountPropagation: None", "", nil},
		{"readOnly: true, recursiveReadOnly: IfPossible", "", nil},
		{"recursiveReadOnly: IfPossible", "", []string{m + "recursiveReadOnly: Forbidden: may only be specified when readOnly is true"}},
		{"readOnly: true, recursiveReadOnly: Enabled, mountPropagation: HostToContainer", "", []string{
			m + "recursiveReadOnly: Forbidden: may only be specified when mountPropagation is None or not specified"}},
		{"readOnly: true, recursiveReadOnly: Always", "", []string{m + `recursiveReadOnly: Unsupported value: "Always": supported values: "Disabled", "Enabled", "IfPossible"`}},
	} {
		checkValidate(t, "metadata: {name: p}\nspec: {volumes: [{name: v}], containers: [{name: c, image: i, securityContext: {"+tc.security+
			"}, volumeMounts: [{name: v, mountPath: /a, "+tc.mount+"}]}]}", tc.want)
	}
}

func TestValidateHugepages(t *testing.T) {
	r := "spec.containers[0].resources"
	for _, tc := range []struct {
		resources string
		want      []string
	}{
		{"limits: {memory: 1Gi, hugepages-2Mi: 4Mi}", nil},
		{"limits: {cpu: 1, hugepages-1Gi: 2Gi}, requests: {hugepages-1Gi: 2Gi}", nil},
		{"limits: {hugepages-2Mi: 4Mi}", []string{r + ": Forbidden: HugePages require cpu or memory"}},
		{"limits: {cpu: 1, hugepages-2Mi: 3Mi}", []string{r + `.limits[hugepages-2Mi]: Invalid value: "3Mi": 3Mi is not positive integer multiple of hugepages-2Mi`}},
		{"limits: {cpu: 1, hugepages-x: 3Mi}", []string{r + `.limits[hugepages-x]: Invalid value: "3Mi": 3Mi is not positive integer multiple of hugepages-x`}},
		{"limits: {cpu: 1, hugepages-2Mi: 4Mi}, requests: {hugepages-2Mi: 2Mi}", []string{
			r + `.requests[hugepages-2Mi]: Invalid value: "2Mi": must be equal to hugepages-2Mi limit of 4Mi`}},
		{"requests: {cpu: 1, hugepages-2Mi: 2Mi}", []string{r + ".requests[hugepages-2Mi]: Required value: Limit must be set for non overcommitable resources"}},
	} {
		checkValidate(t, "metadata: {name: p}\nspec: {containers: [{name: c, image: i, resources: {"+tc.resources+"}}]}", tc.want)
	}
}

func FuzzValidatePaths(f *testing.F) {
	for _, s := range []string{"a/b", "../a", "/a", "a/..", "..a", "a\x00", "", ".", "a//b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		at := field.NewPath("p")
		ok := len(validateFilePath(path, at)) == 0
		if ok && (path == "" || path[0] == '/' || strings.Contains("/"+path+"/", "/../") || strings.ContainsRune(path, 0)) {
			t.Errorf("%q is taken", path)
		}
		if ok && len(validateSubPath(path, at)) > 0 {
			t.Errorf("%q is taken as a file but not as a path", path)
		}
		validateFieldRef(&v1.ObjectFieldSelector{APIVersion: "v1", FieldPath: path}, envFields, at)
		validateResourceRef(&v1.ResourceFieldSelector{Resource: path}, at)
	})
}
